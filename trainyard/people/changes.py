"""What people did in the last 24 hours, and taking it back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from trainyard.people.errors import NoSuchChange
from trainyard.people.records import UNDO_HOURS
from trainyard.people.sentences import sentence, undone
from trainyard.people.undo import take_back

__all__ = ["UNDO_HOURS", "Change", "list_changes", "read_change", "undo"]

READ = """
    SELECT c.id, c.kind, c.person_id, c.cluster_id, c.before, c.faces, c.created_at, c.undone_at,
           p.name AS person_name
    FROM people_changes c LEFT JOIN persons p ON p.id = c.person_id
"""
READ_ONE = sa.text(f"{READ} WHERE c.id = :id")
READ_PAGE = sa.text(f"""
    {READ} WHERE c.created_at >= now() - make_interval(hours => {UNDO_HOURS})
        AND (CAST(:before_id AS integer) IS NULL OR c.id < :before_id)
    ORDER BY c.id DESC LIMIT :limit
""")


@dataclass(frozen=True)
class Change:
    id: int
    kind: str  # assign, unassign, ignore, rename, merge, delete, name, dismiss, accept, reject
    person_id: int | None  # whom it was about, where that is one person
    person_name: str | None  # as that person is called now
    cluster_id: int | None
    faces: int  # the active network's faces that it changed, or suggestions that it refused
    skipped: int  # by the change, or by its undo: what somebody else had changed, and was left so
    created_at: datetime
    undone_at: datetime | None
    sentence: str


def read_change(connection: sa.Connection, change_id: int) -> Change:
    """Raises NoSuchChange."""
    row = connection.execute(READ_ONE, {"id": change_id}).one_or_none()
    if row is None:
        raise NoSuchChange(change_id)
    return _change(row)


def list_changes(connection: sa.Connection, limit: int, before_id: int | None = None) -> list[Change]:
    """Those that can be undone or were, the newest first; `before_id`: those before that one."""
    return [_change(row) for row in connection.execute(READ_PAGE, {"limit": limit, "before_id": before_id})]


def undo(connection: sa.Connection, change_id: int) -> Change:
    """Take a change back: whatever is still as it left it becomes what it was.

    Raises NoSuchChange, TooLateToUndo, AlreadyUndone and NameTaken.
    """
    take_back(connection, change_id)
    return read_change(connection, change_id)


def _change(row: sa.Row[Any]) -> Change:
    skipped, said = row.before.get("skipped", 0), sentence(row.kind, row.faces, row.before)
    return Change(
        id=row.id,
        kind=row.kind,
        person_id=row.person_id,
        person_name=row.person_name,
        cluster_id=row.cluster_id,
        faces=row.faces,
        skipped=skipped,
        created_at=row.created_at,
        undone_at=row.undone_at,
        sentence=said if row.undone_at is None else undone(said, skipped),
    )
