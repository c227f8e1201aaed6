"""What people do with single faces: say whose they are, or not, and that some are not worth looking at."""

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa

from trainyard.people.changes import Change, read_change
from trainyard.people.locks import keep_persons, lock_faces
from trainyard.people.records import begin, change_faces, finish, refuse_former

CHOSEN = "f.id = ANY(CAST(:face_ids AS uuid[]))"

FORMER = sa.text("""
    SELECT DISTINCT p.id, p.name FROM face_instances f JOIN persons p ON p.id = f.person_id
    WHERE f.id = ANY(CAST(:face_ids AS uuid[])) ORDER BY p.id
""")


def assign(connection: sa.Connection, face_ids: Collection[UUID], person_id: int) -> Change:
    """The faces are this person's, ignored ones too. Raises NoSuchPerson and NoSuchFace."""
    person = keep_persons(connection, [person_id])[person_id]
    faces = lock_faces(connection, face_ids)
    before = {"persons": [{"id": person.id, "name": person.name}], "made": person.made}
    change_id = begin(connection, "assign", person_id=person_id, before=before)
    change_faces(
        connection,
        change_id,
        CHOSEN,
        person="CAST(:person_id AS integer)",
        assigned_by="'person'",
        ignored="false",
        parameters={"person_id": person_id, "face_ids": faces},
    )
    refuse_former(connection, change_id)
    finish(connection, change_id)
    return read_change(connection, change_id)


def unassign(connection: sa.Connection, face_ids: Collection[UUID]) -> Change:
    """The faces are not those whom they were: unknown, and never given to these persons by the engine again."""
    faces = lock_faces(connection, face_ids)
    former = [dict(row._mapping) for row in connection.execute(FORMER, {"face_ids": faces})]
    only = former[0]["id"] if len(former) == 1 else None
    change_id = begin(connection, "unassign", person_id=only, before={"persons": former})
    change_faces(
        connection, change_id, CHOSEN, person="NULL::integer", assigned_by="NULL", parameters={"face_ids": faces}
    )
    refuse_former(connection, change_id)
    finish(connection, change_id)
    return read_change(connection, change_id)


def ignore(connection: sa.Connection, face_ids: Collection[UUID], ignored: bool = True) -> Change:
    """The faces are neither grouped, assigned nor suggested, nor somebody's prototypes; or they are again."""
    faces = lock_faces(connection, face_ids)
    change_id = begin(connection, "ignore", before={"ignored": ignored})
    asked = {"ignored": ignored, "face_ids": faces}
    change_faces(connection, change_id, CHOSEN, ignored="CAST(:ignored AS boolean)", parameters=asked)
    finish(connection, change_id)
    return read_change(connection, change_id)
