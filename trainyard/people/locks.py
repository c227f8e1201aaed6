"""Rows of people's, locked in the one order: persons by id, then faces by id, then clusters by id, then suggestions.

Before any of them comes the lock that keeps the active network the active one.

Workers that give faces to persons only refer to these rows, and are not kept waiting.
"""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from trainyard.face_models import active_face_model, keep_active
from trainyard.people.errors import NoSuchFace, NoSuchPerson

# `made`: in this very transaction, whose time is the row's.
PERSONS = """
    SELECT id, name, cover_face_id, created_at = now() AS made FROM persons
    WHERE id = ANY(:ids) AND deleted_at IS NULL ORDER BY id FOR {strength}
"""
KEEP = sa.text(PERSONS.format(strength="SHARE"))
CHANGE = sa.text(PERSONS.format(strength="NO KEY UPDATE"))

FACES = sa.text("""
    SELECT id FROM face_instances WHERE id = ANY(CAST(:ids AS uuid[])) AND model_id = :model_id
    ORDER BY id FOR NO KEY UPDATE
""")


def keep_persons(connection: sa.Connection, person_ids: Collection[int]) -> dict[int, sa.Row[Any]]:
    """These persons, whom nobody deletes, merges or renames until this transaction ends. Raises NoSuchPerson."""
    return _persons(connection, KEEP, person_ids)


def lock_persons(connection: sa.Connection, person_ids: Collection[int]) -> dict[int, sa.Row[Any]]:
    """These persons, whom nobody else gives a face meanwhile. Raises NoSuchPerson."""
    return _persons(connection, CHANGE, person_ids)


def _persons(
    connection: sa.Connection, statement: sa.TextClause, person_ids: Collection[int]
) -> dict[int, sa.Row[Any]]:
    keep_active(connection)
    found = {row.id: row for row in connection.execute(statement, {"ids": sorted(set(person_ids))})}
    for person_id in sorted(person_ids):
        if person_id not in found:
            raise NoSuchPerson(person_id)
    return found


def lock_faces(connection: sa.Connection, face_ids: Iterable[UUID]) -> list[UUID]:
    """These faces of the active network, each once, by id. Raises NoSuchFace."""
    keep_active(connection)
    wanted = set(face_ids)
    model = active_face_model(connection)
    asked = {"ids": sorted(wanted), "model_id": model.id if model else None}
    found = connection.scalars(FACES, asked).all()
    if missing := wanted - set(found):
        raise NoSuchFace(missing)
    return list(found)
