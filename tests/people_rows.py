"""A library's faces and people, written the way detect, cluster and assign write them."""

import hashlib
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from tests.rows import add_model, add_photos, add_session
from trainyard.tables import face_clusters, face_instances, face_suggestions, persons


class Library:
    """Faces of made-up photos, one a photo, found by one made-up network."""

    def __init__(self, connection: sa.Connection, photos: int = 40) -> None:
        self.session = add_session(connection)
        self.model = add_model(connection, "face")
        self.photos = add_photos(connection, photos)
        self._next = 0

    def face(self, connection: sa.Connection, **columns: Any) -> UUID:
        """A face in the next photo, or in `photo`; returns its id."""
        number = columns.pop("photo", self._next)
        self._next = number + 1
        values = {
            "id": uuid4(),
            "asset_id": self.photos[number],
            "content_sha256": hashlib.sha256(b"content %d" % number).digest(),
            "model_id": self.model,
            "ordinal": columns.pop("ordinal", 0),
            "box_left": 0.0,
            "box_top": 0.0,
            "box_right": 100.0,
            "box_bottom": 100.0,
            "confidence": 0.9,
            "quality": 0.8,
            "embedding_sha256": b"",
            "session_id": self.session,
            **columns,
        }
        connection.execute(sa.insert(face_instances).values(values))
        return UUID(str(values["id"]))

    def faces(self, connection: sa.Connection, count: int, **columns: Any) -> list[UUID]:
        return [self.face(connection, **columns) for _ in range(count)]

    def cluster(self, connection: sa.Connection, count: int) -> tuple[int, list[UUID]]:
        """A group of so many unknown faces: its id, and theirs."""
        values = {"model_id": self.model, "session_id": self.session, "size": count}
        cluster_id = connection.execute(
            sa.insert(face_clusters).values(values).returning(face_clusters.c.id)
        ).scalar_one()
        return cluster_id, self.faces(connection, count, cluster_id=cluster_id, clustered_at=sa.func.now())

    def person(self, connection: sa.Connection, name: str) -> int:
        return int(connection.execute(sa.insert(persons).values(name=name).returning(persons.c.id)).scalar_one())

    def suggest(self, connection: sa.Connection, face_id: UUID, person_id: int, similarity: float = 0.45) -> None:
        values = {
            "face_id": face_id,
            "person_id": person_id,
            "similarity": similarity,
            "session_id": self.session,
        }
        connection.execute(sa.insert(face_suggestions).values(values))


def face_row(connection: sa.Connection, face_id: UUID) -> sa.Row[Any]:
    return connection.execute(sa.select(face_instances).where(face_instances.c.id == face_id)).one()


def owners(connection: sa.Connection, face_ids: list[UUID]) -> list[int | None]:
    """Whose the faces are, in their order."""
    rows = connection.execute(sa.select(face_instances.c.id, face_instances.c.person_id))
    by_face = {row.id: row.person_id for row in rows}
    return [by_face[id] for id in face_ids]


def answers(connection: sa.Connection, face_id: UUID) -> dict[int, str]:
    """Status of the face's suggestions, by person."""
    s = face_suggestions.c
    rows = connection.execute(sa.select(s.person_id, s.status).where(s.face_id == face_id))
    return {row.person_id: row.status for row in rows}


def people(connection: sa.Connection) -> dict[str, int]:
    """Those who are there: names and ids."""
    rows = connection.execute(sa.select(persons.c.name, persons.c.id).where(persons.c.deleted_at.is_(None)))
    return {row.name: row.id for row in rows}


def told(connection: sa.Connection) -> tuple[set[int], set[int]]:
    """Photos and persons that the outbox names; it is emptied."""
    rows = connection.execute(sa.text("DELETE FROM outbox RETURNING asset_id, person_id")).all()
    photos = {row.asset_id for row in rows if row.asset_id is not None}
    return photos, {row.person_id for row in rows if row.person_id is not None}
