"""Sessions of one machine: beginning one, or taking up the one that the same command left unfinished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from trainyard.lifecycle import ACTIVE, Answer, request, retry_due
from trainyard.tables import categories, training_sessions, training_subdirectories


@dataclass(frozen=True)
class Wish:
    """What a run was asked for."""

    root_path: str  # real, absolute
    subdirectories: Sequence[str]
    category: str | None
    options: Mapping[str, Any]


def begin(connection: sa.Connection, wish: Wish) -> tuple[int, bool]:
    """The session for this wish, and whether it is an older one taken up again.

    Every other unfinished session is asked to pause: the run that drove it is dead, and this one drives its own.
    """
    unfinished = _unfinished(connection, wish)
    session_id = unfinished if unfinished is not None else _create(connection, wish)
    s = training_sessions.c
    connection.execute(
        sa.update(training_sessions)
        .where(sa.or_(s.status.in_(ACTIVE), retry_due()), s.requested == "run", s.id != session_id)
        .values(requested="pause")
    )
    if unfinished is not None:
        request(connection, session_id, "resume")
    return session_id, unfinished is not None


def _unfinished(connection: sa.Connection, wish: Wish) -> int | None:
    """The newest session of the same folders and options that has not ended, or is to be retried."""
    s = training_sessions.c
    rows = connection.execute(
        sa.select(s.id, s.options, s.category_id)
        .where(
            s.root_path == wish.root_path,
            sa.or_(s.status.in_(ACTIVE), retry_due()),
            s.requested != "cancel",
            s.deleted_at.is_(None),
        )
        .order_by(s.id.desc())
    )
    wanted = sorted(wish.subdirectories)
    category_id = _category(connection, wish.category)
    for row in rows:
        same = dict(row.options) == dict(wish.options) and row.category_id == category_id
        if same and _subdirectories(connection, row.id) == wanted:
            return int(row.id)
    return None


def _subdirectories(connection: sa.Connection, session_id: int) -> list[str]:
    c = training_subdirectories.c
    return sorted(connection.scalars(sa.select(c.path).where(c.session_id == session_id)))


def _create(connection: sa.Connection, wish: Wish) -> int:
    session_id = connection.execute(
        sa.insert(training_sessions)
        .values(
            root_path=wish.root_path,
            category_id=_category(connection, wish.category),
            options=dict(wish.options),
        )
        .returning(training_sessions.c.id)
    ).scalar_one()
    if wish.subdirectories:
        rows = [{"session_id": session_id, "path": path} for path in sorted(set(wish.subdirectories))]
        connection.execute(sa.insert(training_subdirectories), rows)
    return int(session_id)


def _category(connection: sa.Connection, name: str | None) -> int | None:
    if name is None:
        return None
    connection.execute(insert(categories).values(name=name).on_conflict_do_nothing())
    found = connection.execute(sa.select(categories.c.id).where(categories.c.name == name))
    return int(found.scalar_one())


def pause(connection: sa.Connection, session_id: int) -> Answer:
    return request(connection, session_id, "pause")
