"""Rows of sessions for their resources: what a pass reads of them, and the columns it writes."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from controller.kubernetes.manifests import Owner
from controller.kubernetes.resource import Resource, created_text
from controller.kubernetes.resource_spec import Requested, new_session
from controller.kubernetes.resource_views import Failing, SessionRow, Shown
from trainyard.database import notify
from trainyard.lifecycle import ACTIVE, retry_due
from trainyard.progress import Progress, read_many
from trainyard.sessions import create, subdirectories
from trainyard.tables import categories, training_sessions

SESSION = training_sessions.c

# What the API counts as a session's images and faces, how it failed, and the step under way if attempts of it failed.
SHOWN = sa.text("""
    SELECT s.id, s.total, s.suspended, s.failure_code, s.failure_message, s.resource_gone_at IS NOT NULL AS gone,
           coalesce(f.faces_detected, 0) AS faces,
           st.step, st.failures, st.failure_code AS attempt_code, st.failure_message AS attempt_message
    FROM training_sessions s
    LEFT JOIN face_detection_sessions f ON f.id = s.id
    LEFT JOIN steps st ON st.session_id = s.id AND st.failures > 0 AND st.status IN ('pending', 'running', 'paused')
    WHERE s.id = ANY(:ids)
""")


def read_sessions(connection: sa.Connection, resources: Iterable[Resource]) -> list[SessionRow]:
    """Every session that has, had or should have a resource that matters now; nothing of it to show yet."""
    uids, made_for = [], []
    for resource in resources:
        uids.append(resource.uid)
        made_for += [resource.made_for[0]] if resource.made_for else []
    expected = sa.and_(
        SESSION.resource_gone_at.is_(None), sa.or_(SESSION.deleted_at.is_(None), SESSION.resource_uid.is_not(None))
    )
    columns = (
        SESSION.id, SESSION.created_at, SESSION.status, SESSION.suspended, SESSION.resource_name, SESSION.resource_uid,
        SESSION.resource_gone_at, SESSION.deleted_at,
    )  # fmt: skip
    there = sa.or_(SESSION.resource_uid == sa.any_(sa.literal(uids)), SESSION.id == sa.any_(sa.literal(made_for)))
    return [_view(row) for row in connection.execute(sa.select(*columns).where(sa.or_(expected, there)))]


def _view(row: Any) -> SessionRow:
    return SessionRow(
        maker=(row.id, created_text(row.created_at)),
        status=row.status,
        suspended=row.suspended,
        name=row.resource_name,
        uid=row.resource_uid,
        gone=row.resource_gone_at is not None,
        deleted=row.deleted_at is not None,
    )


def read_shown(connection: sa.Connection, session_ids: Collection[int]) -> dict[int, Shown]:
    """What statuses tell of these sessions, without the deleted ones. Progress first: it has the status."""
    progress = read_many(connection, list(session_ids))
    rows = connection.execute(SHOWN, {"ids": list(progress)})
    return {row.id: _shown(row, progress[row.id]) for row in rows}


def _shown(row: sa.Row[Any], progress: Progress) -> Shown:
    return Shown(
        progress=progress,
        suspended=row.suspended,
        images=row.total or (progress.files_found if progress.active else 0),
        faces=int(row.faces),  # PostgreSQL adds bigints up to a numeric
        failure=_failure(row.failure_code, row.failure_message),
        failing=Failing(row.step, row.failures, _failure(row.attempt_code, row.attempt_message)) if row.step else None,
        gone=row.gone,
    )


def _failure(code: str | None, message: str | None) -> tuple[str, str] | None:
    return (code, message or "") if code else None


def read_requested(connection: sa.Connection, session_id: int) -> Requested:
    row = connection.execute(
        sa.select(SESSION.created_at, SESSION.root_path, SESSION.options, categories.c.name.label("category"))
        .outerjoin_from(training_sessions, categories, categories.c.id == SESSION.category_id)
        .where(SESSION.id == session_id)
    ).one()
    return Requested(
        maker=(session_id, created_text(row.created_at)),
        root_path=row.root_path,
        subdirectories=subdirectories(connection, session_id),
        category=row.category,
        options=row.options,
    )


def lacks_resource(connection: sa.Connection, session_id: int) -> bool:
    """Whether the session should have a resource that nobody has made yet."""
    unmade = (SESSION.resource_uid.is_(None), SESSION.resource_gone_at.is_(None), SESSION.deleted_at.is_(None))
    return bool(connection.execute(sa.select(sa.exists().where(SESSION.id == session_id, *unmade))).scalar_one())


def read_owner(connection: sa.Connection, session_id: int) -> Owner | None:
    """The resource that this session's Jobs go with."""
    row = connection.execute(
        sa.select(SESSION.resource_name, SESSION.resource_uid).where(
            SESSION.id == session_id, SESSION.resource_uid.is_not(None), SESSION.resource_gone_at.is_(None)
        )
    ).one_or_none()
    return Owner(row.resource_name, row.resource_uid) if row else None


def make_session(connection: sa.Connection, resource: Resource, defaults: Mapping[str, Any]) -> None:
    """Once for a uid, whatever became of the answer to an earlier commit."""
    made = sa.select(sa.exists().where(SESSION.resource_uid == resource.uid))
    if connection.execute(made).scalar_one():
        return
    session_id, _ = create(connection, new_session(resource, defaults))
    remember_resource(connection, session_id, resource.name, resource.uid)
    set_suspended(connection, session_id, resource.suspended)


def remember_resource(connection: sa.Connection, session_id: int, name: str, uid: str) -> None:
    _update(connection, session_id, resource_name=name, resource_uid=uid)


def set_suspended(connection: sa.Connection, session_id: int, suspended: bool) -> None:
    _update(connection, session_id, suspended=suspended)
    notify(connection)


def end_with_resource(connection: sa.Connection, session_id: int) -> None:
    """Its resource is gone: what is under way, or about to be retried, is cancelled."""
    _update(connection, session_id, resource_gone_at=sa.func.clock_timestamp(), suspended=False)
    under_way = sa.or_(SESSION.status.in_(ACTIVE), retry_due())
    connection.execute(
        sa.update(training_sessions)
        .where(SESSION.id == session_id, SESSION.deleted_at.is_(None), under_way)
        .values(requested="cancel")
    )
    notify(connection)


def _update(connection: sa.Connection, session_id: int, **columns: Any) -> None:
    connection.execute(sa.update(training_sessions).where(SESSION.id == session_id).values(**columns))
