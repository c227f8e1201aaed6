"""Persons: made, called, told apart, and put together."""

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa

from trainyard.people.changes import Change, read_change
from trainyard.people.errors import NoSuchFace
from trainyard.people.locks import lock_persons
from trainyard.people.names import call, create, person_named, usable_name
from trainyard.people.records import begin, change_faces, finish, record_suggestions

__all__ = ["create", "delete", "merge", "person_named", "rename", "set_cover"]

COVER = sa.text("""
    UPDATE persons SET cover_face_id = :face_id WHERE id = :person_id
        AND EXISTS (SELECT FROM face_instances WHERE id = :face_id AND person_id = :person_id)
""")

REFUSED = """f.assigned_by = 'engine' AND EXISTS (
    SELECT FROM face_suggestions s
    WHERE s.face_id = f.id AND s.person_id = ANY(:group) AND s.status = 'rejected')"""

# Of what was said of the others' suggestions, a no holds for the one they become, unless a person gave it the face;
# a question is asked for that one, where it was not answered before.
HANDED_ON = {
    "face": "g.face_id",
    "person": "CAST(:into_id AS integer)",
    "status": "CASE WHEN g.refused THEN 'rejected' ELSE 'pending' END",
    "similarity": "g.similarity",
    "source": """(
        SELECT face_id, bool_or(status = 'rejected') AS refused, max(similarity) AS similarity
        FROM face_suggestions WHERE person_id = ANY(:others) AND status IN ('pending', 'rejected') GROUP BY face_id
    ) g JOIN face_instances f ON f.id = g.face_id
    LEFT JOIN face_suggestions s ON s.face_id = g.face_id AND s.person_id = :into_id""",
    "where": """f.person_id IS DISTINCT FROM :into_id AND (
        g.refused AND s.status IS DISTINCT FROM 'rejected'
        OR NOT g.refused AND s.status IS NULL AND f.person_id IS NULL AND f.ignored_at IS NULL)""",
}

WITHDRAWN = {
    "face": "s.face_id",
    "person": "s.person_id",
    "status": "NULL::text",
    "similarity": "s.similarity",
    "source": "face_suggestions s",
    "where": "s.person_id = ANY(:others) AND s.status = 'pending'",
}

DELETE = sa.text("UPDATE persons SET deleted_at = now() WHERE id = ANY(:ids)")


def rename(connection: sa.Connection, person_id: int, name: str) -> Change:
    """Raises NoSuchPerson, InvalidName and NameTaken."""
    person, name = lock_persons(connection, [person_id])[person_id], usable_name(name)
    before = {"persons": [{"id": person.id, "name": person.name}], "called": name}
    change_id = begin(connection, "rename", person_id=person_id, before=before)
    call(connection, person_id, name)
    return read_change(connection, change_id)


def set_cover(connection: sa.Connection, person_id: int, face_id: UUID) -> None:
    """The face that stands for the person, one of its own. Raises NoSuchPerson and NoSuchFace."""
    lock_persons(connection, [person_id])
    if connection.execute(COVER, {"person_id": person_id, "face_id": face_id}).rowcount == 0:
        raise NoSuchFace([face_id])


def merge(connection: sa.Connection, into_id: int, person_ids: Collection[int]) -> Change:
    """All these are one person, `into_id`: faces of every network, suggestions and refusals go there.

    A face that the engine gave to one of them, and a person refused for one of them, is unknown again.
    Raises NoSuchPerson.
    """
    others = sorted(set(person_ids) - {into_id})
    persons = lock_persons(connection, [into_id, *others])
    named = [{"id": id, "name": persons[id].name} for id in (into_id, *others)]
    change_id = begin(connection, "merge", person_id=into_id, before={"persons": named})
    change_faces(
        connection,
        change_id,
        f"f.person_id = ANY(:others) OR (f.person_id = :into_id AND {REFUSED})",
        person=f"CASE WHEN {REFUSED} THEN NULL ELSE CAST(:into_id AS integer) END",
        assigned_by=f"CASE WHEN {REFUSED} THEN NULL ELSE f.assigned_by END",
        parameters={"into_id": into_id, "others": others, "group": [into_id, *others]},
    )
    record_suggestions(connection, change_id, HANDED_ON, {"into_id": into_id, "others": others})
    record_suggestions(connection, change_id, WITHDRAWN, {"others": others})
    connection.execute(DELETE, {"ids": others})
    finish(connection, change_id)
    return read_change(connection, change_id)


def delete(connection: sa.Connection, person_id: int) -> Change:
    """The person's faces, of every network, are unknown again; what was refused stays refused. Raises NoSuchPerson."""
    person = lock_persons(connection, [person_id])[person_id]
    before = {"persons": [{"id": person.id, "name": person.name}]}
    change_id = begin(connection, "delete", person_id=person_id, before=before)
    change_faces(
        connection,
        change_id,
        "f.person_id = :person_id",
        person="NULL::integer",
        assigned_by="NULL::text",
        parameters={"person_id": person_id},
    )
    record_suggestions(connection, change_id, WITHDRAWN, {"others": [person_id]})
    connection.execute(DELETE, {"ids": [person_id]})
    finish(connection, change_id)
    return read_change(connection, change_id)
