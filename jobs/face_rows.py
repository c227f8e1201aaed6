"""Rows of faces, written a batch at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from jobs.batches import Outcome
from jobs.context import Session
from jobs.embed import embedding_sha256

if TYPE_CHECKING:  # detect imports this module
    from jobs.detect import Face

# Whether a scan `s` is of the photo `a` as it is, and good enough for these thresholds.
SCAN_OF_PHOTO = """s.asset_id = a.id AND s.content_sha256 = a.content_sha256 AND s.model_id = :model_id
        AND s.min_confidence <= :min_confidence AND s.min_face_size_px <= :min_face_size_px"""

# A face found again keeps its person and its group.
STORE_FACES = sa.text("""
    INSERT INTO face_instances
        (id, asset_id, content_sha256, model_id, ordinal, box_left, box_top, box_right, box_bottom,
         confidence, quality, embedding_sha256, session_id, person_id, assigned_by, similarity)
    SELECT r.id, r.asset_id, r.content_sha256, :model_id, r.ordinal, r.box_left, r.box_top, r.box_right,
           r.box_bottom, r.confidence, r.quality, r.embedding_sha256, :session_id, r.person_id,
           CASE WHEN r.person_id IS NULL THEN NULL ELSE 'engine' END, r.similarity
    FROM unnest(CAST(:ids AS uuid[]), CAST(:assets AS bigint[]), CAST(:contents AS bytea[]),
                CAST(:ordinals AS integer[]), CAST(:lefts AS float8[]), CAST(:tops AS float8[]),
                CAST(:rights AS float8[]), CAST(:bottoms AS float8[]), CAST(:confidences AS float8[]),
                CAST(:qualities AS float8[]), CAST(:embeddings AS bytea[]), CAST(:persons AS integer[]),
                CAST(:similarities AS float8[]))
        AS r (id, asset_id, content_sha256, ordinal, box_left, box_top, box_right, box_bottom, confidence,
              quality, embedding_sha256, person_id, similarity)
    ON CONFLICT (id) DO UPDATE SET
        box_left = excluded.box_left, box_top = excluded.box_top, box_right = excluded.box_right,
        box_bottom = excluded.box_bottom, confidence = excluded.confidence, quality = excluded.quality,
        embedding_sha256 = excluded.embedding_sha256,
        person_id = coalesce(face_instances.person_id, excluded.person_id),
        assigned_by = coalesce(face_instances.assigned_by, excluded.assigned_by)
""")

STORE_SUGGESTIONS = sa.text("""
    INSERT INTO face_suggestions (face_id, person_id, similarity, session_id)
    SELECT r.face_id, r.person_id, r.similarity, :session_id
    FROM unnest(CAST(:faces AS uuid[]), CAST(:persons AS integer[]), CAST(:similarities AS float8[]))
        AS r (face_id, person_id, similarity)
    ON CONFLICT (face_id, person_id) DO NOTHING
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


def count_unclustered(connection: sa.Connection, model_id: int) -> int:
    """Faces that clustering will look at, as far as they are known."""
    count = sa.text("SELECT count(*) FROM face_instances WHERE model_id = :id AND person_id IS NULL")
    return int(connection.execute(count, {"id": model_id}).scalar_one())


STALE = "FROM face_instances WHERE model_id = :model_id AND asset_id = ANY(:assets) AND NOT id = ANY(:kept)"


def stale_faces(connection: sa.Connection, model_id: int, asset_ids: list[int], kept: list[UUID]) -> list[UUID]:
    """Faces of these photos that are not among `kept`: of earlier content, or no longer found."""
    parameters = {"model_id": model_id, "assets": asset_ids, "kept": kept}
    return list(connection.scalars(sa.text(f"SELECT id {STALE}"), parameters))


def delete_stale_faces(connection: sa.Connection, model_id: int, asset_ids: list[int], kept: list[UUID]) -> None:
    parameters = {"model_id": model_id, "assets": asset_ids, "kept": kept}
    connection.execute(sa.text(f"DELETE {STALE}"), parameters)


def rejected_persons(connection: sa.Connection, face_ids: list[UUID]) -> dict[UUID, set[int]]:
    """Whom people refused for these faces."""
    rows = connection.execute(
        sa.text("SELECT face_id, person_id FROM face_suggestions WHERE status = 'rejected' AND face_id = ANY(:ids)"),
        {"ids": face_ids},
    )
    rejected: dict[UUID, set[int]] = {}
    for row in rows:
        rejected.setdefault(row.face_id, set()).add(row.person_id)
    return rejected


def store_faces(connection: sa.Connection, session_id: int, model_id: int, new: Sequence[Outcome]) -> None:
    """Rows of the faces in each outcome's result, and the suggestions among them."""
    found: list[tuple[Outcome, Face]] = [(o, face) for o in new for face in o.result]
    if not found:
        return
    faces = [face for _, face in found]
    connection.execute(
        STORE_FACES,
        {
            "session_id": session_id,
            "model_id": model_id,
            "ids": [face.id for face in faces],
            "assets": [o.photo.asset_id for o, _ in found],
            "contents": [o.facts.sha256 if o.facts else None for o, _ in found],
            "ordinals": [face.ordinal for face in faces],
            "lefts": [face.box[0] for face in faces],
            "tops": [face.box[1] for face in faces],
            "rights": [face.box[2] for face in faces],
            "bottoms": [face.box[3] for face in faces],
            "confidences": [face.confidence for face in faces],
            "qualities": [face.quality for face in faces],
            "embeddings": [embedding_sha256(face.embedding) for face in faces],
            "persons": [face.decision.person_id for face in faces],
            "similarities": [face.decision.similarity for face in faces],
        },
    )
    _store_suggestions(connection, session_id, faces)


def _store_suggestions(connection: sa.Connection, session_id: int, faces: Sequence["Face"]) -> None:
    suggested = [face for face in faces if face.decision.suggested_person_id is not None]
    if suggested:
        connection.execute(
            STORE_SUGGESTIONS,
            {
                "session_id": session_id,
                "faces": [face.id for face in suggested],
                "persons": [face.decision.suggested_person_id for face in suggested],
                "similarities": [face.decision.similarity for face in suggested],
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
