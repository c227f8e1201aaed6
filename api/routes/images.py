"""Images: what is known of one, its thumbnail, and those that look like it."""

from enum import IntEnum
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Header, Query, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from api.image_rows import Image, ImageId, image_of, read_row, version_of
from api.problems import ANY_ROUTE, RETRY_SECONDS, Problem, documented
from api.schemas import Out, Page
from api.services import Given, Services
from api.similar import nearest
from api.thumbnails import GONE, Original, Thumbnail
from trainyard.photos import PhotoError

router = APIRouter(prefix="/api/v1/images", tags=["images"], responses=ANY_ROUTE)

# An address with its version never shows another content; one without shows that of the day.
FOR_EVER = "private, max-age=31536000, immutable"
FOR_A_WHILE = "private, max-age=300, immutable"
AS_IT_IS = {"X-Content-Type-Options": "nosniff"}
CHANGED = {**AS_IT_IS, "Cache-Control": "private, no-cache"}  # since its content was last read

JPEG = {"content": {"image/jpeg": {}}, "description": "Upright, fitted into a square of that side, never enlarged."}


class Side(IntEnum):
    """Of the square a thumbnail fits into, px."""

    SMALL = 160
    MEDIUM = 320
    LARGE = 640
    HUGE = 1280


class SimilarImage(Out):
    image: Image
    similarity: Annotated[float, Field(description="Cosine of the two embeddings: 1 is the same picture.")]


@router.get("/{image_id}", responses=documented(404))
def get_image(image_id: ImageId, services: Given) -> Image:
    return image_of(_row(services, image_id))


@router.get(
    "/{image_id}/thumbnail",
    response_class=Response,
    responses={200: JPEG, 304: {"description": "The client has it."}, **documented(404)},
)
async def get_thumbnail(
    image_id: ImageId,
    services: Given,
    side: Side = Side.MEDIUM,
    v: Annotated[str | None, Query(max_length=64, description="As in thumbnailUrl; lets clients keep it.")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A JPEG. Made when first asked for, and then kept."""
    row = await run_in_threadpool(_row, services, image_id)
    _check_picture(row)
    headers = _headers(row, side, v)
    if _client_has(headers.get("ETag"), if_none_match):
        return Response(status_code=304, headers=headers)
    thumbnail = await _thumbnail(services, row, side)
    return Response(thumbnail.jpeg, headers=headers if thumbnail.of_content else CHANGED, media_type="image/jpeg")


@router.get("/{image_id}/similar", responses=documented(404, 409))
def list_similar(
    image_id: ImageId, services: Given, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Page[SimilarImage]:
    """The photos that look most like it, best first; all of them are on this page."""
    items = [
        SimilarImage(image=image_of(row), similarity=similarity)
        for row, similarity in nearest(services, image_id, limit)
    ]
    return Page[SimilarImage](items=items, next_page_token=None)


def _row(services: Services, image_id: int) -> sa.Row[Any]:
    roots = services.settings.allowed_roots
    return services.database.transact(lambda connection: read_row(connection, image_id, roots))


def _check_picture(row: sa.Row[Any]) -> None:
    """Raises Problem for a photo of which no picture can be had."""
    if row.missing_since is not None:
        raise Problem(404, "ImageMissing", GONE)
    if row.broken_code is not None:
        raise Problem(422, row.broken_code, row.broken_message)


def _headers(row: sa.Row[Any], side: int, version: str | None) -> dict[str, str]:
    """Of a thumbnail of the content in the row."""
    if row.content_sha256 is None:
        return CHANGED
    lifetime = FOR_EVER if version == version_of(row.content_sha256) else FOR_A_WHILE
    return {**AS_IT_IS, "Cache-Control": lifetime, "ETag": f'"{row.content_sha256.hex()}-{side:d}"'}


def _client_has(tag: str | None, if_none_match: str | None) -> bool:
    if tag is None or if_none_match is None:
        return False
    return any(named.strip().removeprefix("W/") in (tag, "*") for named in if_none_match.split(","))


async def _thumbnail(services: Services, row: sa.Row[Any], side: int) -> Thumbnail:
    """Raises Problem."""
    original = Original(row.path, row.content_sha256, (row.size_bytes, row.mtime_ns))
    try:
        return await services.thumbnails.get(original, side)
    except PhotoError as error:
        if error.code == "not_found":
            raise Problem(404, "ImageMissing", error.message) from error
        raise Problem(422, error.code, error.message) from error
    except OSError as error:
        detail = f"The folder of image {row.id} cannot be read just now ({error.strerror}). Try again in a moment."
        raise Problem(503, "StorageUnavailable", detail, headers={"Retry-After": RETRY_SECONDS}) from error
