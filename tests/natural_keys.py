"""What a session made of photos, under keys of the photos themselves: path, and path with box.

Left out by name, as they may differ between two runs of the same work: surrogate ids (assets, sessions, models,
faces, clusters), times (created_at, seconds, …), attempts and claims, and workers.
"""

import hashlib
from collections import defaultdict
from typing import Any
from uuid import UUID

from tests.local_runs import Run
from tests.points import ids_in
from trainyard.payloads import time_text
from trainyard.vectors import face_point, image_point

ASSETS = """
    SELECT path, size_bytes, mtime_ns, content_sha256, width, height, taken_at, broken_code, broken_message,
           missing_since IS NOT NULL AS missing
    FROM image_assets ORDER BY path
"""
EVIDENCE = """
    SELECT a.path, e.content_sha256, m.weights_sha256, m.collection, e.embedding_sha256, e.trained, a.id AS asset_id
    FROM training_evidence e JOIN image_assets a ON a.id = e.asset_id JOIN models m ON m.id = e.model_id
    ORDER BY a.path, m.weights_sha256
"""
SCANS = """
    SELECT a.path, s.content_sha256, m.weights_sha256, s.min_confidence, s.min_face_size_px, s.faces
    FROM face_scans s JOIN image_assets a ON a.id = s.asset_id JOIN models m ON m.id = s.model_id
    ORDER BY a.path, m.weights_sha256
"""
FACES = """
    SELECT a.path, f.box_left, f.box_top, f.box_right, f.box_bottom, f.ordinal, f.content_sha256, m.weights_sha256,
           m.collection, f.photo_width, f.photo_height, f.confidence, f.quality, f.embedding_sha256, f.similarity,
           f.assigned_by, f.person_id, p.name AS person, f.ignored_at IS NOT NULL AS ignored,
           f.clustered_at IS NOT NULL AS clustered, f.cluster_id, f.id, a.id AS asset_id
    FROM face_instances f JOIN image_assets a ON a.id = f.asset_id JOIN models m ON m.id = f.model_id
    LEFT JOIN persons p ON p.id = f.person_id
    ORDER BY a.path, m.weights_sha256, f.box_left, f.box_top, f.box_right, f.box_bottom
"""
SUGGESTIONS = """
    SELECT a.path, f.box_left, f.box_top, m.weights_sha256, p.name AS person, s.status, s.similarity
    FROM face_suggestions s JOIN persons p ON p.id = s.person_id JOIN face_instances f ON f.id = s.face_id
    JOIN image_assets a ON a.id = f.asset_id JOIN models m ON m.id = f.model_id
    ORDER BY a.path, f.box_left, f.box_top, m.weights_sha256, p.name
"""
PROTOTYPES = """
    SELECT p.name AS person, m.weights_sha256, t.embedding, a.path, f.box_left, f.box_top
    FROM person_prototypes t JOIN persons p ON p.id = t.person_id JOIN models m ON m.id = t.model_id
    LEFT JOIN face_instances f ON f.id = t.face_id LEFT JOIN image_assets a ON a.id = f.asset_id
    WHERE t.retired_at IS NULL ORDER BY p.name, m.weights_sha256, t.embedding
"""
CLUSTERS = """
    SELECT id, size, representative_face_id, dismissed_at IS NOT NULL AS dismissed
    FROM face_clusters WHERE closed_at IS NULL
"""
JOBS = """
    SELECT a.path, j.step, j.status, j.error_code, j.error_message
    FROM training_jobs j JOIN image_assets a ON a.id = j.asset_id ORDER BY a.path, j.step
"""
STEPS = "SELECT step, status, total, done, failed, counts FROM steps ORDER BY step"
SESSIONS = "SELECT root_path, status, total, processed, failed, unchanged, skipped FROM training_sessions ORDER BY id"

SURROGATES = frozenset({"id", "asset_id", "cluster_id", "person_id"})


def everything(run: Run) -> dict[str, Any]:
    """All that was made of the photos, comparable between data directories; checks the vectors on the way."""
    check_vectors(run)
    plain = {
        "assets": ASSETS, "evidence": EVIDENCE, "scans": SCANS, "faces": FACES, "suggestions": SUGGESTIONS,
        "prototypes": PROTOTYPES, "jobs": JOBS, "steps": STEPS,
    }  # fmt: skip
    rows = {name: [_natural(row) for row in run.rows(sql)] for name, sql in {**plain, "sessions": SESSIONS}.items()}
    return {**rows, "clusters": _clusters(run)}


def _natural(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name not in SURROGATES}


def _clusters(run: Run) -> set[tuple[Any, ...]]:
    """Each open group as the keys of its faces, with its size and its representative's key."""
    faces = run.rows(FACES)
    key = {face.id: (face.path, face.box_left, face.box_top, face.box_right, face.box_bottom) for face in faces}
    members = defaultdict(set)
    for face in faces:
        members[face.cluster_id].add(key[face.id])
    return {
        (frozenset(members[c.id]), c.size, key.get(c.representative_face_id), c.dismissed) for c in run.rows(CLUSTERS)
    }


def check_vectors(run: Run) -> None:
    """Every row has its point, whose vector hashes to what the row says; and no point is without a row."""
    wanted: dict[str, dict[UUID, bytes]] = defaultdict(dict)
    for row in run.rows(EVIDENCE):
        point = image_point(row.asset_id, row.content_sha256, row.weights_sha256)
        wanted[row.collection][point] = row.embedding_sha256
    for row in run.rows(FACES):
        assert row.id == face_point(row.asset_id, row.content_sha256, row.weights_sha256, row.ordinal)
        wanted[row.collection][row.id] = row.embedding_sha256
    for collection, hashes in wanted.items():
        found = run.vectors.retrieve(collection, list(hashes))
        stored = [hashlib.sha256(vector.astype("<f4").tobytes()).digest() for vector in found.vectors]
        assert found.missing == []
        assert stored == list(hashes.values())
        assert set(ids_in(run.vectors, collection)) == set(hashes)


IMAGE_PAYLOADS = """
    SELECT a.id, e.content_sha256, m.weights_sha256, m.collection, a.path_text, a.category_id, a.taken_at,
           ARRAY(SELECT DISTINCT f.person_id FROM face_instances f JOIN models n ON n.id = f.model_id AND n.active
                 WHERE f.asset_id = a.id AND f.person_id IS NOT NULL ORDER BY f.person_id) AS person_ids
    FROM training_evidence e JOIN image_assets a ON a.id = e.asset_id JOIN models m ON m.id = e.model_id
"""


def check_payloads(run: Run) -> None:
    """Nothing is left to tell, and every point says what its row says."""
    assert run.rows("SELECT * FROM outbox") == []
    told = {
        collection: dict(point for page in run.vectors.payload_pages(collection) for point in page)
        for collection in run.vectors.collections()
    }
    for row in run.rows(IMAGE_PAYLOADS):
        said = told[row.collection][image_point(row.id, row.content_sha256, row.weights_sha256)]
        wanted = {
            "asset_id": row.id, "path": row.path_text, "category_id": row.category_id,
            "taken_at": time_text(row.taken_at), "person_ids": row.person_ids,
        }  # fmt: skip
        assert _without_nulls(said | {"created_at": None}) == _without_nulls(wanted), f"{said} is not {wanted}"
    for row in run.rows(FACES):
        wanted = {"face_id": str(row.id), "asset_id": row.asset_id, "person_id": row.person_id}
        said = told[row.collection][row.id]
        assert _without_nulls(said) == _without_nulls(wanted), f"{said} is not {wanted}"


def _without_nulls(payload: dict[str, Any]) -> dict[str, Any]:
    """What is set to null the engine leaves out."""
    return {name: value for name, value in payload.items() if value is not None}
