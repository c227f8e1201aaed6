"""What persons are called: each name by one of those who are there, ignoring case."""

import unicodedata
from typing import Any

import sqlalchemy as sa

from trainyard.people.errors import InvalidName, NameTaken

LONGEST_NAME = 200  # characters

MAKE = sa.text("INSERT INTO persons (name) VALUES (:name) ON CONFLICT DO NOTHING RETURNING id")
NAMED = sa.text("SELECT id FROM persons WHERE lower(name) = lower(:name) AND deleted_at IS NULL")
ALL_NAMES = sa.text("SELECT id, name FROM persons WHERE deleted_at IS NULL ORDER BY id")


def usable_name(name: str) -> str:
    """Trimmed, and composed as keyboards write it. Raises InvalidName."""
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= LONGEST_NAME or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise InvalidName(LONGEST_NAME)
    return name


def find_named(connection: sa.Connection, name: str) -> int | None:
    """Who is called so, ignoring case: as PostgreSQL does, which may know that of ASCII letters alone, and as we do.

    Its word is asked first: no two may have what it takes for one name (in some locales "İpek" and "ipek").
    """
    found = connection.scalars(NAMED, {"name": name}).one_or_none()
    if found is not None or name.isascii():
        return found
    folded = name.casefold()
    return next((row.id for row in connection.execute(ALL_NAMES) if row.name.casefold() == folded), None)


def create(connection: sa.Connection, name: str) -> int:
    """Raises InvalidName and NameTaken."""
    name = usable_name(name)
    taken = find_named(connection, name)
    made = None if taken is not None else connection.scalars(MAKE, {"name": name}).one_or_none()
    if made is None:
        raise NameTaken(name, taken or find_named(connection, name))
    return made


def person_named(connection: sa.Connection, name: str) -> int:
    """Who is called so, or a new person. Raises InvalidName."""
    name = usable_name(name)
    while True:  # somebody may make, or delete, that person at this moment
        found = find_named(connection, name)
        if found is None:
            found = connection.scalars(MAKE, {"name": name}).one_or_none()
        if found is not None:
            return found


def call(connection: sa.Connection, person_id: int, name: str) -> None:
    """Give a person a name. Raises NameTaken."""
    taken = find_named(connection, name)
    if taken not in (None, person_id):
        raise NameTaken(name, taken)
    statement = sa.text("UPDATE persons SET name = :name WHERE id = :id")
    _unique(connection, statement, {"id": person_id, "name": name}, name)


def bring_back(connection: sa.Connection, person_id: int, name: str) -> None:
    """Undo the deletion of a person. Raises NameTaken."""
    taken = find_named(connection, name)
    if taken not in (None, person_id):
        raise NameTaken(name, taken)
    statement = sa.text("UPDATE persons SET deleted_at = NULL WHERE id = :id")
    _unique(connection, statement, {"id": person_id}, name)


def _unique(connection: sa.Connection, statement: sa.TextClause, values: dict[str, Any], name: str) -> None:
    try:
        with connection.begin_nested():
            connection.execute(statement, values)
    except sa.exc.IntegrityError as error:  # somebody took the name at this moment
        raise NameTaken(name, find_named(connection, name)) from error
