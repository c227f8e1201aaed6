"""Making a session, and deleting one: what the command line, the API and Kubernetes ask of the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from trainyard.database import notify
from trainyard.lifecycle import ENDED, Answer, NoSuchSession, retry_under_way
from trainyard.tables import categories, training_sessions, training_subdirectories

ALL_PHOTOS = "/"  # the root of a session that looks for faces in every photo there is


class IdempotencyKeyReused(Exception):
    """The key was sent before, with another request."""


@dataclass(frozen=True)
class NewSession:
    """What is asked for. `options` are faces, untrained, face_engine, min_confidence, min_face_size_px, training."""

    root_path: str  # real, absolute
    subdirectories: Sequence[str] = ()  # relative to the root; none means the root itself
    category: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    source_session_id: int | None = None
    idempotency_key: str | None = None


def create(connection: sa.Connection, new: NewSession) -> tuple[int, bool]:
    """The session's id, and whether it is new: one made before under the same key is given again.

    Raises IdempotencyKeyReused.
    """
    category_id = category(connection, new.category)
    values = {
        "root_path": new.root_path,
        "category_id": category_id,
        "options": dict(new.options),
        "source_session_id": new.source_session_id,
        "idempotency_key": new.idempotency_key,
    }
    made = connection.execute(
        insert(training_sessions)
        .values(**values)
        .on_conflict_do_nothing(index_elements=["idempotency_key"])
        .returning(training_sessions.c.id)
    ).scalar_one_or_none()
    if made is None:
        return _made_before(connection, new, values), False
    if new.subdirectories:
        rows = [{"session_id": made, "path": path} for path in sorted(set(new.subdirectories))]
        connection.execute(sa.insert(training_subdirectories), rows)
    notify(connection)
    return int(made), True


def _made_before(connection: sa.Connection, new: NewSession, values: Mapping[str, Any]) -> int:
    row = connection.execute(
        sa.select(training_sessions).where(training_sessions.c.idempotency_key == new.idempotency_key)
    ).one()
    same = all(getattr(row, name) == value for name, value in values.items())
    if not same or subdirectories(connection, row.id) != sorted(set(new.subdirectories)):
        raise IdempotencyKeyReused(
            f"This Idempotency-Key made session {row.id}, from another request. Send a new key for a new session."
        )
    if row.deleted_at is not None:
        raise IdempotencyKeyReused(f"This Idempotency-Key made session {row.id}, which was deleted. Send a new key.")
    return int(row.id)


def subdirectories(connection: sa.Connection, session_id: int) -> list[str]:
    """The session's selected subdirectories, ascending."""
    c = training_subdirectories.c
    return sorted(connection.scalars(sa.select(c.path).where(c.session_id == session_id, c.selected)))


def category(connection: sa.Connection, name: str | None) -> int | None:
    """The id of the category, made when new."""
    if name is None:
        return None
    connection.execute(insert(categories).values(name=name).on_conflict_do_nothing())
    found = connection.execute(sa.select(categories.c.id).where(categories.c.name == name))
    return int(found.scalar_one())


def delete(connection: sa.Connection, session_id: int) -> Answer:
    """Hide a session that has ended; what it made stays, and so does its row. Raises NoSuchSession."""
    s = training_sessions.c
    row = connection.execute(
        sa.select(training_sessions).where(s.id == session_id, s.deleted_at.is_(None)).with_for_update()
    ).one_or_none()
    if row is None:
        raise NoSuchSession(f"There is no session {session_id}.")
    if row.status not in ENDED or retry_under_way(row):
        return Answer(409, "NotEnded", f"The session is {row.status}; cancel it first, then delete it.")
    connection.execute(sa.update(training_sessions).where(s.id == session_id).values(deleted_at=sa.func.now()))
    notify(connection)
    return Answer(204, "Deleted", "The session is deleted.")
