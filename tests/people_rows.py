"""A library's faces and people, written the way detect, cluster and assign write them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

import sqlalchemy as sa

from tests.rows import add_model, add_photos, add_session
from trainyard.tables import face_clusters, face_instances, face_suggestions, metadata, persons

T = TypeVar("T")

FACES = sa.text("""
    SELECT id, person_id, assigned_by, similarity, cluster_id, clustered_at, ignored_at FROM face_instances ORDER BY id
""")
SUGGESTIONS = sa.text("""
    SELECT face_id, person_id, similarity, status, session_id, created_at, decided_at
    FROM face_suggestions ORDER BY face_id, person_id
""")
PERSONS = sa.text("SELECT id, name, cover_face_id FROM persons WHERE deleted_at IS NULL ORDER BY id")
CLUSTERS = sa.text("SELECT id, closed_at, dismissed_at FROM face_clusters ORDER BY id")

# Nobody's face is somebody's who is gone; the known are in no group and are not asked about; the engine gave nobody
# a face that was refused.
NONSENSE = sa.text("""
    SELECT f.id FROM face_instances f LEFT JOIN persons p ON p.id = f.person_id
    WHERE p.deleted_at IS NOT NULL OR (f.person_id IS NULL) <> (f.assigned_by IS NULL)
        OR f.cluster_id IS NOT NULL AND (f.person_id IS NOT NULL OR f.ignored_at IS NOT NULL)
        OR EXISTS (
            SELECT FROM face_suggestions s JOIN persons q ON q.id = s.person_id WHERE s.face_id = f.id AND (
                s.status = 'pending'
                    AND (f.person_id IS NOT NULL OR f.ignored_at IS NOT NULL OR q.deleted_at IS NOT NULL)
                OR s.status = 'rejected' AND s.person_id = f.person_id))
""")


@dataclass
class Library:
    """Made-up photos with faces found by one made-up network; each call is a transaction of its own."""

    engine: sa.Engine
    session: int
    model: int
    photos: list[int]
    next: int = 0

    @classmethod
    def made(cls, engine: sa.Engine, photos: int = 60) -> "Library":
        with engine.begin() as connection:
            session, model = add_session(connection), add_model(connection, "face")
            return cls(engine, session, model, add_photos(connection, photos))

    def do(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """One of the operations, as a request runs it."""
        with self.engine.begin() as connection:
            return work(connection, *arguments, **named)

    def face(self, **columns: Any) -> UUID:
        """A face in the next photo, or in `photo` of that number; returns its id."""
        number = columns.pop("photo", self.next)
        self.next = number + 1
        values = {
            "id": uuid4(),
            "asset_id": self.photos[number],
            "content_sha256": hashlib.sha256(b"content %d" % number).digest(),
            "model_id": self.model,
            "ordinal": 0,
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
        self.do(lambda c: c.execute(sa.insert(face_instances).values(values)))
        return UUID(str(values["id"]))

    def faces(self, count: int, **columns: Any) -> list[UUID]:
        return [self.face(**columns) for _ in range(count)]

    def cluster(self, count: int) -> tuple[int, list[UUID]]:
        """A group of so many unknown faces: its id, and theirs."""
        values = {"model_id": self.model, "session_id": self.session, "size": count}
        made = sa.insert(face_clusters).values(values).returning(face_clusters.c.id)
        cluster_id = self.do(lambda c: c.execute(made).scalar_one())
        return cluster_id, self.faces(count, cluster_id=cluster_id, clustered_at=sa.func.now())

    def person(self, name: str) -> int:
        made = sa.insert(persons).values(name=name).returning(persons.c.id)
        return int(self.do(lambda c: c.execute(made).scalar_one()))

    def suggest(self, face_id: UUID, person_id: int, similarity: float = 0.45, **columns: Any) -> None:
        values = {"face_id": face_id, "person_id": person_id, "similarity": similarity, "session_id": self.session}
        self.do(lambda c: c.execute(sa.insert(face_suggestions).values({**values, **columns})))

    # What there is

    def row(self, face_id: UUID) -> sa.Row[Any]:
        return self.do(lambda c: c.execute(sa.select(face_instances).where(face_instances.c.id == face_id)).one())

    def owners(self, face_ids: Sequence[UUID]) -> list[int | None]:
        """Whose the faces are, in their order."""
        f = face_instances.c
        rows = self.do(lambda c: c.execute(sa.select(f.id, f.person_id)).all())
        by_face = {row.id: row.person_id for row in rows}
        return [by_face[id] for id in face_ids]

    def answers(self, face_id: UUID) -> dict[int, str]:
        """Status of the face's suggestions, by person."""
        s = face_suggestions.c
        rows = self.do(lambda c: c.execute(sa.select(s.person_id, s.status).where(s.face_id == face_id)).all())
        return {row.person_id: row.status for row in rows}

    def people(self) -> dict[str, int]:
        """Those who are there: names and ids."""
        return {row.name: row.id for row in self.do(lambda c: c.execute(PERSONS).all())}

    def told(self) -> tuple[set[int], set[int]]:
        """Photos and persons that the outbox names; it is emptied."""
        emptied = sa.text("DELETE FROM outbox RETURNING asset_id, person_id")
        rows = self.do(lambda c: c.execute(emptied).all())
        return {row.asset_id for row in rows if row.asset_id}, {row.person_id for row in rows if row.person_id}

    def everything(self) -> dict[str, list[Any]]:
        """All that operations change and undoing them gives back, but who came and went in between."""
        tables = {"faces": FACES, "suggestions": SUGGESTIONS, "persons": PERSONS, "clusters": CLUSTERS}
        return {name: [tuple(row) for row in self.do(lambda c, q=q: c.execute(q).all())] for name, q in tables.items()}


def forget_all(engine: sa.Engine) -> None:
    """Empty every table, so that the next test of a module begins with none of these rows."""
    names = ", ".join(table.name for table in metadata.sorted_tables if table.name != "installation")
    with engine.begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


class Everybody:
    """A library with a face of every sort: what each kind of change is tried on."""

    def __init__(self, library: Library) -> None:
        self.anna, self.bea, self.carl = (library.person(name) for name in ("Anna", "Bea", "Carl"))
        self.group, self.grouped = library.cluster(3)
        self.other_group, self.others = library.cluster(2)
        self.named = library.faces(2, person_id=self.anna, assigned_by="person")
        self.beas = library.face(person_id=self.bea, assigned_by="person")
        self.found = library.faces(2, person_id=self.bea, assigned_by="engine", similarity=0.61)
        self.ignored = library.face(ignored_at=sa.func.now(), clustered_at=sa.func.now())
        self.unknown = library.face(clustered_at=sa.func.now())
        library.suggest(self.grouped[0], self.anna, 0.47)
        library.suggest(self.grouped[0], self.bea, 0.41)
        library.suggest(self.grouped[1], self.bea, 0.43)
        library.suggest(self.unknown, self.anna, 0.44)
        library.suggest(self.unknown, self.carl, 0.40)
        library.suggest(self.unknown, self.bea, 0.42, status="rejected")
        library.suggest(self.found[0], self.anna, 0.42, status="rejected")
        library.suggest(self.found[1], self.bea, 0.61, status="accepted")
