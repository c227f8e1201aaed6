"""Answers to the engine's questions whether a face is a person's: yes, or no for ever."""

from collections.abc import Sequence
from typing import Any, TypeAlias
from uuid import UUID

import sqlalchemy as sa

from trainyard.people.changes import Change, read_change
from trainyard.people.errors import NoSuchSuggestion
from trainyard.people.locks import keep_persons, lock_faces
from trainyard.people.records import begin, change_faces, finish, record_suggestions, refuse_former

Pairs: TypeAlias = Sequence[tuple[UUID, int]]  # (face, person)

LOCK = sa.text("""
    SELECT s.face_id, s.person_id, s.status, f.ignored_at IS NULL AND f.assigned_by IS DISTINCT FROM 'person' AS open
    FROM face_suggestions s JOIN face_instances f ON f.id = s.face_id
    JOIN unnest(CAST(:faces AS uuid[]), CAST(:persons AS integer[])) AS r (face_id, person_id)
        ON r.face_id = s.face_id AND r.person_id = s.person_id
    ORDER BY s.face_id, s.person_id FOR UPDATE OF s
""")

PAIRS = "unnest(CAST(:faces AS uuid[]), CAST(:persons AS integer[])) AS r (face_id, person_id)"

REJECTED = {
    "face": "s.face_id",
    "person": "s.person_id",
    "status": "'rejected'",
    "similarity": "s.similarity",
    "source": f"face_suggestions s JOIN {PAIRS} ON r.face_id = s.face_id AND r.person_id = s.person_id",
    "where": "s.status = 'pending'",
}


def accept(connection: sa.Connection, pairs: Pairs) -> Change:
    """The faces are these persons'. What somebody else decided meanwhile is left so and counted as skipped.

    Raises NoSuchPerson, NoSuchFace, and NoSuchSuggestion where none of them waits for an answer.
    """
    change_id, chosen = _begin(connection, "accept", pairs)
    change_faces(
        connection,
        change_id,
        "true",
        join=f"JOIN {PAIRS} ON r.face_id = f.id",
        person="r.person_id",
        assigned_by="'person'",
        parameters=_arrays(chosen),
    )
    refuse_former(connection, change_id)
    finish(connection, change_id)
    return read_change(connection, change_id)


def reject(connection: sa.Connection, pairs: Pairs) -> Change:
    """The faces are not these persons', for ever. Skips and raises as `accept` does."""
    change_id, chosen = _begin(connection, "reject", pairs)
    record_suggestions(connection, change_id, REJECTED, _arrays(chosen))
    finish(connection, change_id)
    connection.execute(
        sa.text("UPDATE people_changes SET faces = :faces WHERE id = :id"), {"id": change_id, "faces": len(chosen)}
    )
    return read_change(connection, change_id)


def _begin(connection: sa.Connection, kind: str, pairs: Pairs) -> tuple[int, Pairs]:
    """The change, and of the pairs those that are still open, one for each face where it is given to somebody."""
    wanted = list(dict.fromkeys(pairs))
    persons = keep_persons(connection, {person_id for _, person_id in wanted})
    lock_faces(connection, {face_id for face_id, _ in wanted})
    rows = connection.execute(LOCK, _arrays(wanted)).all()
    as_wanted = {"accept": "accepted", "reject": "rejected"}[kind]
    if not any(row.status == as_wanted or (row.status == "pending" and row.open) for row in rows):
        raise NoSuchSuggestion
    open_pairs = {(row.face_id, row.person_id) for row in rows if row.status == "pending" and row.open}
    chosen = [pair for pair in wanted if pair in open_pairs]
    if kind == "accept":
        chosen = list({face_id: (face_id, person_id) for face_id, person_id in reversed(chosen)}.values())[::-1]
    done = sum(row.status == as_wanted for row in rows)
    before: dict[str, Any] = {"skipped": len(wanted) - len(chosen) - done}
    before["persons"] = [{"id": id, "name": persons[id].name} for id in sorted(persons)]
    only = next(iter(persons)) if len(persons) == 1 else None
    return begin(connection, kind, person_id=only, before=before), chosen


def _arrays(pairs: Pairs) -> dict[str, Any]:
    return {"faces": [face_id for face_id, _ in pairs], "persons": [person_id for _, person_id in pairs]}
