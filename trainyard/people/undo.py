"""Taking a change back: each row that is still as the change left it becomes what it was; the others stay."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from trainyard.face_models import keep_active
from trainyard.people.errors import AlreadyUndone, NoSuchChange, TooLateToUndo
from trainyard.people.names import bring_back, call
from trainyard.people.records import UNDO_HOURS, leave_word

LOCK_CHANGE = sa.text("""
    SELECT id, kind, person_id, cluster_id, before, created_at, undone_at,
           created_at < now() - make_interval(hours => :hours) AS too_late
    FROM people_changes WHERE id = :id FOR UPDATE
""")

LOCK_PERSONS = sa.text("""
    SELECT id, name, deleted_at FROM persons
    WHERE id = ANY(:named) OR id IN (SELECT person_before FROM people_change_faces WHERE change_id = :change_id)
    ORDER BY id FOR NO KEY UPDATE
""")

LOCK_FACES = sa.text("""
    SELECT FROM face_instances WHERE id IN (SELECT face_id FROM people_change_faces WHERE change_id = :change_id)
    ORDER BY id FOR NO KEY UPDATE
""")

OPEN_CLUSTERS = sa.text("""
    SELECT id FROM face_clusters
    WHERE closed_at IS NULL AND id IN (SELECT cluster_before FROM people_change_faces WHERE change_id = :change_id)
    ORDER BY id FOR SHARE
""")

# A face whose group was closed since waits for the next grouping. One whose person is gone stays where it is, and so
# does one that somebody took away and gave back since: the later word counts.
RESTORE_FACES = sa.text("""
    UPDATE face_instances f SET
        person_id = r.person_before, assigned_by = r.assigned_by_before, similarity = r.similarity_before,
        ignored_at = r.ignored_before,
        cluster_id = CASE WHEN r.cluster_before = ANY(:open) THEN r.cluster_before END,
        clustered_at = CASE WHEN r.cluster_before IS NULL OR r.cluster_before = ANY(:open) THEN r.clustered_before END
    FROM people_change_faces r
    WHERE r.change_id = :change_id AND f.id = r.face_id
        AND f.person_id IS NOT DISTINCT FROM r.person_after AND f.assigned_by IS NOT DISTINCT FROM r.assigned_by_after
        AND (f.ignored_at IS NOT NULL) = r.ignored_after
        AND NOT EXISTS (
            SELECT FROM people_change_faces later JOIN people_changes c ON c.id = later.change_id
            WHERE later.face_id = f.id AND c.id > :change_id AND c.undone_at IS NULL)
        AND (r.person_before IS NULL
            OR EXISTS (SELECT FROM persons p WHERE p.id = r.person_before AND p.deleted_at IS NULL))
    RETURNING f.id
""")

# Suggestions of faces that stay as they are stay with them.
LEFT_SO = """
    r.change_id = :change_id
    AND (r.face_id = ANY(CAST(:restored AS uuid[]))
        OR NOT EXISTS (SELECT FROM people_change_faces c WHERE c.change_id = r.change_id AND c.face_id = r.face_id))
"""

RESTORE_SUGGESTIONS = sa.text(f"""
    INSERT INTO face_suggestions (face_id, person_id, similarity, status, session_id, created_at, decided_at)
    SELECT r.face_id, r.person_id, r.similarity_before, r.status_before, r.session_before, r.created_before,
           r.decided_before
    FROM people_change_suggestions r JOIN face_instances f ON f.id = r.face_id JOIN persons p ON p.id = r.person_id
    LEFT JOIN face_suggestions s ON s.face_id = r.face_id AND s.person_id = r.person_id
    WHERE {LEFT_SO} AND r.status_before IS NOT NULL AND s.status IS NOT DISTINCT FROM r.status_after
        AND (r.status_before <> 'pending'
            OR f.person_id IS NULL AND f.ignored_at IS NULL AND p.deleted_at IS NULL)
    ORDER BY r.face_id, r.person_id
    ON CONFLICT (face_id, person_id) DO UPDATE SET
        similarity = excluded.similarity, status = excluded.status, session_id = excluded.session_id,
        created_at = excluded.created_at, decided_at = excluded.decided_at
""")

REMOVE_SUGGESTIONS = sa.text(f"""
    DELETE FROM face_suggestions s USING people_change_suggestions r
    WHERE {LEFT_SO} AND r.status_before IS NULL AND s.status = r.status_after
        AND s.face_id = r.face_id AND s.person_id = r.person_id
""")

# Where what was said since about a face and a person does not go with what the face is again, the latter counts,
# unless it was the engine that said it.
SETTLE = (
    sa.text("""
        UPDATE face_instances f SET person_id = NULL, assigned_by = NULL, similarity = NULL, clustered_at = NULL
        WHERE id = ANY(CAST(:restored AS uuid[])) AND assigned_by = 'engine' AND EXISTS (
            SELECT FROM face_suggestions s
            WHERE s.face_id = f.id AND s.person_id = f.person_id AND s.status = 'rejected')
    """),
    sa.text("""
        UPDATE face_suggestions s SET status = 'accepted', decided_at = now() FROM face_instances f
        WHERE f.id = ANY(CAST(:restored AS uuid[])) AND s.face_id = f.id AND s.person_id = f.person_id
            AND s.status = 'rejected'
    """),
    sa.text("""
        DELETE FROM face_suggestions s USING face_instances f
        WHERE f.id = ANY(CAST(:restored AS uuid[])) AND s.face_id = f.id AND s.status = 'pending'
            AND (f.person_id IS NOT NULL OR f.ignored_at IS NOT NULL)
    """),
)

COUNT = sa.text("""
    SELECT (SELECT count(*) FROM people_change_faces WHERE change_id = :change_id) AS faces,
           (SELECT count(*) FROM people_change_suggestions WHERE change_id = :change_id) AS suggestions
""")

# Made by the change, and nobody's face is this person's any more.
UNMAKE = sa.text("""
    UPDATE persons SET deleted_at = now()
    WHERE id = :id AND deleted_at IS NULL AND NOT EXISTS (SELECT FROM face_instances WHERE person_id = :id)
""")
FORGET_QUESTIONS = sa.text("""
    DELETE FROM face_suggestions s USING persons p
    WHERE s.person_id = :id AND p.id = :id AND s.status = 'pending' AND p.deleted_at IS NOT NULL
""")

# Rows that a change dismissed or deleted have its time, which is its transaction's.
SHOW_AGAIN = sa.text("UPDATE face_clusters SET dismissed_at = NULL WHERE id = :id AND dismissed_at = :at")

UNDONE = sa.text("""
    UPDATE people_changes SET
        undone_at = now(), before = before || jsonb_build_object('skipped', CAST(:skipped AS integer))
    WHERE id = :change_id
""")


def take_back(connection: sa.Connection, change_id: int) -> None:
    """Raises NoSuchChange, TooLateToUndo, AlreadyUndone and NameTaken."""
    keep_active(connection)
    change = _lock(connection, change_id)
    _restore_persons(connection, change)
    restored = _restore_faces(connection, change_id)
    asked = {"change_id": change_id, "restored": restored}
    questions = connection.execute(REMOVE_SUGGESTIONS, asked).rowcount
    questions += connection.execute(RESTORE_SUGGESTIONS, asked).rowcount
    for statement in SETTLE:
        connection.execute(statement, {"restored": restored})
    if change.kind == "dismiss":
        connection.execute(SHOW_AGAIN, {"id": change.cluster_id, "at": change.created_at})
    if change.before.get("made"):
        connection.execute(UNMAKE, {"id": change.person_id})
        connection.execute(FORGET_QUESTIONS, {"id": change.person_id})
    recorded = connection.execute(COUNT, asked).one()
    skipped = recorded.suggestions - questions if change.kind == "reject" else recorded.faces - len(restored)
    connection.execute(UNDONE, {"change_id": change_id, "skipped": skipped})
    leave_word(connection, change_id, restored)


def _lock(connection: sa.Connection, change_id: int) -> sa.Row[Any]:
    change = connection.execute(LOCK_CHANGE, {"id": change_id, "hours": UNDO_HOURS}).one_or_none()
    if change is None:
        raise NoSuchChange(change_id)
    if change.undone_at is not None:
        raise AlreadyUndone
    if change.too_late:
        raise TooLateToUndo(UNDO_HOURS)
    return change


def _restore_persons(connection: sa.Connection, change: sa.Row[Any]) -> None:
    """Lock whoever the change is about, and give back what it took from them: a name, or being there."""
    named = change.before.get("persons", [])
    asked = {"change_id": change.id, "named": [person["id"] for person in named]}
    now = {row.id: row for row in connection.execute(LOCK_PERSONS, asked)}
    for person in named[1:] if change.kind == "merge" else named:
        row = now.get(person["id"])
        if row is None:
            continue
        if change.kind in ("merge", "delete") and row.deleted_at == change.created_at:
            bring_back(connection, row.id, row.name)
        if change.kind == "rename" and row.name == change.before["called"]:
            call(connection, row.id, person["name"])


def _restore_faces(connection: sa.Connection, change_id: int) -> Sequence[UUID]:
    asked = {"change_id": change_id}
    connection.execute(LOCK_FACES, asked)
    open_clusters = connection.scalars(OPEN_CLUSTERS, asked).all()
    return connection.scalars(RESTORE_FACES, {**asked, "open": list(open_clusters)}).all()
