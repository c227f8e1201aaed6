"""The step embed: a CLIP embedding of every photo, in Qdrant, and its evidence in rows."""

import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.batches import (
    BatchRun,
    Outcome,
    Photo,
    failed_outcome,
    look,
    store_broken,
    store_facts,
    store_jobs,
)
from jobs.context import Context, Session, read_session
from jobs.engines import ClipEngine
from jobs.engines.loading import card_from_json
from jobs.orphans import remove_orphans
from jobs.streams import Streams
from trainyard.decoders import Decoder
from trainyard.face_models import active_face_model
from trainyard.outbox import enqueue_photos
from trainyard.payloads import time_text
from trainyard.photos import PhotoError, PhotoFacts
from trainyard.shards import Shard
from trainyard.vectors import image_point

READ = sa.text("""
    SELECT j.position, j.attempts, j.asset_id, a.path, a.content_sha256, a.category_id,
           e.asset_id IS NOT NULL AS done_before, NULL AS error_code, NULL AS error_message
    FROM training_jobs j JOIN image_assets a ON a.id = j.asset_id
    LEFT JOIN training_evidence e
        ON e.asset_id = a.id AND e.content_sha256 = a.content_sha256 AND e.model_id = :model_id
    WHERE j.session_id = :session_id AND j.step = :step AND j.position BETWEEN :next AND :last
        AND j.status = 'pending'
    ORDER BY j.position LIMIT :limit
""")

STORE_EVIDENCE = sa.text("""
    INSERT INTO training_evidence
        (asset_id, content_sha256, model_id, embedding_sha256, trained, session_id, category_id, seconds)
    SELECT r.asset_id, r.content_sha256, :model_id, r.embedding_sha256, :trained, :session_id, r.category_id, r.seconds
    FROM unnest(CAST(:assets AS bigint[]), CAST(:contents AS bytea[]), CAST(:embeddings AS bytea[]),
                CAST(:categories AS integer[]), CAST(:seconds AS float8[]))
        AS r (asset_id, content_sha256, embedding_sha256, category_id, seconds)
    ON CONFLICT (asset_id, content_sha256, model_id) DO UPDATE
    SET embedding_sha256 = excluded.embedding_sha256, session_id = excluded.session_id,
        category_id = excluded.category_id, seconds = excluded.seconds
""")

DROP_OLD_EVIDENCE = sa.text("""
    DELETE FROM training_evidence e
    USING unnest(CAST(:assets AS bigint[]), CAST(:contents AS bytea[])) AS r (asset_id, content_sha256)
    WHERE e.asset_id = r.asset_id AND e.model_id = :model_id AND e.content_sha256 <> r.content_sha256
""")


def run(context: Context, shard: Shard) -> None:
    """Run the shard to its end under the claim it was taken with."""
    session = context.database.transact(lambda connection: read_session(connection, shard.key.session_id))
    card = card_from_json(session.models["clip"])
    engine = context.engines.clip(untrained=not card.trained, expect=card)
    with Streams(context.settings, engine.device) as streams:
        step = EmbedStep(context, session, engine, streams)
        BatchRun(context, session, step, shard, streams).run()


PERSONS_IN = sa.text("""
    SELECT f.asset_id, array_agg(DISTINCT f.person_id ORDER BY f.person_id) AS person_ids
    FROM face_instances f
    WHERE f.asset_id = ANY(:assets) AND f.model_id = :face_model AND f.person_id IS NOT NULL GROUP BY f.asset_id
""")


# Of any of them somebody may say something before this is committed, whom nobody waits for.
WITH_FACES = sa.text("SELECT DISTINCT asset_id FROM face_instances WHERE asset_id = ANY(:assets)")


def _persons_in(connection: sa.Connection, asset_ids: list[int]) -> dict[int, list[int]]:
    """Who is in these photos, as the active network's faces say; photos without anybody are left out."""
    model = active_face_model(connection)
    rows = connection.execute(PERSONS_IN, {"assets": asset_ids, "face_model": model.id}) if model else ()
    return {row.asset_id: row.person_ids for row in rows}


def _read_before(new: Sequence[Outcome]) -> list[int]:
    """The photos of which something may be known already."""
    return [outcome.photo.asset_id for outcome in new if outcome.photo.content_sha256 is not None]


def embedding_sha256(embedding: NDArray[np.float32]) -> bytes:
    """SHA-256 of an embedding's little-endian float32 bytes."""
    return hashlib.sha256(embedding.astype("<f4").tobytes()).digest()


class EmbedStep:
    name = "embed"
    read = READ

    def __init__(self, context: Context, session: Session, engine: ClipEngine, streams: Streams) -> None:
        self.context = context
        self.session = session
        self.engine = engine
        self.network = streams.network
        self.batch_size = context.settings.embed_batch
        self.chunk_size = min(context.settings.network_batch, self.batch_size)  # no pass is mostly blanks
        self.model: dict[str, Any] = session.models["clip"]
        self.parameters = {"model_id": self.model["id"]}

    def infer(self, photos: Sequence[Photo], decoder: Decoder) -> list[Outcome]:
        begun = time.perf_counter()
        outcomes: list[Outcome] = []
        fresh: list[tuple[Photo, PhotoFacts, NDArray[np.uint8]]] = []
        for photo in photos:
            before = look(photo.path)
            try:
                facts, picture = decoder.clip_view(photo.path)
            except PhotoError as error:
                outcomes.append(failed_outcome(photo, error, before))
                continue
            if photo.done_before and facts.sha256 == photo.content_sha256:
                outcomes.append(Outcome(photo, facts=facts))
            else:
                fresh.append((photo, facts, picture))
        embeddings = self._encode([picture for _, _, picture in fresh])
        seconds = (time.perf_counter() - begun) / len(photos)
        outcomes += [
            Outcome(photo, facts=facts, result=embedding, seconds=seconds)
            for (photo, facts, _), embedding in zip(fresh, embeddings, strict=True)
        ]
        return outcomes

    def _encode(self, pictures: list[NDArray[np.uint8]]) -> Sequence[NDArray[np.float32]]:
        if not pictures:
            return []
        with self.network:
            return list(self.engine.encode(np.stack(pictures)))

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        new = [o for o in outcomes if o.result is not None and o.facts is not None]
        collection = self.model["collection"]
        created = datetime.now(UTC).isoformat()
        persons = self._persons(new)
        self.context.vectors.upsert(
            collection,
            [self._point(o.photo.asset_id, o.facts.sha256) for o in new if o.facts],
            np.stack([o.result for o in new]) if new else np.empty((0, self.model["dimension"]), np.float32),
            [self._payload(o, created, persons.get(o.photo.asset_id, [])) for o in new],
        )
        self.context.vectors.delete(collection, self._old_points(new))

    def _old_points(self, new: Sequence[Outcome]) -> list[UUID]:
        """Points of what these photos were before: their evidence is about to be replaced."""
        known = _read_before(new)
        if not known:
            return []
        points = self.context.database.transact(partial(self._points_with_rows, asset_ids=known))
        return sorted(points - {self._point(o.photo.asset_id, o.facts.sha256) for o in new if o.facts})

    def _persons(self, new: Sequence[Outcome]) -> dict[int, list[int]]:
        """Who is known to be in photos that were read before; `store` has the points told what has changed by then."""
        known = _read_before(new)
        return self.context.database.transact(partial(_persons_in, asset_ids=known)) if known else {}

    def _payload(self, outcome: Outcome, created: str, person_ids: list[int]) -> dict[str, Any]:
        taken = outcome.facts.taken_at if outcome.facts else None
        return {
            "path": outcome.photo.path.decode("utf-8", "backslashreplace"),
            "created_at": created,
            "taken_at": time_text(taken),
            "category_id": outcome.photo.category_id,
            "asset_id": outcome.photo.asset_id,
            "person_ids": person_ids,
        }

    def _point(self, asset_id: int, content_sha256: bytes) -> UUID:
        return image_point(asset_id, content_sha256, self.model["weights_sha256"])

    def counts(self, outcomes: Sequence[Outcome]) -> dict[str, int]:
        return {"unchanged": sum(1 for outcome in outcomes if outcome.unchanged)}

    def store(self, connection: sa.Connection, outcomes: Sequence[Outcome]) -> None:
        new = [(o, o.facts) for o in outcomes if o.result is not None and o.facts is not None]
        if new:
            rows = {
                "model_id": self.model["id"],
                "assets": [o.photo.asset_id for o, _ in new],
                "contents": [facts.sha256 for _, facts in new],
            }
            connection.execute(DROP_OLD_EVIDENCE, rows)
            connection.execute(
                STORE_EVIDENCE,
                {
                    **rows,
                    "embeddings": [embedding_sha256(o.result) for o, _ in new],
                    "categories": [o.photo.category_id for o, _ in new],
                    "seconds": [o.seconds for o, _ in new],
                    "trained": self.model["trained"],
                    "session_id": self.session.id,
                },
            )
            if known := _read_before([o for o, _ in new]):
                enqueue_photos(connection, connection.scalars(WITH_FACES, {"assets": known}).all())
        store_facts(connection, outcomes)
        store_broken(connection, outcomes)
        store_jobs(connection, self.session.id, self.name, outcomes)

    def committed(self) -> None:
        pass

    def tidy(self, shard: Shard) -> None:
        remove_orphans(self.context, shard, self.model["collection"], self._points_with_rows)

    def _points_with_rows(self, connection: sa.Connection, asset_ids: list[int]) -> set[UUID]:
        rows = connection.execute(
            sa.text(
                "SELECT asset_id, content_sha256 FROM training_evidence "
                "WHERE model_id = :model_id AND asset_id = ANY(:assets)"
            ),
            {"model_id": self.model["id"], "assets": asset_ids},
        )
        return {self._point(row.asset_id, row.content_sha256) for row in rows}
