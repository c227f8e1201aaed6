"""The step assign: whose are the faces nobody knows, now that people have named more of them?

It reads no photo and loads no network: rows say which faces there are, Qdrant has their vectors.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.assignment import Decision, Prototypes, decide, read_prototypes
from jobs.context import Context, Session, read_session
from jobs.engines import FaceThresholds
from jobs.faces import NOBODY
from jobs.outages import ride_out
from jobs.suggestions import hold_persons, store_suggestions
from jobs.telling import tell_stores
from trainyard import shards
from trainyard.face_groups import close_empty
from trainyard.model_points import PointsOf, present
from trainyard.outbox import enqueue_photos
from trainyard.shards import Shard
from trainyard.vectors import VectorsUnavailable

PHOTOS_PER_BATCH = 100

READ = sa.text("""
    SELECT position, asset_id FROM training_jobs
    WHERE session_id = :session_id AND step = 'assign' AND position BETWEEN :next AND :last AND status = 'pending'
    ORDER BY position LIMIT :limit
""")

UNKNOWN = "model_id = :model_id AND person_id IS NULL AND ignored_at IS NULL"
FACES = sa.text(f"SELECT id FROM face_instances WHERE asset_id = ANY(:assets) AND {UNKNOWN} ORDER BY asset_id, ordinal")
LOCK = sa.text(f"""
    SELECT id, asset_id, cluster_id FROM face_instances WHERE id = ANY(:ids) AND {UNKNOWN}
    ORDER BY id FOR NO KEY UPDATE
""")

REFUSED = sa.text("SELECT face_id, person_id FROM face_suggestions WHERE status = 'rejected' AND face_id = ANY(:ids)")

ASSIGN = sa.text("""
    UPDATE face_instances f
    SET person_id = r.person_id, assigned_by = 'engine', similarity = r.similarity, cluster_id = NULL
    FROM unnest(CAST(:ids AS uuid[]), CAST(:persons AS integer[]), CAST(:similarities AS float8[]))
        AS r (id, person_id, similarity)
    WHERE f.id = r.id
""")

DONE = sa.text("""
    UPDATE training_jobs SET status = 'completed'
    WHERE session_id = :session_id AND step = 'assign' AND position = ANY(:positions)
""")

Decided = Mapping[UUID, Decision]


def run(context: Context, shard: Shard) -> None:
    """Run the shard to its end under the claim it was taken with."""
    session = context.database.transact(lambda connection: read_session(connection, shard.key.session_id))
    Assigning(context, session, shard).run()


@dataclass(frozen=True)
class Batch:
    """Photos by position, and what was decided of their faces."""

    positions: Sequence[int]
    decided: Decided


class Assigning:
    """One claimed shard being worked off."""

    def __init__(self, context: Context, session: Session, shard: Shard) -> None:
        self.context = context
        self.session = session
        self.shard = shard
        self.model = session.models["face"]
        self.thresholds = FaceThresholds(**self.model["thresholds"])
        self.prototypes: Prototypes = context.database.transact(
            lambda c: read_prototypes(c, session.id, self.model["id"], self.model["dimension"])
        )

    def run(self) -> None:
        while photos := self.context.database.transact(self._read):
            self.context.check_stop()
            batch = Batch([position for position, _ in photos], self._decide([asset for _, asset in photos]))
            self.shard = self.context.database.transact(partial(self._commit, batch=batch))
        tell_stores(self.context, self.shard)
        self.context.database.transact(lambda connection: shards.finish(connection, self.shard))

    def _read(self, connection: sa.Connection) -> list[tuple[int, int]]:
        asked = {"session_id": self.session.id, "next": self.shard.next, "last": self.shard.last}
        rows = connection.execute(READ, {**asked, "limit": PHOTOS_PER_BATCH})
        return [(row.position, row.asset_id) for row in rows]

    # Decide

    def _decide(self, asset_ids: Sequence[int]) -> Decided:
        """What each unknown face is, as far as its vector is there."""
        ids, refused = self.context.database.transact(partial(self._faces, asset_ids=asset_ids))
        if not len(self.prototypes.person_ids):
            return dict.fromkeys(ids, NOBODY)
        vectors = ride_out(
            self.context, self.shard, "VectorsUnavailable", partial(self._vectors, ids), (VectorsUnavailable,)
        )
        return {
            face_id: decide(vector, self.prototypes, self.thresholds, refused.get(face_id, ()))
            for face_id, vector in zip(ids, vectors, strict=True)
            if not np.isnan(vector[0])
        }

    def _faces(self, connection: sa.Connection, asset_ids: Sequence[int]) -> tuple[list[UUID], dict[UUID, set[int]]]:
        asked = {"assets": list(asset_ids), "model_id": self.model["id"]}
        ids = list(connection.scalars(FACES, asked))
        return ids, _refused(connection, ids)

    def _vectors(self, ids: Sequence[UUID]) -> NDArray[np.float32]:
        """(n, dimension); NaN where the collection, or a point in it, is gone."""
        of = PointsOf(self.model["collection"], self.model["dimension"], self.model["weights_sha256"])
        if not ids or not present(self.context.vectors, [of]):
            return np.full((len(ids), of.dimension), np.nan, np.float32)
        return self.context.vectors.retrieve(of.collection, ids).vectors

    # Commit

    def _commit(self, connection: sa.Connection, batch: Batch) -> Shard:
        """What people did meanwhile counts: faces that are known or ignored by now are left alone."""
        standing = hold_persons(connection, _persons(batch.decided.values()))
        faces = connection.execute(LOCK, {"ids": list(batch.decided), "model_id": self.model["id"]}).all()
        refused = _refused(connection, batch.decided)
        held = {row.id: _still(batch.decided[row.id], standing - refused.get(row.id, set())) for row in faces}
        assigned = {face_id: decision for face_id, decision in held.items() if decision.person_id is not None}
        after, is_news = shards.advance(
            connection,
            self.shard,
            next=batch.positions[-1] + 1,
            in_flight=None,
            done=len(batch.positions),
            counts={
                "faces": len(held),
                "assigned": len(assigned),
                "suggestions": sum(decision.suggested_person_id is not None for decision in held.values()),
            },
        )
        if is_news:
            self._store(connection, batch, held, [row for row in faces if row.id in assigned])
        return after

    def _store(
        self, connection: sa.Connection, batch: Batch, held: Decided, assigned: Sequence[sa.Row[tuple[object, ...]]]
    ) -> None:
        if assigned:
            decisions = [held[row.id] for row in assigned]
            connection.execute(
                ASSIGN,
                {
                    "ids": [row.id for row in assigned],
                    "persons": [decision.person_id for decision in decisions],
                    "similarities": [decision.similarity for decision in decisions],
                },
            )
            close_empty(connection, {row.cluster_id for row in assigned if row.cluster_id is not None})
            enqueue_photos(connection, {row.asset_id for row in assigned})
        store_suggestions(connection, self.session.id, list(held.items()))
        connection.execute(DONE, {"session_id": self.session.id, "positions": list(batch.positions)})


def _refused(connection: sa.Connection, face_ids: Collection[UUID]) -> dict[UUID, set[int]]:
    """Whom people refused for these faces."""
    refused: dict[UUID, set[int]] = {}
    for row in connection.execute(REFUSED, {"ids": list(face_ids)}):
        refused.setdefault(row.face_id, set()).add(row.person_id)
    return refused


def _persons(decisions: Iterable[Decision]) -> list[int | None]:
    return [decision.person_id or decision.suggested_person_id for decision in decisions]


def _still(decision: Decision, possible: set[int]) -> Decision:
    """The decision, if its person is one of those possible."""
    return decision if {decision.person_id, decision.suggested_person_id} & possible else NOBODY
