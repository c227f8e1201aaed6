"""What there is of a person: photos, faces, and the prototypes that the engine knows it by."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter

from api import image_rows
from api.face_rows import COLUMNS, FACES, SHOWN, Face, face_of, sight, thumbnail_url
from api.image_rows import INSIDE, SHOWN_AT, Image, image_of
from api.paging import Limit, PageToken, moment, page, read_key, whole
from api.person_rows import check_person
from api.problems import ANY_ROUTE, documented
from api.routes.persons import PersonId
from api.schemas import Out, Page
from api.services import Given

router = APIRouter(prefix="/api/v1/persons/{person_id}", tags=["persons"], responses={**ANY_ROUTE, **documented(404)})

READ_PHOTOS = sa.text(f"""
    SELECT {image_rows.COLUMNS}, {SHOWN_AT} AS shown_at
    FROM image_assets a LEFT JOIN categories c ON c.id = a.category_id
    WHERE {INSIDE} AND EXISTS (
        SELECT FROM face_instances f WHERE f.asset_id = a.id AND f.content_sha256 = a.content_sha256
            AND f.person_id = :person_id AND f.model_id = :model_id
    ) AND (
        CAST(:taken AS timestamptz) IS NULL OR ({SHOWN_AT}, a.id) < (CAST(:taken AS timestamptz), CAST(:id AS bigint))
    )
    ORDER BY shown_at DESC, a.id DESC LIMIT :limit
""")

READ_FACES_IN = sa.text(f"""
    SELECT {COLUMNS} FROM {FACES}
    WHERE f.asset_id = ANY(:images) AND f.person_id = :person_id AND {SHOWN} ORDER BY f.asset_id, f.box_left, f.ordinal
""")

READ_FACES = sa.text(f"""
    SELECT {COLUMNS}, {SHOWN_AT} AS shown_at, f.ordinal FROM {FACES}
    WHERE f.person_id = :person_id AND {SHOWN} AND (
        CAST(:taken AS timestamptz) IS NULL OR ({SHOWN_AT}, a.id, -f.ordinal)
            < (CAST(:taken AS timestamptz), CAST(:id AS bigint), -CAST(:ordinal AS bigint))
    )
    ORDER BY shown_at DESC, a.id DESC, f.ordinal LIMIT :limit
""")

# A prototype outlives its face: it stays what it is when the photo goes.
READ_PROTOTYPES = sa.text(f"""
    SELECT r.id AS prototype_id, r.created_at, face.*
    FROM person_prototypes r LEFT JOIN LATERAL (SELECT {COLUMNS} FROM {FACES} WHERE f.id = r.face_id AND {SHOWN}) face
        ON true
    WHERE r.person_id = :person_id AND r.model_id = :model_id AND r.retired_at IS NULL
        AND (CAST(:after AS bigint) IS NULL OR r.id > CAST(:after AS bigint))
    ORDER BY r.id LIMIT :limit
""")


class PersonPhoto(Out):
    """A photo and the person's faces in it, from left to right."""

    image: Image
    faces: list[Face]


class Prototype(Out):
    """A face that the engine compares others with; null where its photo is no longer to be had."""

    id: int
    face_id: UUID | None
    thumbnail_url: str | None
    created_at: datetime


@router.get("/photos")
def list_photos(person_id: PersonId, services: Given, limit: Limit = 100, token: PageToken = None) -> Page[PersonPhoto]:
    """The newest first, by when they were taken or, where that is not known, first found."""
    taken, image_id = read_key(token, moment, whole)

    def work(connection: sa.Connection) -> tuple[dict[str, Any], list[PersonPhoto]]:
        check_person(connection, person_id)
        seen = {"person_id": person_id, **sight(connection, services)}
        asked = {"taken": taken, "id": image_id, "limit": limit + 1, **seen}
        found = page(list(connection.execute(READ_PHOTOS, asked)), limit, _photo_key)
        faces: dict[int, list[Face]] = {row.id: [] for row in found["items"]}
        for row in connection.execute(READ_FACES_IN, {"images": list(faces), **seen}):
            faces[row.asset_id].append(face_of(row))
        return found, [PersonPhoto(image=image_of(row), faces=faces[row.id]) for row in found["items"]]

    found, photos = services.database.transact(work)
    return Page[PersonPhoto](items=photos, next_page_token=found["next_page_token"])


@router.get("/faces")
def list_faces(person_id: PersonId, services: Given, limit: Limit = 100, token: PageToken = None) -> Page[Face]:
    """By their photos, the newest first."""
    taken, image_id, ordinal = read_key(token, moment, whole, whole)

    def work(connection: sa.Connection) -> list[Any]:
        check_person(connection, person_id)
        asked = {"person_id": person_id, "taken": taken, "id": image_id, "ordinal": ordinal, "limit": limit + 1}
        return list(connection.execute(READ_FACES, {**asked, **sight(connection, services)}))

    found = page(services.database.transact(work), limit, _face_key)
    return Page[Face](items=[face_of(row) for row in found["items"]], next_page_token=found["next_page_token"])


@router.get("/prototypes")
def list_prototypes(
    person_id: PersonId, services: Given, limit: Limit = 100, token: PageToken = None
) -> Page[Prototype]:
    """Chosen for coverage from the faces that people gave this person."""
    (after,) = read_key(token, whole)

    def work(connection: sa.Connection) -> list[Any]:
        check_person(connection, person_id)
        asked = {"person_id": person_id, "after": after, "limit": limit + 1, **sight(connection, services)}
        return list(connection.execute(READ_PROTOTYPES, asked))

    found = [_prototype(row) for row in services.database.transact(work)]
    return Page[Prototype](**page(found, limit, lambda last: [last.id]))


def _photo_key(last: Any) -> list[Any]:
    return [last.shown_at.isoformat(), last.id]


def _face_key(last: Any) -> list[Any]:
    return [last.shown_at.isoformat(), last.asset_id, last.ordinal]


def _prototype(row: sa.Row[Any]) -> Prototype:
    address = thumbnail_url(row) if row.id is not None else None
    return Prototype(id=row.prototype_id, face_id=row.id, thumbnail_url=address, created_at=row.created_at)
