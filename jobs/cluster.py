"""The step cluster: group the faces nobody has named, and keep the groups that were there."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.clustering import group_faces, match_groups
from jobs.context import Context, read_session
from jobs.engines import FaceThresholds
from jobs.outages import ride_out
from trainyard import shards
from trainyard.shards import Overtaken, Shard
from trainyard.vectors import VectorsUnavailable

LEAST_QUALITY = 0.3  # below it a face is too poor to tell people apart
BEAT_SECONDS = 10.0
VECTORS_PER_READ = 1_000

# Ordered by a key of the photos themselves: ids follow the order of commits, which a kill changes.
READ_FACES = sa.text("""
    SELECT f.id, f.asset_id, f.quality, f.cluster_id
    FROM face_instances f JOIN image_assets a ON a.id = f.asset_id
    WHERE f.model_id = :model_id AND f.person_id IS NULL AND f.quality >= :least_quality
        AND a.missing_since IS NULL AND f.created_at <= :read_at
    ORDER BY a.path_sha256, f.box_left, f.box_top, f.box_right, f.box_bottom
""")


@dataclass(frozen=True)
class Faces:
    """The n faces to group, in their natural order."""

    ids: list[UUID]
    assets: NDArray[np.int64]
    qualities: NDArray[np.float64]
    clusters: list[int | None]
    read_at: datetime


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
    context.database.transact(lambda connection: _store(connection, shard, model, faces, labels))


def _read_faces(connection: sa.Connection, model: Mapping[str, Any]) -> Faces:
    read_at = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    rows = connection.execute(
        READ_FACES, {"model_id": model["id"], "least_quality": LEAST_QUALITY, "read_at": read_at}
    ).all()
    return Faces(
        ids=[row.id for row in rows],
        assets=np.array([row.asset_id for row in rows], np.int64),
        qualities=np.array([row.quality for row in rows], np.float64),
        clusters=[row.cluster_id for row in rows],
        read_at=read_at,
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
        read_at=faces.read_at,
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


def _store(
    connection: sa.Connection, shard: Shard, model: Mapping[str, Any], faces: Faces, labels: NDArray[np.int64]
) -> None:
    shards.beat(connection, shard)
    if shards.is_finished(connection, shard):  # committed before, and the answer lost
        return
    here = _untouched(connection, faces)
    new: dict[int, set[int]] = defaultdict(set)
    old: dict[int, set[int]] = defaultdict(set)
    for i, label in enumerate(labels.tolist()):
        if label >= 0 and faces.ids[i] in here:
            new[label].add(i)
        cluster = faces.clusters[i]
        if cluster is not None:
            old[cluster].add(i)
    kept = match_groups(old, new)
    ids = {label: kept[label] if label in kept else _create(connection, shard, model) for label in sorted(new)}
    _move_faces(connection, faces, here, {i: ids[label] for label, members in new.items() for i in members})
    for label, members in new.items():
        _describe(connection, ids[label], faces, sorted(members))
    _close_others(connection, model, sorted(ids.values()))
    connection.execute(
        sa.text(
            "UPDATE face_instances SET clustered_at = clock_timestamp() "
            "WHERE model_id = :model_id AND clustered_at IS NULL AND created_at <= :read_at"
        ),
        {"model_id": model["id"], "read_at": faces.read_at},
    )
    counts = {"clusters": len(new) - len(kept), "groups": len(new), "grouped": sum(map(len, new.values()))}
    shards.beat(connection, shard, done=len(faces.ids), total=len(faces.ids), counts=counts)
    shards.finish(connection, shard)


def _untouched(connection: sa.Connection, faces: Faces) -> set[UUID]:
    """The faces that are still as they were read: what a person changed meanwhile is left alone."""
    rows = connection.execute(
        sa.text(
            "SELECT id, cluster_id FROM face_instances "
            "WHERE id = ANY(:ids) AND person_id IS NULL ORDER BY id FOR UPDATE"
        ),
        {"ids": faces.ids},
    )
    before = dict(zip(faces.ids, faces.clusters, strict=True))
    return {row.id for row in rows if row.cluster_id == before[row.id]}


def _create(connection: sa.Connection, shard: Shard, model: Mapping[str, Any]) -> int:
    return int(
        connection.execute(
            sa.text("INSERT INTO face_clusters (model_id, session_id, size) VALUES (:model, :session, 0) RETURNING id"),
            {"model": model["id"], "session": shard.key.session_id},
        ).scalar_one()
    )


def _move_faces(connection: sa.Connection, faces: Faces, here: set[UUID], cluster_of: dict[int, int]) -> None:
    moved = [(id, cluster_of.get(i)) for i, id in enumerate(faces.ids) if id in here]
    connection.execute(
        sa.text("""
            UPDATE face_instances f SET cluster_id = r.cluster_id
            FROM unnest(CAST(:ids AS uuid[]), CAST(:clusters AS integer[])) AS r (id, cluster_id)
            WHERE f.id = r.id AND f.cluster_id IS DISTINCT FROM r.cluster_id
        """),
        {"ids": [id for id, _ in moved], "clusters": [cluster for _, cluster in moved]},
    )


def _describe(connection: sa.Connection, cluster_id: int, faces: Faces, members: list[int]) -> None:
    best = max(members, key=lambda i: (faces.qualities[i], -i))
    connection.execute(
        sa.text("UPDATE face_clusters SET size = :size, representative_face_id = :best WHERE id = :id"),
        {"size": len(members), "best": faces.ids[best], "id": cluster_id},
    )


def _close_others(connection: sa.Connection, model: Mapping[str, Any], open_ids: list[int]) -> None:
    """Close the groups that nothing matched; faces too poor or missing leave them."""
    parameters = {"model_id": model["id"], "open": open_ids}
    closing = "closed_at IS NULL AND model_id = :model_id AND NOT id = ANY(:open)"
    connection.execute(
        sa.text(
            "UPDATE face_instances SET cluster_id = NULL "
            f"WHERE cluster_id IN (SELECT id FROM face_clusters WHERE {closing})"
        ),
        parameters,
    )
    connection.execute(sa.text(f"UPDATE face_clusters SET closed_at = clock_timestamp() WHERE {closing}"), parameters)
