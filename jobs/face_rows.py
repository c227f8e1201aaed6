"""Rows of faces, written a batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobs.batches import Outcome
from jobs.context import Session
from jobs.faces import Face
from trainyard.people.known_faces import Said

# Whether a scan `s` is of the photo `a` as it is, and good enough for these thresholds.
SCAN_OF_PHOTO = """s.asset_id = a.id AND s.content_sha256 = a.content_sha256 AND s.model_id = :model_id
        AND s.min_confidence <= :min_confidence AND s.min_face_size_px <= :min_face_size_px"""

# What is said of a face goes with it, whatever was there under its id.
STORE_FACES = sa.text("""
    INSERT INTO face_instances
        (id, asset_id, content_sha256, model_id, ordinal, box_left, box_top, box_right, box_bottom, photo_width,
         photo_height, confidence, quality, embedding_sha256, session_id, person_id, assigned_by, similarity,
         ignored_at, cluster_id, clustered_at)
    SELECT r.id, r.asset_id, r.content_sha256, :model_id, r.ordinal, r.box_left, r.box_top, r.box_right,
           r.box_bottom, r.photo_width, r.photo_height, r.confidence, r.quality, r.embedding_sha256, :session_id,
           r.person_id, r.assigned_by, r.similarity, r.ignored_at, r.cluster_id, r.clustered_at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:assets AS bigint[]), CAST(:contents AS bytea[]),
                CAST(:ordinals AS integer[]), CAST(:lefts AS float8[]), CAST(:tops AS float8[]),
                CAST(:rights AS float8[]), CAST(:bottoms AS float8[]), CAST(:widths AS integer[]),
                CAST(:heights AS integer[]), CAST(:confidences AS float8[]), CAST(:qualities AS float8[]),
                CAST(:embeddings AS bytea[]), CAST(:persons AS integer[]), CAST(:by AS text[]),
                CAST(:similarities AS float8[]), CAST(:ignored AS timestamptz[]), CAST(:clusters AS integer[]),
                CAST(:clustered AS timestamptz[]))
        AS r (id, asset_id, content_sha256, ordinal, box_left, box_top, box_right, box_bottom, photo_width,
              photo_height, confidence, quality, embedding_sha256, person_id, assigned_by, similarity, ignored_at,
              cluster_id, clustered_at)
    ON CONFLICT (id) DO UPDATE SET
        box_left = excluded.box_left, box_top = excluded.box_top, box_right = excluded.box_right,
        box_bottom = excluded.box_bottom, photo_width = excluded.photo_width, photo_height = excluded.photo_height,
        confidence = excluded.confidence, quality = excluded.quality, embedding_sha256 = excluded.embedding_sha256,
        person_id = excluded.person_id, assigned_by = excluded.assigned_by, similarity = excluded.similarity,
        ignored_at = excluded.ignored_at, cluster_id = excluded.cluster_id, clustered_at = excluded.clustered_at
""")

STORE_SCANS = sa.text("""
    INSERT INTO face_scans
        (asset_id, content_sha256, model_id, min_confidence, min_face_size_px, faces, session_id)
    SELECT r.asset_id, r.content_sha256, :model_id, :min_confidence, :min_face_size_px, r.faces, :session_id
    FROM unnest(CAST(:assets AS bigint[]), CAST(:contents AS bytea[]), CAST(:faces AS integer[]))
        AS r (asset_id, content_sha256, faces)
    ON CONFLICT (asset_id, content_sha256, model_id) DO UPDATE
    SET min_confidence = excluded.min_confidence, min_face_size_px = excluded.min_face_size_px,
        faces = excluded.faces, session_id = excluded.session_id
""")

DROP_OLD_SCANS = sa.text("""
    DELETE FROM face_scans s
    USING unnest(CAST(:assets AS bigint[]), CAST(:contents AS bytea[])) AS r (asset_id, content_sha256)
    WHERE s.asset_id = r.asset_id AND s.model_id = :model_id AND s.content_sha256 <> r.content_sha256
""")


def scan_parameters(session: Session, model_id: int) -> dict[str, Any]:
    """Parameters of SCAN_OF_PHOTO."""
    return {
        "model_id": model_id,
        "min_confidence": session.min_confidence,
        "min_face_size_px": session.min_face_size_px,
    }


STALE = "FROM face_instances WHERE model_id = :model_id AND asset_id = ANY(:assets) AND NOT id = ANY(:kept)"


def stale_faces(connection: sa.Connection, model_id: int, asset_ids: list[int], kept: list[UUID]) -> list[UUID]:
    """Faces of these photos that are not among `kept`: of earlier content, or no longer found."""
    parameters = {"model_id": model_id, "assets": asset_ids, "kept": kept}
    return list(connection.scalars(sa.text(f"SELECT id {STALE}"), parameters))


def delete_stale_faces(connection: sa.Connection, model_id: int, asset_ids: list[int], kept: list[UUID]) -> None:
    parameters = {"model_id": model_id, "assets": asset_ids, "kept": kept}
    connection.execute(sa.text(f"DELETE {STALE}"), parameters)


@dataclass(frozen=True)
class FaceRow:
    """A face as its row is to be."""

    face: Face
    said: Said
    cluster_id: int | None = None
    clustered_at: datetime | None = None


def store_faces(connection: sa.Connection, session_id: int, model_id: int, rows: Sequence[FaceRow]) -> None:
    if not rows:
        return
    faces = [row.face for row in rows]
    connection.execute(
        STORE_FACES,
        {
            "session_id": session_id,
            "model_id": model_id,
            "ids": [face.id for face in faces],
            "assets": [face.asset_id for face in faces],
            "contents": [face.content_sha256 for face in faces],
            "ordinals": [face.ordinal for face in faces],
            "lefts": [face.box_px[0] for face in faces],
            "tops": [face.box_px[1] for face in faces],
            "rights": [face.box_px[2] for face in faces],
            "bottoms": [face.box_px[3] for face in faces],
            "widths": [face.photo_size_px[0] for face in faces],
            "heights": [face.photo_size_px[1] for face in faces],
            "confidences": [face.confidence for face in faces],
            "qualities": [face.quality for face in faces],
            "embeddings": [face.embedding_sha256 for face in faces],
            "persons": [row.said.person_id for row in rows],
            "by": [row.said.assigned_by for row in rows],
            "similarities": [row.said.similarity for row in rows],
            "ignored": [row.said.ignored_at for row in rows],
            "clusters": [row.cluster_id for row in rows],
            "clustered": [row.clustered_at for row in rows],
        },
    )


def store_scans(connection: sa.Connection, session: Session, model_id: int, new: Sequence[Outcome]) -> None:
    """That these photos were scanned, and with which thresholds: no face is remembered too."""
    scanned = [(o, o.facts) for o in new if o.facts is not None]
    if not scanned:
        return
    rows = {
        "model_id": model_id,
        "assets": [o.photo.asset_id for o, _ in scanned],
        "contents": [facts.sha256 for _, facts in scanned],
    }
    connection.execute(DROP_OLD_SCANS, rows)
    connection.execute(
        STORE_SCANS,
        {
            **rows,
            "faces": [len(o.result) for o, _ in scanned],
            "min_confidence": session.min_confidence,
            "min_face_size_px": session.min_face_size_px,
            "session_id": session.id,
        },
    )
