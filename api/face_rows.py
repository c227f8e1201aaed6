"""Faces as the API shows them: found by the active network, in photos as they are, inside the folders that may be read.

Lists are cut, sorted and counted in the database; no statement is sent for each item.
"""

import hashlib
from collections.abc import Collection
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import Field

from api.image_rows import INSIDE, VERSION_CHARACTERS, folder_prefixes
from api.problems import Problem
from api.schemas import Out
from api.services import Services
from trainyard.face_models import active_face_model


class Box(Out):
    """Edges in px of the upright, full-size photo."""

    left: float
    top: float
    right: float
    bottom: float


class PersonName(Out):
    id: int
    name: str


class Face(Out):
    id: UUID
    image_id: int
    box: Box
    confidence: float
    quality: Annotated[float, Field(description="0 to 1: how well it can be told whose face it is.")]
    person: Annotated[PersonName | None, Field(description="Null while it is unknown whose it is.")]
    assigned_by: Annotated[str | None, Field(description="engine or person: who said whose it is.")]
    similarity: Annotated[float | None, Field(description="Cosine to the person's nearest prototype, of the engine's.")]
    cluster_id: int | None
    ignored: Annotated[bool, Field(description="Neither grouped, assigned nor suggested.")]
    thumbnail_url: str


class FaceThumbnail(Out):
    """A face to show for a person."""

    face_id: UUID
    thumbnail_url: str


# As columns of a face `f`, its photo `a` and its person `p`.
COLUMNS = """
    f.id, f.asset_id, f.box_left, f.box_top, f.box_right, f.box_bottom, f.confidence, f.quality, f.assigned_by,
    f.similarity, f.cluster_id, f.ignored_at, f.content_sha256, p.id AS person_id, p.name AS person_name
"""
# Of photos as they are: nearly all faces, which PostgreSQL would not guess of an equality (it took them for one row).
FACES = """
    face_instances f JOIN image_assets a ON a.id = f.asset_id AND coalesce(a.content_sha256 = f.content_sha256, false)
    LEFT JOIN persons p ON p.id = f.person_id
"""
SHOWN = f"f.model_id = :model_id AND {INSIDE}"
# Faces that wait for a name: those of groups and suggestions.
UNKNOWN = "f.person_id IS NULL AND f.ignored_at IS NULL AND a.missing_since IS NULL"

READ = sa.text(f"SELECT {COLUMNS} FROM {FACES} WHERE f.id = :id AND {SHOWN}")

# Those of the ids that no shown face has.
NOT_SHOWN = sa.text(f"""
    SELECT wanted.id FROM unnest(CAST(:ids AS uuid[])) wanted (id)
    WHERE NOT EXISTS (SELECT FROM {FACES} WHERE f.id = wanted.id AND {SHOWN}) ORDER BY wanted.id LIMIT 1
""")


def sight(connection: sa.Connection, services: Services) -> dict[str, Any]:
    """Parameters of SHOWN. Without a network no face is shown."""
    model = active_face_model(connection)
    return {
        "model_id": None if model is None else model.id,
        "folders": folder_prefixes(services.settings.allowed_roots),
    }


def read_face(connection: sa.Connection, services: Services, face_id: UUID) -> Face:
    """Raises Problem."""
    row = connection.execute(READ, {"id": face_id, **sight(connection, services)}).one_or_none()
    if row is None:
        raise no_such_face(face_id)
    return face_of(row)


def check_shown(connection: sa.Connection, services: Services, face_ids: Collection[UUID]) -> None:
    """Raises Problem unless all of these faces are shown."""
    asked = {"ids": list(face_ids), **sight(connection, services)}
    unknown = connection.execute(NOT_SHOWN, asked).scalar_one_or_none()
    if unknown is not None:
        raise no_such_face(unknown)


def no_such_face(face_id: UUID) -> Problem:
    return Problem(404, "NoSuchFace", f"There is no face {face_id}.")


def face_of(row: sa.Row[Any]) -> Face:
    return Face(
        id=row.id,
        image_id=row.asset_id,
        box=Box(left=row.box_left, top=row.box_top, right=row.box_right, bottom=row.box_bottom),
        confidence=row.confidence,
        quality=row.quality,
        person=PersonName(id=row.person_id, name=row.person_name) if row.person_id is not None else None,
        assigned_by=row.assigned_by,
        similarity=row.similarity,
        cluster_id=row.cluster_id,
        ignored=row.ignored_at is not None,
        thumbnail_url=thumbnail_url(row),
    )


def thumbnail_url(row: sa.Row[Any]) -> str:
    return f"/api/v1/faces/{row.id}/thumbnail?v={version_of(row)}"


def version_of(row: sa.Row[Any]) -> str:
    """Of a face's picture: another one when the photo's content, or the box found in it, is another."""
    box = f"{row.box_left} {row.box_top} {row.box_right} {row.box_bottom}"
    return hashlib.sha256(row.content_sha256 + box.encode()).hexdigest()[:VERSION_CHARACTERS]
