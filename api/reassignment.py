"""Going over unknown faces again once the prototypes are others: one session, when people have stopped for a moment."""

from typing import Any

import sqlalchemy as sa

from trainyard import sessions
from trainyard.face_models import active_face_model
from trainyard.lifecycle import ACTIVE, ENDED
from trainyard.settings import Settings

LOCK = 7_260_113_073  # any fixed number: the key of the advisory lock that lets one API ask, of several
ASKED_BY = "changes"

# A session sees the prototypes that there are when it has begun, so that one which has not does for these too. One
# made after they changed has answered that, whatever became of it.
DUE = sa.text("""
    SELECT latest.at <= now() - make_interval(secs => :quiet_seconds) AND NOT EXISTS (
        SELECT FROM training_sessions s
        LEFT JOIN steps discover ON discover.session_id = s.id AND discover.step = 'discover'
        WHERE CAST(s.options ->> 'assign' AS boolean) AND (
            s.created_at > latest.at
            OR (s.status = ANY(:active) AND s.deleted_at IS NULL AND coalesce(discover.attempt, 0) = 0)
        )
    )
    FROM (
        SELECT max(greatest(created_at, retired_at)) AS at FROM person_prototypes WHERE model_id = :model_id
    ) latest
""")

EARLIER = sa.text("""
    SELECT id FROM training_sessions
    WHERE options ->> 'asked_by' = :asked_by AND status = ANY(:ended) AND deleted_at IS NULL AND id < :id ORDER BY id
""")


def assign_options(settings: Settings) -> dict[str, Any]:
    """Of a session that only gives unknown faces to persons."""
    return {
        "faces": True,
        "untrained": settings.untrained,
        "face_engine": settings.face_engine,
        "training": False,
        "assign": True,
    }


def ask_when_quiet(connection: sa.Connection, settings: Settings, quiet_seconds: float) -> int | None:
    """The id of a new session, where prototypes have changed and for so long no more; those before it are hidden."""
    is_ours = connection.execute(sa.text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK}).scalar_one()
    if not is_ours or not _is_due(connection, quiet_seconds):
        return None
    options = {**assign_options(settings), "asked_by": ASKED_BY}
    session_id, _ = sessions.create(connection, sessions.NewSession(root_path=sessions.ALL_PHOTOS, options=options))
    asked = {"asked_by": ASKED_BY, "ended": sorted(ENDED), "id": session_id}
    for earlier in connection.scalars(EARLIER, asked).all():
        sessions.delete(connection, earlier)
    return session_id


def _is_due(connection: sa.Connection, quiet_seconds: float) -> bool:
    model = active_face_model(connection)
    if model is None:
        return False
    asked = {"quiet_seconds": quiet_seconds, "active": sorted(ACTIVE), "model_id": model.id}
    return bool(connection.execute(DUE, asked).scalar_one())
