"""What a session of a folder would cost, from what this installation measured: photos left to do × seconds for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from trainyard.face_groups import count_unclustered
from trainyard.folders import path_range
from trainyard.weights import LEAST_UNITS, SESSIONS_REMEMBERED, TIMED_STEP, Rate, measured_rates

# A session uses the networks of the one before, as far as anybody can tell.
MODELS = sa.text("""
    SELECT models FROM training_sessions
    WHERE jsonb_typeof(models -> 'clip') = 'object' AND (NOT :faces OR jsonb_typeof(models -> 'face') = 'object')
    ORDER BY id DESC LIMIT 1
""")

# Photos in the folders that were embedded, and searched, as they were when they were last read.
KNOWN = sa.text("""
    SELECT count(*) FILTER (WHERE EXISTS (
               SELECT FROM training_evidence e WHERE e.asset_id = a.id AND e.content_sha256 = a.content_sha256
                   AND e.model_id = CAST(:clip_id AS integer)
           )) AS embedded,
           count(*) FILTER (WHERE EXISTS (
               SELECT FROM face_scans s WHERE s.asset_id = a.id AND s.content_sha256 = a.content_sha256
                   AND s.model_id = CAST(:face_id AS integer)
           )) AS searched
    FROM image_assets a
    WHERE a.missing_since IS NULL AND EXISTS (
        SELECT FROM unnest(CAST(:lows AS bytea[]), CAST(:highs AS bytea[])) AS r (low, high)
        WHERE a.path >= r.low AND a.path < r.high
    )
""")

MEASURED = sa.text("""
    SELECT count(DISTINCT s.id) FROM training_sessions s JOIN steps st ON st.session_id = s.id
    WHERE st.step = ANY(:steps) AND st.status = 'completed' AND st.seconds > 0 AND st.total >= :least
        AND s.models ->> 'device' = :device
        AND s.models -> (CASE st.step WHEN 'embed' THEN 'clip' ELSE 'face' END) ->> 'id'
            = (CASE st.step WHEN 'embed' THEN :clip_id ELSE :face_id END)
""")


@dataclass(frozen=True)
class History:
    """What the rows say: rates by phase (None: never measured), and what is known of the folders already."""

    rates: dict[str, Rate | None]
    embedded: int = 0
    searched: int = 0
    ungrouped: int = 0  # faces that clustering looks at again
    sessions: int = 0  # from which the rates are


@dataclass(frozen=True)
class Work:
    """Of a phase: photos, or faces where they are grouped; the second is None where nobody can tell."""

    units: float
    seconds: float | None


def read_history(connection: sa.Connection, folders: Sequence[bytes], faces: bool) -> History:
    models = connection.execute(MODELS, {"faces": faces}).scalar_one_or_none()
    if models is None:
        return History(dict.fromkeys(TIMED_STEP))
    face_id = models["face"]["id"] if models.get("face") else None
    lows, highs = zip(*map(path_range, folders), strict=True)
    known = connection.execute(
        KNOWN, {"clip_id": models["clip"]["id"], "face_id": face_id, "lows": list(lows), "highs": list(highs)}
    ).one()
    return History(
        rates=measured_rates(connection, models),
        embedded=known.embedded,
        searched=known.searched,
        ungrouped=count_unclustered(connection, face_id) if face_id else 0,
        sessions=_count_measured(connection, models),
    )


def _count_measured(connection: sa.Connection, models: dict[str, Any]) -> int:
    face = models.get("face") or {"id": ""}
    asked = {
        "steps": list(TIMED_STEP.values()),
        "least": LEAST_UNITS,
        "device": models["device"],
        "clip_id": str(models["clip"]["id"]),
        "face_id": str(face["id"]),
    }
    return min(int(connection.execute(MEASURED, asked).scalar_one()), SESSIONS_REMEMBERED)


def work_by_phase(photos: int, history: History, faces: bool) -> dict[str, Work]:
    """As the controller weighs phases once a session's photos are counted."""
    embedded = max(photos - history.embedded, 0)
    searched = max(photos - history.searched, 0) if faces else 0
    return {
        "training": _work(embedded, history.rates["training"]),
        "faceDetection": _work(searched, history.rates["faceDetection"]),
        "clustering": _grouping(searched, history) if faces else Work(0, 0.0),
    }


def _grouping(searched: int, history: History) -> Work:
    """Of the faces there are, and of those that so many photos may show."""
    detection = history.rates["faceDetection"]
    if searched and detection is None:
        return Work(history.ungrouped, None)
    found = searched * detection.faces_per_unit if detection else 0.0
    return _work(history.ungrouped + found, history.rates["clustering"])


def _work(units: float, rate: Rate | None) -> Work:
    if not units:
        return Work(0, 0.0)
    return Work(units, units * rate.seconds_per_unit if rate else None)


def total_seconds(phases: dict[str, Work]) -> float | None:
    """None where a phase's are."""
    seconds = [work.seconds for work in phases.values()]
    return None if None in seconds else sum(filter(None, seconds))
