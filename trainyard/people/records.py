"""How a change is made and remembered: faces and suggestions as they were, and as they are to be.

Every operation goes the same way: `begin` a record, say in it which faces and suggestions become what, `finish` it.
Each of these is one statement whatever the number of faces. Rows are locked in one order everywhere, so that two people
at once wait for each other but never in a circle: the active network, the change, persons by id, faces by id, clusters
by id, suggestions.

`before` of a change, in JSON: `persons`, those whom its sentence names and its undo restores, each {id, name}; `made`,
whether the change made the first of them; `called`, the name a rename gave; `ignored`, which way `ignore` went;
`skipped`, how much was left as it was.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from trainyard.face_models import active_face_model
from trainyard.outbox import enqueue_persons, enqueue_photos

UNDO_HOURS = 24
KEPT_HOURS = 2 * UNDO_HOURS  # so that for a while an undo can still be told that it is too late

BEGIN = sa.text("""
    INSERT INTO people_changes (kind, person_id, cluster_id, before)
    VALUES (:kind, :person_id, :cluster_id, CAST(:before AS jsonb)) RETURNING id
""")

PURGE = sa.text("""
    DELETE FROM people_changes WHERE id IN (
        SELECT id FROM people_changes WHERE created_at < now() - make_interval(hours => :hours)
        ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
""")

# The rows that are locked are those written down: a lock that was waited for shows what the other one committed.
RECORD_FACES = """
    WITH chosen AS MATERIALIZED (
        SELECT f.*, {person} AS person_after, {assigned_by} AS assigned_by_after, {ignored} AS ignored_after
        FROM face_instances f {join} WHERE {where} ORDER BY f.id FOR NO KEY UPDATE OF f
    )
    INSERT INTO people_change_faces
        (change_id, face_id, person_before, assigned_by_before, similarity_before, cluster_before, clustered_before,
         ignored_before, person_after, assigned_by_after, ignored_after)
    SELECT :change_id, id, person_id, assigned_by, similarity, cluster_id, clustered_at,
           ignored_at, person_after, assigned_by_after, ignored_after
    FROM chosen
    WHERE (person_id, assigned_by, ignored_at IS NOT NULL)
        IS DISTINCT FROM (person_after, assigned_by_after, ignored_after)
"""

# Whoever is known or ignored is in no group; whoever is unknown again waits for the next grouping.
APPLY_FACES = sa.text("""
    UPDATE face_instances f SET
        person_id = r.person_after, assigned_by = r.assigned_by_after,
        similarity = CASE WHEN r.person_after = r.person_before OR r.assigned_by_after = 'engine' THEN f.similarity END,
        cluster_id = NULL,
        clustered_at = CASE WHEN r.person_after IS NOT NULL OR r.ignored_after THEN f.clustered_at END,
        ignored_at = CASE WHEN r.ignored_after THEN coalesce(f.ignored_at, now()) END
    FROM people_change_faces r WHERE r.change_id = :change_id AND r.face_id = f.id
""")

RECORD_SUGGESTIONS = """
    INSERT INTO people_change_suggestions
        (change_id, face_id, person_id, status_before, similarity_before, session_before, created_before,
         decided_before, status_after, similarity_after)
    SELECT :change_id, {face}, {person}, s.status, s.similarity, s.session_id, s.created_at, s.decided_at,
           {status}, {similarity}
    FROM {source} WHERE {where} ON CONFLICT DO NOTHING
"""

# A person that a face was taken from is not that face's person: said once, it holds for ever.
REFUSED = RECORD_SUGGESTIONS.format(
    face="r.face_id",
    person="r.person_before",
    status="'rejected'",
    similarity="coalesce(s.similarity, r.similarity_before, 0)",
    source="""people_change_faces r LEFT JOIN face_suggestions s
        ON s.face_id = r.face_id AND s.person_id = r.person_before""",
    where="""r.change_id = :change_id AND r.person_before IS NOT NULL
        AND r.person_after IS DISTINCT FROM r.person_before AND s.status IS DISTINCT FROM 'rejected'""",
)

# Nothing is suggested for a face that is known or ignored. Given by a person, a suggestion or refusal was answered.
SETTLED = RECORD_SUGGESTIONS.format(
    face="s.face_id",
    person="s.person_id",
    status="CASE WHEN s.person_id = r.person_after AND r.assigned_by_after = 'person' THEN 'accepted' END",
    similarity="s.similarity",
    source="face_suggestions s JOIN people_change_faces r ON r.face_id = s.face_id",
    where="""r.change_id = :change_id AND (
        s.status = 'pending' AND (r.person_after IS NOT NULL OR r.ignored_after)
        OR s.status = 'rejected' AND s.person_id = r.person_after AND r.assigned_by_after = 'person')""",
)

REMOVE_SUGGESTIONS = sa.text("""
    DELETE FROM face_suggestions s USING people_change_suggestions r
    WHERE r.change_id = :change_id AND r.status_after IS NULL AND s.face_id = r.face_id AND s.person_id = r.person_id
""")

STORE_SUGGESTIONS = sa.text("""
    INSERT INTO face_suggestions (face_id, person_id, similarity, status, decided_at)
    SELECT face_id, person_id, similarity_after, status_after, CASE WHEN status_after <> 'pending' THEN now() END
    FROM people_change_suggestions WHERE change_id = :change_id AND status_after IS NOT NULL
    ORDER BY face_id, person_id
    ON CONFLICT (face_id, person_id) DO UPDATE SET status = excluded.status, decided_at = excluded.decided_at
""")

COUNT = sa.text("""
    UPDATE people_changes SET faces = (
        SELECT count(*) FROM people_change_faces r JOIN face_instances f ON f.id = r.face_id
        WHERE r.change_id = :change_id AND f.model_id = :model_id
    ) WHERE id = :change_id
""")

PHOTOS = sa.text("""
    SELECT DISTINCT f.asset_id FROM people_change_faces r JOIN face_instances f ON f.id = r.face_id
    WHERE r.change_id = :change_id AND r.person_before IS DISTINCT FROM r.person_after
        AND (CAST(:face_ids AS uuid[]) IS NULL OR f.id = ANY(CAST(:face_ids AS uuid[])))
    ORDER BY f.asset_id
""")

# Those whose prototypes are chosen from other faces now.
PERSONS = sa.text("""
    SELECT DISTINCT side.person_id FROM people_change_faces r CROSS JOIN LATERAL (VALUES
        (r.person_before, r.assigned_by_before, r.ignored_before IS NOT NULL),
        (r.person_after, r.assigned_by_after, r.ignored_after)
    ) side (person_id, assigned_by, ignored)
    WHERE r.change_id = :change_id AND side.assigned_by = 'person' AND NOT side.ignored
        AND (CAST(:face_ids AS uuid[]) IS NULL OR r.face_id = ANY(CAST(:face_ids AS uuid[])))
    ORDER BY side.person_id
""")


def begin(
    connection: sa.Connection,
    kind: str,
    *,
    person_id: int | None = None,
    cluster_id: int | None = None,
    before: dict[str, Any] | None = None,
) -> int:
    """A new change's id; those too old to undo are forgotten."""
    connection.execute(PURGE, {"hours": KEPT_HOURS})
    values = {"kind": kind, "person_id": person_id, "cluster_id": cluster_id, "before": json.dumps(before or {})}
    return int(connection.execute(BEGIN, values).scalar_one())


def change_faces(
    connection: sa.Connection,
    change_id: int,
    where: str,
    *,
    person: str = "f.person_id",
    assigned_by: str = "f.assigned_by",
    ignored: str = "f.ignored_at IS NOT NULL",
    join: str = "",
    parameters: Mapping[str, Any],
) -> None:
    """Lock the faces `f` of a condition, and make those that are not so yet what the three expressions say."""
    statement = RECORD_FACES.format(person=person, assigned_by=assigned_by, ignored=ignored, join=join, where=where)
    connection.execute(sa.text(statement), {**parameters, "change_id": change_id})
    connection.execute(APPLY_FACES, {"change_id": change_id})


def refuse_former(connection: sa.Connection, change_id: int) -> None:
    """Record that the changed faces are not those whom they were."""
    connection.execute(sa.text(REFUSED), {"change_id": change_id})


def record_suggestions(
    connection: sa.Connection, change_id: int, parts: Mapping[str, str], parameters: Mapping[str, Any]
) -> None:
    """Record what becomes of suggestions `s`; a first record of one counts."""
    connection.execute(sa.text(RECORD_SUGGESTIONS.format(**parts)), {**parameters, "change_id": change_id})


def finish(connection: sa.Connection, change_id: int) -> None:
    """Change the suggestions, count the faces, and leave word for Qdrant and the prototypes."""
    connection.execute(sa.text(SETTLED), {"change_id": change_id})
    connection.execute(REMOVE_SUGGESTIONS, {"change_id": change_id})
    connection.execute(STORE_SUGGESTIONS, {"change_id": change_id})
    model = active_face_model(connection)
    connection.execute(COUNT, {"change_id": change_id, "model_id": model.id if model else None})
    leave_word(connection, change_id)


def leave_word(connection: sa.Connection, change_id: int, face_ids: Collection[Any] | None = None) -> None:
    """Enqueue the persons and photos of the change; of these faces of it alone, where they are given.

    Persons first: the engine waits for their prototypes, and photos may be many.
    """
    asked = {"change_id": change_id, "face_ids": None if face_ids is None else list(face_ids)}
    if persons := connection.scalars(PERSONS, asked).all():
        enqueue_persons(connection, persons)
    if photos := connection.scalars(PHOTOS, asked).all():
        enqueue_photos(connection, photos)
