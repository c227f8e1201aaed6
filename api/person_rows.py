"""Persons as the API shows them: how much there is of each, and the face that stands for it."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from api.face_rows import FACES, SHOWN, UNKNOWN, FaceThumbnail, sight, thumbnail_url
from api.problems import Problem
from api.schemas import Out
from api.services import Services


class Person(Out):
    id: int
    name: str
    faces: Annotated[int, Field(description="Those in photos whose files are gone included.")]
    photos: int
    suggestions: Annotated[int, Field(description="Faces that may be this person's, and wait for a yes or a no.")]
    cover: Annotated[
        FaceThumbnail | None, Field(description="The chosen face, else the best, of a photo that is there.")
    ]
    created_at: datetime


# The page is cut by the number of faces first: only its persons' suggestions and covers are looked at.
READ = f"""
    SELECT page.*, waiting.suggestions, cover.*
    FROM (
        SELECT p.id AS person_id, p.name, p.created_at, p.cover_face_id, coalesce(counted.faces, 0) AS faces,
               coalesce(counted.photos, 0) AS photos
        FROM persons p
        LEFT JOIN (
            SELECT f.person_id, count(*) AS faces, count(DISTINCT f.asset_id) AS photos
            FROM {FACES} WHERE f.person_id IS NOT NULL AND {{of}} AND {SHOWN} GROUP BY f.person_id
        ) counted ON counted.person_id = p.id
        WHERE p.deleted_at IS NULL AND {{which}}
        ORDER BY faces DESC, p.id LIMIT :limit
    ) page
    CROSS JOIN LATERAL (
        SELECT count(*) AS suggestions
        FROM face_suggestions g JOIN {FACES} ON f.id = g.face_id
        WHERE g.person_id = page.person_id AND g.status = 'pending' AND {UNKNOWN} AND {SHOWN}
    ) waiting
    LEFT JOIN LATERAL (
        SELECT f.id, f.content_sha256, f.box_left, f.box_top, f.box_right, f.box_bottom
        FROM {FACES} WHERE f.person_id = page.person_id AND a.missing_since IS NULL AND {SHOWN}
        ORDER BY f.id IS NOT DISTINCT FROM page.cover_face_id DESC, f.quality DESC, f.id LIMIT 1
    ) cover ON true
    ORDER BY page.faces DESC, page.person_id
"""

READ_ONE = sa.text(READ.format(of="f.person_id = :id", which="p.id = :id"))

READ_PAGE = sa.text(
    READ.format(
        of="true",
        which="""
            (CAST(:ids AS integer[]) IS NULL OR p.id = ANY(CAST(:ids AS integer[])))
            AND (CAST(:faces AS bigint) IS NULL OR (coalesce(counted.faces, 0), -p.id)
                < (CAST(:faces AS bigint), -CAST(:id AS bigint)))
        """,
    )
)


def read_person(connection: sa.Connection, services: Services, person_id: int) -> Person:
    """Raises Problem."""
    asked = {"id": person_id, "limit": 1, **sight(connection, services)}
    row = connection.execute(READ_ONE, asked).one_or_none()
    if row is None:
        raise no_such_person(person_id)
    return _person(row)


def read_persons(
    connection: sa.Connection, services: Services, name: str | None, after: tuple[Any, ...], limit: int
) -> list[Person]:
    """Those with the most faces first, after (faces, id); `name`: whose name has it in it, ignoring case."""
    faces, person_id = after
    ids = None if name is None else _called(connection, name)
    asked = {"ids": ids, "faces": faces, "id": person_id, "limit": limit, **sight(connection, services)}
    return [_person(row) for row in connection.execute(READ_PAGE, asked)]


def _called(connection: sa.Connection, name: str) -> list[int]:
    """PostgreSQL may know the case of ASCII letters alone."""
    wanted = unicodedata.normalize("NFC", name).casefold()
    rows = connection.execute(sa.text("SELECT id, name FROM persons WHERE deleted_at IS NULL"))
    return [row.id for row in rows if wanted in row.name.casefold()]


def check_person(connection: sa.Connection, person_id: int) -> None:
    """Raises Problem."""
    there = sa.text("SELECT EXISTS (SELECT FROM persons WHERE id = :id AND deleted_at IS NULL)")
    if not connection.execute(there, {"id": person_id}).scalar_one():
        raise no_such_person(person_id)


def no_such_person(person_id: int) -> Problem:
    return Problem(404, "NoSuchPerson", f"There is no person {person_id}.")


def _person(row: sa.Row[Any]) -> Person:
    return Person(
        id=row.person_id,
        name=row.name,
        faces=row.faces,
        photos=row.photos,
        suggestions=row.suggestions,
        cover=FaceThumbnail(face_id=row.id, thumbnail_url=thumbnail_url(row)) if row.id is not None else None,
        created_at=row.created_at,
    )
