"""The step cluster: group the faces nobody has named, and keep the groups that were there."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.clustering import group_faces
from jobs.context import Context, read_session
from jobs.engines import FaceThresholds
from jobs.group_rows import LEAST_QUALITY, Faces, store_groups
from jobs.outages import ride_out
from jobs.telling import tell_what_is_left
from trainyard import shards
from trainyard.shards import Overtaken, Shard
from trainyard.vectors import VectorsUnavailable

BEAT_SECONDS = 10.0
VECTORS_PER_READ = 1_000

# Ordered by a key of the photos themselves: ids follow the order of commits, which a kill changes.
READ_FACES = sa.text("""
    SELECT f.id, f.asset_id, f.quality, f.cluster_id
    FROM face_instances f JOIN image_assets a ON a.id = f.asset_id
    WHERE f.model_id = :model_id AND f.person_id IS NULL AND f.ignored_at IS NULL AND f.quality >= :least_quality
        AND a.missing_since IS NULL
    ORDER BY a.path_sha256, f.box_left, f.box_top, f.box_right, f.box_bottom
""")

# Poor ones and those of photos that are gone, too: they have had their turn.
READ_WAITING = sa.text("""
    SELECT id FROM face_instances
    WHERE model_id = :model_id AND clustered_at IS NULL AND person_id IS NULL AND ignored_at IS NULL
""")


@dataclass
class Beat:
    """How far the grouping has come, 0..1; written to the shard's row by another thread."""

    fraction: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)


def run(context: Context, shard: Shard) -> None:
    """Group, and store the groups in one transaction."""
    session = context.database.transact(lambda connection: read_session(connection, shard.key.session_id))
    model = session.models["face"]
    faces = context.database.transact(lambda connection: _read_faces(connection, model))
    context.database.transact(lambda c: shards.beat(c, shard, total=len(faces.ids)))
    with _beating(context, shard, len(faces.ids)) as beat:
        faces, vectors = _with_vectors(context, shard, model, faces)
        labels = _group(faces, vectors, FaceThresholds(**model["thresholds"]), beat)
    context.check_stop()
    context.database.transact(lambda connection: store_groups(connection, shard, model["id"], faces, labels))
    tell_what_is_left(context, shard)


def _read_faces(connection: sa.Connection, model: Mapping[str, Any]) -> Faces:
    waiting = list(connection.scalars(READ_WAITING, {"model_id": model["id"]}))
    rows = connection.execute(READ_FACES, {"model_id": model["id"], "least_quality": LEAST_QUALITY}).all()
    return Faces(
        ids=[row.id for row in rows],
        assets=np.array([row.asset_id for row in rows], np.int64),
        qualities=np.array([row.quality for row in rows], np.float64),
        clusters=[row.cluster_id for row in rows],
        waiting=waiting,
    )


def _with_vectors(
    context: Context, shard: Shard, model: Mapping[str, Any], faces: Faces
) -> tuple[Faces, NDArray[np.float32]]:
    """The faces whose vectors are there, and the vectors, (n, dimension) float32."""

    def read() -> NDArray[np.float32]:
        vectors = np.empty((len(faces.ids), model["dimension"]), np.float32)
        for start in range(0, len(faces.ids), VECTORS_PER_READ):
            context.check_stop()
            part = faces.ids[start : start + VECTORS_PER_READ]
            vectors[start : start + len(part)] = context.vectors.retrieve(model["collection"], part).vectors
        return vectors

    vectors = ride_out(context, shard, "VectorsUnavailable", read, (VectorsUnavailable,))
    there = ~np.isnan(vectors[:, 0]) if len(vectors) else np.zeros(0, bool)
    kept = np.flatnonzero(there).tolist()
    present = Faces(
        ids=[faces.ids[i] for i in kept],
        assets=faces.assets[there],
        qualities=faces.qualities[there],
        clusters=[faces.clusters[i] for i in kept],
        waiting=faces.waiting,
    )
    return present, vectors[there]


def _group(faces: Faces, vectors: NDArray[np.float32], thresholds: FaceThresholds, beat: Beat) -> NDArray[np.int64]:
    def progress(fraction: float) -> None:
        beat.fraction = fraction

    if not faces.ids:
        return np.zeros(0, np.int64)
    return group_faces(vectors, faces.assets, thresholds.verification, progress=progress)


@contextmanager
def _beating(context: Context, shard: Shard, total: int) -> Iterator[Beat]:
    """Show life and progress in the shard's row while one long computation runs."""
    beat = Beat()

    def run() -> None:
        while not beat.ended.wait(BEAT_SECONDS):
            done = int(beat.fraction * total)
            try:
                context.database.transact(partial(shards.beat, shard=shard, done=done))
            except Overtaken:  # the transaction that stores will say so
                return

    thread = threading.Thread(target=run, name="cluster-beat", daemon=True)
    thread.start()
    try:
        yield beat
    finally:
        beat.ended.set()
        thread.join()
