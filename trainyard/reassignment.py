"""Sessions that come by themselves once the prototypes are others: all unknown faces are gone over again, once.

The API asks when people have stopped for a moment; the controller where people were named while a session looked for
faces. Whoever asks stands for the other.
"""

from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from trainyard import sessions
from trainyard.face_models import active_face_model
from trainyard.lifecycle import ACTIVE, ENDED, NoSuchSession
from trainyard.tables import training_sessions

LOCK = 7_260_113_073  # any fixed number: the key of the advisory lock that lets one process ask, of several
ASKED_BY = "changes"

# A session sees the prototypes that there are when it has begun: one that has not will do for those of now.
WAITING = """
    SELECT FROM training_sessions o LEFT JOIN steps b ON b.session_id = o.id AND b.step = 'discover'
    WHERE CAST(o.options ->> 'assign' AS boolean) AND o.status = ANY(:active) AND o.requested <> 'cancel'
        AND o.deleted_at IS NULL AND coalesce(b.attempt, 0) = 0
"""

# One made after they changed has answered that, whatever became of it.
DUE_WHEN_QUIET = sa.text(f"""
    SELECT latest.at <= now() - make_interval(secs => :quiet_seconds)
        AND NOT EXISTS (
            SELECT FROM training_sessions s
            WHERE CAST(s.options ->> 'assign' AS boolean) AND s.created_at > latest.at)
        AND NOT EXISTS ({WAITING})
    FROM (
        SELECT max(greatest(created_at, retired_at)) AS at FROM person_prototypes WHERE model_id = :model_id
    ) latest
""")

# Faces are compared with the prototypes that stood when the session began to look for them. Whoever was named since
# may have had a session of changes, which saw the faces there were by then.
DUE_AFTER_DETECTION = sa.text(f"""
    SELECT coalesce((d.counts ->> 'faces')::bigint, 0) > 0
        AND EXISTS (
            SELECT FROM person_prototypes p
            WHERE p.model_id = :model_id AND greatest(p.created_at, p.retired_at) > d.started_at)
        AND NOT EXISTS ({WAITING})
    FROM training_sessions s JOIN steps d ON d.session_id = s.id AND d.step = 'detect'
    WHERE s.id = :id AND (s.models -> 'face' ->> 'id')::integer = :model_id
""")

EARLIER = sa.text("""
    SELECT id FROM training_sessions
    WHERE options ->> 'asked_by' = :asked_by AND status = ANY(:ended) AND deleted_at IS NULL AND id < :id ORDER BY id
""")

# Of each pause in naming there would be a row for every photo with unknown faces, for ever.
FORGET_WORK = sa.text("DELETE FROM training_jobs WHERE session_id = :id")


def assign_options(*, untrained: bool, face_engine: str) -> dict[str, Any]:
    """Of a session that only gives unknown faces to persons."""
    return {"faces": True, "untrained": untrained, "face_engine": face_engine, "training": False, "assign": True}


def ask_when_quiet(connection: sa.Connection, options: dict[str, Any], quiet_seconds: float) -> int | None:
    """The id of a new session of `assign_options`, where prototypes changed and for so long have changed no more."""
    is_ours = connection.execute(sa.text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK}).scalar_one()
    if not is_ours or not _is_due(connection, DUE_WHEN_QUIET, quiet_seconds=quiet_seconds):
        return None
    return _ask(connection, options)


def ask_after_detection(connection: sa.Connection, session_id: int) -> int | None:
    """The id of a new session over all photos, where people were named while this one looked for faces."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    if not _is_due(connection, DUE_AFTER_DETECTION, id=session_id):
        return None
    asked = sa.select(training_sessions.c.options).where(training_sessions.c.id == session_id)
    options = connection.execute(asked).scalar_one()
    untrained, face_engine = options.get("untrained", False), options.get("face_engine", "auto")
    return _ask(connection, assign_options(untrained=untrained, face_engine=face_engine))


def _is_due(connection: sa.Connection, due: sa.TextClause, **parameters: Any) -> bool:
    model = active_face_model(connection)
    if model is None:
        return False
    asked = {**parameters, "active": sorted(ACTIVE), "model_id": model.id}
    return bool(connection.execute(due, asked).scalar_one_or_none())


def _ask(connection: sa.Connection, options: dict[str, Any]) -> int:
    """The id of a new session over all photos; those that came by themselves before it and have ended are hidden."""
    wish = sessions.NewSession(sessions.ALL_PHOTOS, options={**options, "asked_by": ASKED_BY})
    session_id, _ = sessions.create(connection, wish)
    asked = {"asked_by": ASKED_BY, "ended": sorted(ENDED), "id": session_id}
    for earlier in connection.scalars(EARLIER, asked).all():
        with suppress(NoSuchSession):  # somebody has hidden it just now
            if sessions.delete(connection, earlier).code == "Deleted":  # and not: it is about to be retried
                connection.execute(FORGET_WORK, {"id": earlier})
    return session_id
