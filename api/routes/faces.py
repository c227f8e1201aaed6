"""Faces: those of a photo, one of them, and its picture."""

from enum import IntEnum
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Path, Response
from starlette.concurrency import run_in_threadpool

from api.face_rows import COLUMNS, FACES, SHOWN, Face, face_of, no_such_face, read_face, sight, version_of
from api.image_rows import ImageId, read_row
from api.paging import Limit, PageToken, number, page, read_key, whole
from api.problems import ANY_ROUTE, documented
from api.schemas import Page
from api.services import Given, Services
from api.thumbnail_answers import NOT_MODIFIED, IfNoneMatch, Version, Wanted, answer
from api.thumbnails import View

router = APIRouter(prefix="/api/v1", tags=["faces"], responses=ANY_ROUTE)

FaceId = Annotated[UUID, Path()]

JPEG = {"content": {"image/jpeg": {}}, "description": "Upright, a square of that side at most, never enlarged."}

READ_OF_IMAGE = sa.text(f"""
    SELECT {COLUMNS}, f.ordinal FROM {FACES}
    WHERE f.asset_id = :image_id AND {SHOWN} AND (
        CAST(:left AS float8) IS NULL
        OR (f.box_left, f.ordinal) > (CAST(:left AS float8), CAST(:ordinal AS bigint))
    )
    ORDER BY f.box_left, f.ordinal LIMIT :limit
""")

READ_PICTURE = sa.text(f"""
    SELECT f.box_left, f.box_top, f.box_right, f.box_bottom, a.path, a.content_sha256, a.size_bytes, a.mtime_ns,
           a.missing_since, a.broken_code, a.broken_message
    FROM {FACES} WHERE f.id = :id AND {SHOWN}
""")


class Side(IntEnum):
    """Of the square, px."""

    SMALL = 160
    MEDIUM = 320


@router.get("/images/{image_id}/faces", responses=documented(404))
def list_faces_of_image(image_id: ImageId, services: Given, limit: Limit = 100, token: PageToken = None) -> Page[Face]:
    """From left to right, as the photo is now."""
    left, ordinal = read_key(token, number, whole)

    def work(connection: sa.Connection) -> list[Any]:
        read_row(connection, image_id, services.settings.allowed_roots)
        asked = {"image_id": image_id, "left": left, "ordinal": ordinal, "limit": limit + 1}
        return list(connection.execute(READ_OF_IMAGE, {**asked, **sight(connection, services)}))

    found = page(services.database.transact(work), limit, lambda last: [last.box_left, last.ordinal])
    return Page[Face](items=[face_of(row) for row in found["items"]], next_page_token=found["next_page_token"])


@router.get("/faces/{face_id}", responses=documented(404))
def get_face(face_id: FaceId, services: Given) -> Face:
    return services.database.transact(lambda connection: read_face(connection, services, face_id))


@router.get(
    "/faces/{face_id}/thumbnail",
    response_class=Response,
    responses={200: JPEG, 304: NOT_MODIFIED, **documented(404, 409)},
)
async def get_face_thumbnail(
    face_id: FaceId,
    services: Given,
    side: Side = Side.SMALL,
    v: Version = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A JPEG of the face with a margin around it. Made when first asked for, and then kept."""
    row = await run_in_threadpool(_picture, services, face_id)
    view = View(side, (row.box_left, row.box_top, row.box_right, row.box_bottom))
    return await answer(services, Wanted(row, view, is_version=v == version_of(row)), if_none_match)


def _picture(services: Services, face_id: UUID) -> sa.Row[Any]:
    """Raises Problem."""

    def work(connection: sa.Connection) -> sa.Row[Any] | None:
        return connection.execute(READ_PICTURE, {"id": face_id, **sight(connection, services)}).one_or_none()

    row = services.database.transact(work)
    if row is None:
        raise no_such_face(face_id)
    return row
