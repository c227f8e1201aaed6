"""Sessions of one machine: beginning one, or taking up the one that the same command left unfinished."""

import sqlalchemy as sa

from trainyard.lifecycle import ACTIVE, Answer, request, retry_due
from trainyard.sessions import NewSession, category, create, subdirectories
from trainyard.tables import training_sessions


def begin(connection: sa.Connection, wish: NewSession) -> tuple[int, bool]:
    """The session for this wish, and whether it is an older one taken up again.

    Every other unfinished session is asked to pause: the run that drove it is dead, and this one drives its own. Those
    that only assign go along: nobody takes them up by hand, and they take seconds.
    """
    unfinished = _unfinished(connection, wish)
    if unfinished is None:
        session_id, _ = create(connection, wish)
    else:
        session_id = unfinished
    s = training_sessions.c
    connection.execute(
        sa.update(training_sessions)
        .where(
            sa.or_(s.status.in_(ACTIVE), retry_due()),
            s.requested == "run",
            s.id != session_id,
            s.options["assign"].as_boolean().is_not(True),
        )
        .values(requested="pause")
    )
    if unfinished is not None:
        request(connection, session_id, "resume")
    return session_id, unfinished is not None


def _unfinished(connection: sa.Connection, wish: NewSession) -> int | None:
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
    wanted = sorted(set(wish.subdirectories))
    category_id = category(connection, wish.category)
    for row in rows:
        same = dict(row.options) == dict(wish.options) and row.category_id == category_id
        if same and subdirectories(connection, row.id) == wanted:
            return int(row.id)
    return None


def pause(connection: sa.Connection, session_id: int) -> Answer:
    return request(connection, session_id, "pause")
