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
    """What is asked for. `options` are faces, untrained, face_engine, min_confidence, min_face_size_px, asked_by,
    training, and beside training false, assign: to look whose the unknown faces are, and nothing else.
    """

    root_path: str  # real, absolute
    subdirectories: Sequence[str] = ()  # relative to the root; none means the root itself
    category: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    source_session_id: int | None = None
    idempotency_key: str | None = None
    idempotency_sha256: bytes | None = None  # of the request that came with the key


def create(connection: sa.Connection, new: NewSession) -> tuple[int, bool]:
    """The session's id, and whether it is new: one made before under the same key is given again.

    Raises IdempotencyKeyReused.
    """
    values = {
        "root_path": new.root_path,
        "category_id": category(connection, new.category),
        "options": dict(new.options),
        "source_session_id": new.source_session_id,
        "idempotency_key": new.idempotency_key,
        "idempotency_sha256": new.idempotency_sha256,
    }
    made = connection.execute(
        insert(training_sessions)
        .values(**values)
        .on_conflict_do_nothing(index_elements=["idempotency_key"])
        .returning(training_sessions.c.id)
    ).scalar_one_or_none()
    if made is None:
        before = made_before(connection, new.idempotency_key, new.idempotency_sha256)
        assert before is not None
        return before, False
    if new.subdirectories:
        rows = [{"session_id": made, "path": path} for path in sorted(set(new.subdirectories))]
        connection.execute(sa.insert(training_subdirectories), rows)
    notify(connection)
    return int(made), True


def made_before(connection: sa.Connection, key: str | None, sha256: bytes | None) -> int | None:
    """The session that the same request with this key has made; None if the key is new.

    Whatever has changed since, the answer is the same. Raises IdempotencyKeyReused.
    """
    s = training_sessions.c
    known = sa.select(s.id, s.idempotency_sha256, s.deleted_at).where(s.idempotency_key == key)
    row = connection.execute(known).one_or_none()
    if row is None:
        return None
    if row.idempotency_sha256 != sha256:
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
