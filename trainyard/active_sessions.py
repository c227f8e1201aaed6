"""Whether a session works on something that is about to be taken away from under it."""

import os
from collections.abc import Sequence

import sqlalchemy as sa

from trainyard.lifecycle import retry_due
from trainyard.stores import Stores
from trainyard.tables import training_sessions


class SessionActive(Exception):
    """A session works, or is about to, on what was to be changed."""

    code = "SessionActive"


def check_idle(connection: sa.Connection, stores: Stores, paths: Sequence[bytes] = (), *, faces: bool = False) -> None:
    """Raise SessionActive if a session may be working below any of the paths (none: anywhere), or on faces.

    A paused one is not: its workers have ended, and those that take it up read the rows as they are then. Neither is
    any where the data directory is ours alone: whoever worked on it is dead.
    """
    if stores.alone:
        return
    for row in connection.execute(_working(faces)):
        if not paths or any(_overlap(os.fsencode(row.root_path), path) for path in paths):
            raise SessionActive(
                f"Session {row.id} ({row.root_path}) is {row.status} and works on what this is about. Wait for it to "
                f"end, or pause or cancel it (`trainyard sessions pause {row.id}`), then do this again."
            )


def keep_idle(connection: sa.Connection, stores: Stores, paths: Sequence[bytes] = (), *, faces: bool = False) -> None:
    """The same, and none begins before this transaction ends: only such a one may take rows away."""
    connection.execute(sa.text("LOCK TABLE training_sessions IN SHARE MODE"))
    check_idle(connection, stores, paths, faces=faces)


def _working(faces: bool) -> sa.Select[tuple[int, str, str]]:
    s = training_sessions.c
    held = sa.or_(s.requested != "run", s.suspended)
    works = sa.or_(s.status.in_(("pending", "running")), sa.and_(s.status == "paused", ~held), retry_due())
    looks_for_faces = s.options["faces"].as_boolean().is_distinct_from(sa.false()) if faces else sa.true()
    return sa.select(s.id, s.root_path, s.status).where(s.deleted_at.is_(None), works, looks_for_faces).order_by(s.id)


def _overlap(one: bytes, other: bytes) -> bool:
    """Whether one is, or lies in, the other."""
    first, second = (path.rstrip(b"/") + b"/" for path in (one, other))
    return first.startswith(second) or second.startswith(first)
