"""Faces that were decided by prototypes of before: once they are all found, they are gone over again.

A session's faces are compared with the prototypes that stood when it began to look for them. Whoever was named since
is asked for by a session that only assigns, which runs beside it and sees the faces there are by then; those that are
found after it would stay unknown.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from trainyard.face_models import active_face_model
from trainyard.sessions import ALL_PHOTOS, NewSession, create
from trainyard.tables import training_sessions

ASKED_BY = "changes"  # of prototypes, as where the API asks

# Of the active network: faces were found, and somebody was named since; no session waits that will see them anyway.
DUE = sa.text("""
    SELECT coalesce((d.counts ->> 'faces')::bigint, 0) > 0
        AND EXISTS (
            SELECT FROM person_prototypes p
            WHERE p.model_id = :model_id AND (p.created_at > d.started_at OR p.retired_at > d.started_at))
        AND NOT EXISTS (
            SELECT FROM training_sessions o LEFT JOIN steps b ON b.session_id = o.id AND b.step = 'discover'
            WHERE CAST(o.options ->> 'assign' AS boolean) AND o.status IN ('pending', 'running')
                AND o.requested = 'run' AND o.source_session_id IS NULL AND o.deleted_at IS NULL
                AND coalesce(b.attempt, 0) = 0)
    FROM training_sessions s JOIN steps d ON d.session_id = s.id AND d.step = 'detect'
    WHERE s.id = :id AND (s.models -> 'face' ->> 'id')::integer = :model_id
""")


def go_over_again(connection: sa.Connection, session_id: int) -> int | None:
    """The id of a new session over all photos, where people were named while this one looked for faces.

    Not over its photos alone: it stands for the one that the API would ask for, which sees that there is one.
    """
    active = active_face_model(connection)
    asked = {"id": session_id, "model_id": active.id if active else None}
    if not connection.execute(DUE, asked).scalar_one_or_none():
        return None
    options = sa.select(training_sessions.c.options).where(training_sessions.c.id == session_id)
    new = NewSession(ALL_PHOTOS, options=_options(connection.execute(options).scalar_one()))
    return create(connection, new)[0]


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name in {"untrained", "face_engine"}}
    return {**kept, "faces": True, "training": False, "assign": True, "asked_by": ASKED_BY}
