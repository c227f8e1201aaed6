"""What came out of a session, as one object: the answer of `run --json` and the text at its end."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from trainyard.lifecycle import NoSuchSession
from trainyard.steps import PHASE_OF_STEP
from trainyard.tables import face_clusters, steps, training_sessions

FAILURES = sa.text("""
    SELECT DISTINCT ON (a.path) a.path_text AS path, j.error_code AS code, j.error_message AS message
    FROM training_jobs j JOIN image_assets a ON a.id = j.asset_id
    WHERE j.session_id = :session_id AND j.status = 'failed'
    ORDER BY a.path, j.step DESC LIMIT :limit
""")


def read_summary(connection: sa.Connection, session_id: int) -> dict[str, Any]:
    """Counts, failures, seconds and models of a session. Raises NoSuchSession."""
    session = connection.execute(
        sa.select(training_sessions).where(
            training_sessions.c.id == session_id, training_sessions.c.deleted_at.is_(None)
        )
    ).one_or_none()
    if session is None:
        raise NoSuchSession(f"There is no session {session_id}.")
    rows = {row.step: row for row in connection.execute(sa.select(steps).where(steps.c.session_id == session_id))}
    embed, detect, assign, cluster = (_counts(rows, name) for name in ("embed", "detect", "assign", "cluster"))
    return {
        "sessionId": session.id,
        "rootPath": session.root_path,
        "overallStatus": session.status,
        "failure": session.failure_code and {"code": session.failure_code, "message": session.failure_message},
        "images": {
            "total": session.total,
            "processed": session.processed,
            "failed": session.failed,
            "unchanged": session.unchanged + embed.get("unchanged", 0),
            "skipped": session.skipped,
        },
        "facesDetected": detect.get("faces", 0),
        "facesAssignedToPersons": detect.get("assigned", 0) + assign.get("assigned", 0),
        "suggestionsCreated": detect.get("suggestions", 0) + assign.get("suggestions", 0),
        "clustersCreated": cluster.get("clusters", 0),
        "groups": _groups(connection, session.models),
        "failures": read_failures(connection, session_id),
        "seconds": _seconds(rows),
        "models": _models(session.models),
        "notes": notes(_counts(rows, "discover")),
    }


def read_failures(connection: sa.Connection, session_id: int, limit: int = 1_000_000) -> list[dict[str, str]]:
    """Every image that failed in this session, by path: path, code, sentence."""
    rows = connection.execute(FAILURES, {"session_id": session_id, "limit": limit})
    return [dict(row._mapping) for row in rows]


def _groups(connection: sa.Connection, models: dict[str, Any] | None) -> int:
    """Groups of faces there are now, of the session's face model, that nobody dismissed."""
    if not models or not models.get("face"):
        return 0
    c = face_clusters.c
    open_ = c.closed_at.is_(None), c.dismissed_at.is_(None)
    count = sa.select(sa.func.count()).where(c.model_id == models["face"]["id"], *open_)
    return int(connection.execute(count).scalar_one())


def _counts(rows: dict[str, Any], step: str) -> dict[str, int]:
    return rows[step].counts if step in rows else {}


def notes(found: Mapping[str, int]) -> list[str]:
    """What discovery has to say, in sentences."""
    notes = []
    if found.get("broken"):
        notes.append(f"{found['broken']:,} of the unchanged files could not be read before and are as they were.")
    if found.get("unreadable"):
        notes.append(f"{found['unreadable']:,} folders or files could not be looked into; give this user the right to.")
    if found.get("moved"):
        notes.append(f"{found['moved']:,} photos were moved or renamed; they keep their faces and people.")
    if found.get("missing"):
        notes.append(f"{found['missing']:,} photos that were known are gone; they are marked missing.")
    if found.get("doubtful"):
        notes.append(
            f"{found['doubtful']:,} known photos were not found. That is too many to believe, or a folder could "
            "not be read, so none of them was marked missing; check that the folder is mounted."
        )
    return notes


def _seconds(rows: dict[str, Any]) -> dict[str, float]:
    seconds = dict.fromkeys(("discover", "training", "faceDetection", "clustering"), 0.0)
    for step, row in rows.items():
        seconds["discover" if step == "discover" else PHASE_OF_STEP[step]] += row.seconds
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    return {**rounded, "total": round(sum(seconds.values()), 2)}


def _models(models: dict[str, Any] | None) -> dict[str, Any]:
    if not models:
        return {}
    wanted = ("engine", "name", "trained", "weights_sha256", "collection")
    cards = {
        kind: {_camel(name): models[kind][name] for name in wanted} for kind in ("clip", "face") if models.get(kind)
    }
    return {**cards, "device": models["device"]}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
