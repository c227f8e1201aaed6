"""Which of a person's faces stand for the person, so that the engine knows it in other photos."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from trainyard.model_points import PointsOf, present
from trainyard.people.coverage import COVERED, choose
from trainyard.vectors import Vectors

__all__ = ["choose", "refresh_in"]

LOCK = 7_260_114  # any fixed number: the first half of the advisory lock's key, the person's id being the other

MOST_FACES = 2_000  # the best ones; all are compared with all

TAKE_TURN = sa.text("SELECT pg_advisory_xact_lock(:lock, :person_id)")

# Those that people gave the person; what the engine gave would make its own mistakes stand for the person.
FACES = sa.text("""
    SELECT f.id, f.quality, f.model_id, m.collection, m.dimension, m.weights_sha256, m.thresholds
    FROM (
        SELECT id, quality, model_id, row_number() OVER (PARTITION BY model_id ORDER BY quality DESC, id) AS place
        FROM face_instances WHERE person_id = :person_id AND assigned_by = 'person' AND ignored_at IS NULL
    ) f JOIN models m ON m.id = f.model_id JOIN persons p ON p.id = :person_id AND p.deleted_at IS NULL
    WHERE f.place <= :most ORDER BY f.model_id, f.id
""")

STANDING = sa.text("""
    SELECT id, model_id, face_id, embedding FROM person_prototypes
    WHERE person_id = :person_id AND retired_at IS NULL ORDER BY id
""")

RETIRE = sa.text("UPDATE person_prototypes SET retired_at = clock_timestamp() WHERE id = ANY(:ids)")

STORE = sa.text("""
    INSERT INTO person_prototypes (person_id, model_id, face_id, embedding, created_at)
    VALUES (:person_id, :model_id, :face_id, :embedding, clock_timestamp())
""")


def refresh_in(connection: sa.Connection, vectors: Vectors, person_id: int) -> bool:
    """Choose a person's prototypes anew, for every network; returns whether any changed. Raises VectorsUnavailable.

    Two at once of one person take turns, so that none is stored twice.
    """
    connection.execute(TAKE_TURN, {"lock": LOCK, "person_id": person_id})
    faces: dict[int, list[sa.Row[Any]]] = defaultdict(list)
    for row in connection.execute(FACES, {"person_id": person_id, "most": MOST_FACES}):
        faces[row.model_id].append(row)
    standing: dict[int, list[sa.Row[Any]]] = defaultdict(list)
    for row in connection.execute(STANDING, {"person_id": person_id}):
        standing[row.model_id].append(row)
    changed = False
    for model_id in sorted(faces.keys() | standing.keys()):
        wanted = _wanted(vectors, faces[model_id], standing[model_id])
        if wanted is not None:
            changed |= _replace(connection, (person_id, model_id), standing[model_id], wanted)
    return changed


def _wanted(
    vectors: Vectors, faces: Sequence[sa.Row[Any]], standing: Sequence[sa.Row[Any]]
) -> dict[UUID, bytes] | None:
    """The embeddings of the faces to stand, by face; None where Qdrant has none of the network's."""
    if not faces:
        return {}
    model = faces[0]
    points = PointsOf(model.collection, model.dimension, model.weights_sha256)
    if not present(vectors, [points]):
        return None
    ids = [face.id for face in faces]
    embeddings = vectors.retrieve(model.collection, ids).vectors
    _fill_in(embeddings, ids, {row.face_id: row.embedding for row in standing})
    there = np.flatnonzero(~np.isnan(embeddings[:, 0]))
    qualities = np.array([face.quality for face in faces], np.float64)
    chosen = there[choose(embeddings[there], qualities[there], _covered(model.thresholds))]
    return {ids[i]: embeddings[i].astype("<f4").tobytes() for i in chosen.tolist()}


def _fill_in(embeddings: NDArray[np.float32], ids: Sequence[UUID], known: Mapping[UUID, bytes]) -> None:
    """A lost point's embedding is known while its face stands."""
    for i in np.flatnonzero(np.isnan(embeddings[:, 0])).tolist():
        if ids[i] in known:
            embeddings[i] = np.frombuffer(known[ids[i]], "<f4")


def _covered(thresholds: Mapping[str, Any] | None) -> float:
    """Half of the way from where a network takes two faces for one person to where they are the same picture."""
    return (1 + float(thresholds["assign"])) / 2 if thresholds else COVERED


def _replace(
    connection: sa.Connection, of: tuple[int, int], standing: Sequence[sa.Row[Any]], wanted: Mapping[UUID, bytes]
) -> bool:
    """Retire what is not wanted and add what does not stand; what is both stays as it is."""
    kept = {row.face_id: row.id for row in standing if wanted.get(row.face_id) == row.embedding}
    retired = sorted({row.id for row in standing} - set(kept.values()))
    new = [
        {"person_id": of[0], "model_id": of[1], "face_id": face_id, "embedding": embedding}
        for face_id, embedding in wanted.items()
        if face_id not in kept
    ]
    if retired:
        connection.execute(RETIRE, {"ids": retired})
    if new:
        connection.execute(STORE, new)
    return bool(retired or new)
