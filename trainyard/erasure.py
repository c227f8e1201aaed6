"""Forgetting for good, out of rows, vectors and thumbnails: a person, and what all erasures have in common. Files stay.

Points and thumbnails go before the rows that say which there are, so that a kill on the way leaves nothing that the
same call would not find again. Rows go in transactions during which no session begins.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import partial
from itertools import count
from uuid import UUID

import sqlalchemy as sa

from trainyard import outbox, thumbnail_files
from trainyard.active_sessions import check_idle, keep_idle
from trainyard.erasure_rows import StoredFace, delete_person, faces_of_person
from trainyard.people.errors import NoSuchPerson
from trainyard.stores import Stores
from trainyard.tables import models
from trainyard.vectors import VectorsUnavailable, VectorsUnusable

POINTS_PER_CALL = 1_000
MOST_DRAINS = 4  # of a call that somebody waits for, behind whatever else is left to be told: some seconds

# Of what is left to be told of one photo or person, the last: a thousand commits may have said the same.
ONCE = sa.text("""
    DELETE FROM outbox o USING (
        SELECT id, row_number() OVER (PARTITION BY asset_id, person_id ORDER BY id DESC) AS place FROM outbox
    ) r
    WHERE r.id = o.id AND r.place > 1
""")


@dataclass(frozen=True)
class Erased:
    """How much there was of each; vectors are points in Qdrant."""

    photos: int = 0
    faces: int = 0
    persons: int = 0
    vectors: int = 0
    thumbnails: int = 0

    def __add__(self, other: "Erased") -> "Erased":
        return Erased(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def erase_person(stores: Stores, person_id: int) -> Erased:
    """Erase a person with all faces of them that are known; photos and their scans stay.

    Raises NoSuchPerson and SessionActive: a worker that has the person's prototypes would go on to assign to them.
    """
    stores.database.transact(lambda connection: check_idle(connection, stores, faces=True))
    gone: dict[UUID, StoredFace] = {}
    vectors = thumbnails = 0
    while True:
        faces = stores.database.transact(lambda connection: faces_of_person(connection, person_id))
        vectors += _delete_face_points(stores, faces)
        thumbnails += thumbnail_files.remove_of_faces(stores.thumbnails, [(f.content_sha256, f.box) for f in faces])
        gone |= {face.id: face for face in faces}
        if stores.database.transact(partial(_erase_rows_of_person, stores=stores, person_id=person_id, known=gone)):
            tell_stores(stores)
            return Erased(faces=len(gone), persons=1, vectors=vectors, thumbnails=thumbnails)


def _erase_rows_of_person(connection: sa.Connection, stores: Stores, person_id: int, known: Collection[UUID]) -> bool:
    """False where somebody has given them another face since: its point is there yet. Raises NoSuchPerson."""
    keep_idle(connection, stores, faces=True)
    there = sa.text("SELECT FROM persons WHERE id = :id FOR UPDATE")
    if connection.execute(there, {"id": person_id}).first() is None:
        raise NoSuchPerson(person_id)
    faces = faces_of_person(connection, person_id)
    if any(face.id not in known for face in faces):
        return False
    return delete_person(connection, person_id, [face.id for face in faces])


def _delete_face_points(stores: Stores, faces: Sequence[StoredFace]) -> int:
    deleted, there = 0, set(collections_of(stores, "face"))
    for collection in sorted({face.collection for face in faces} & there):
        ids = [face.id for face in faces if face.collection == collection]
        for start in range(0, len(ids), POINTS_PER_CALL):
            part = ids[start : start + POINTS_PER_CALL]
            deleted += len(part) - len(stores.vectors.retrieve(collection, part).missing)
            stores.vectors.delete(collection, part)
    return deleted


def collections_of(stores: Stores, kind: str | None = None) -> list[str]:
    """Those of our networks that are there."""
    query = sa.select(models.c.collection).distinct()
    if kind is not None:
        query = query.where(models.c.kind == kind)
    ours = stores.database.transact(lambda connection: set(connection.scalars(query)))
    return sorted(ours & set(stores.vectors.collections()))


def tell_stores(stores: Stores) -> None:
    """Prototypes and payloads that follow; what is not told now stays in the outbox, for the API where there is one."""
    stores.database.transact(lambda connection: connection.execute(ONCE))
    with suppress(VectorsUnavailable, VectorsUnusable):
        for _ in count() if stores.alone else range(MOST_DRAINS):
            if not outbox.drain(stores.database, stores.vectors):
                return
