"""Rows against rows: groups, suggestions and persons that say something else than the faces do."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from trainyard.face_groups import mend_groups
from trainyard.outbox import enqueue_persons, enqueue_photos
from trainyard.repair_findings import Finding, Repair, found

OF_DELETED = """
    FROM face_instances f JOIN persons p ON p.id = f.person_id WHERE p.deleted_at IS NOT NULL
"""
TO_UNKNOWN = sa.text(f"""
    UPDATE face_instances SET person_id = NULL, assigned_by = NULL, similarity = NULL, clustered_at = NULL
    WHERE id IN (SELECT f.id {OF_DELETED}) RETURNING asset_id
""")

GROUPED = """
    FROM face_instances f JOIN face_clusters c ON c.id = f.cluster_id
    WHERE f.person_id IS NOT NULL OR f.ignored_at IS NOT NULL OR c.closed_at IS NOT NULL
"""
LEAVE_GROUPS = sa.text(f"""
    UPDATE face_instances SET cluster_id = NULL,
        clustered_at = CASE WHEN person_id IS NULL AND ignored_at IS NULL THEN NULL ELSE clustered_at END
    WHERE id IN (SELECT f.id {GROUPED})
""")

# A group whose faces were all named is kept while an undo may bring them back.
EMPTY = """
    FROM face_clusters c WHERE c.closed_at IS NULL
        AND NOT EXISTS (SELECT FROM face_instances f WHERE f.cluster_id = c.id)
        AND NOT EXISTS (SELECT FROM people_change_faces r WHERE r.cluster_before = c.id)
"""

# One that was named or left the group otherwise is not shown for it, and gives way with the next clustering.
LOST_REPRESENTATIVES = """
    FROM face_clusters c WHERE c.closed_at IS NULL AND c.representative_face_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM face_instances f WHERE f.id = c.representative_face_id)
"""

ANSWERED = """
    FROM face_suggestions s JOIN face_instances f ON f.id = s.face_id JOIN persons p ON p.id = s.person_id
    WHERE s.status = 'pending'
        AND (f.person_id IS NOT NULL OR f.ignored_at IS NOT NULL OR p.deleted_at IS NOT NULL)
"""
DELETE_ANSWERED = sa.text(f"""
    DELETE FROM face_suggestions WHERE (face_id, person_id) IN (SELECT s.face_id, s.person_id {ANSWERED})
""")

LOST_COVERS = """
    FROM persons p WHERE p.cover_face_id IS NOT NULL AND p.deleted_at IS NULL
        AND NOT EXISTS (SELECT FROM face_instances f WHERE f.id = p.cover_face_id AND f.person_id = p.id)
"""

# Faces that people gave a person, as prototypes are chosen from them; and those whose points are there.
CHOSEN_FROM = "f.person_id = p.id AND f.assigned_by = 'person' AND f.ignored_at IS NULL AND p.deleted_at IS NULL"
WRONG_PROTOTYPES = f"""
    SELECT DISTINCT p.id FROM person_prototypes t JOIN persons p ON p.id = t.person_id
    WHERE t.retired_at IS NULL AND NOT EXISTS (
        SELECT FROM face_instances f
        WHERE f.id = t.face_id AND f.embedding_sha256 = sha256(t.embedding) AND {CHOSEN_FROM}
    )
    UNION
    SELECT DISTINCT p.id FROM persons p JOIN face_instances f ON {CHOSEN_FROM}
    JOIN face_scans s ON s.asset_id = f.asset_id AND s.content_sha256 = f.content_sha256 AND s.model_id = f.model_id
    WHERE NOT EXISTS (
        SELECT FROM person_prototypes t
        WHERE t.person_id = p.id AND t.model_id = f.model_id AND t.retired_at IS NULL
    )
"""
UNTOLD = sa.text(f"""
    SELECT w.id FROM ({WRONG_PROTOTYPES}) w
    WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.person_id = w.id) ORDER BY w.id
""")


def check_persons(repair: Repair) -> Iterator[Finding]:
    faces = repair.transact(lambda connection: _faces_of_deleted(connection, repair.mend))
    yield from found(faces, "faces of persons who were deleted", "unknown again")
    covers = repair.transact(lambda connection: _covers(connection, repair.mend))
    yield from found(covers, "persons shown by a face that is not theirs", "shown by their best face")
    persons = repair.transact(lambda connection: _prototypes(connection, repair.mend))
    yield from found(persons, "persons whose prototypes are not of their faces", "chosen anew")


def check_groups(repair: Repair) -> Iterator[Finding]:
    faces = repair.transact(lambda connection: _leave_groups(connection, repair.mend))
    yield from found(faces, "faces in a group that are known or ignored, or whose group is closed", "taken out of it")
    empty = repair.transact(lambda connection: _mend(connection, f"SELECT c.id {EMPTY}", repair.mend))
    yield from found(empty, "groups without faces", "closed")
    shown = repair.transact(lambda connection: _mend(connection, f"SELECT c.id {LOST_REPRESENTATIVES}", repair.mend))
    yield from found(shown, "groups shown by a face that is gone", "shown by their best face")


def check_suggestions(repair: Repair) -> Iterator[Finding]:
    def work(connection: sa.Connection) -> int:
        return connection.execute(DELETE_ANSWERED).rowcount if repair.mend else _count(connection, ANSWERED)

    yield from found(repair.transact(work), "suggestions for faces that are known or ignored", "deleted")


def _faces_of_deleted(connection: sa.Connection, mend: bool) -> int:
    if not mend:
        return _count(connection, OF_DELETED)
    photos = connection.scalars(TO_UNKNOWN).all()
    if photos:
        enqueue_photos(connection, set(photos))
    return len(photos)


def _covers(connection: sa.Connection, mend: bool) -> int:
    if not mend:
        return _count(connection, LOST_COVERS)
    clear = sa.text(f"UPDATE persons SET cover_face_id = NULL WHERE id IN (SELECT p.id {LOST_COVERS})")
    return connection.execute(clear).rowcount


def _prototypes(connection: sa.Connection, mend: bool) -> int:
    persons = connection.scalars(UNTOLD).all()
    if persons and mend:
        enqueue_persons(connection, persons)
    return len(persons)


def _leave_groups(connection: sa.Connection, mend: bool) -> int:
    return connection.execute(LEAVE_GROUPS).rowcount if mend else _count(connection, GROUPED)


def _mend(connection: sa.Connection, groups: str, mend: bool) -> int:
    ids: Sequence[Any] = connection.scalars(sa.text(groups)).all()
    if mend:
        mend_groups(connection, ids)
    return len(ids)


def _count(connection: sa.Connection, condition: str) -> int:
    return int(connection.execute(sa.text(f"SELECT count(*) {condition}")).scalar_one())
