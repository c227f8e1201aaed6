"""What people do with faces and persons, and how it is taken back, on a real database."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.people_rows import Library, answers, face_row, owners, people, told
from trainyard.people import changes, clusters, faces, persons, suggestions
from trainyard.people.errors import (
    AlreadyUndone,
    InvalidName,
    NameTaken,
    NoSuchChange,
    NoSuchCluster,
    NoSuchFace,
    NoSuchPerson,
    NoSuchSuggestion,
    TooLateToUndo,
)


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """In a transaction that is rolled back."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def library(connection: sa.Connection) -> Library:
    return Library(connection)


def test_a_named_group_is_that_person(connection: sa.Connection, library: Library) -> None:
    group, members = library.cluster(connection, 12)
    change = clusters.name(connection, group, name=" Anna ")
    anna = people(connection)["Anna"]
    assert owners(connection, members) == [anna] * 12
    assert (change.kind, change.person_id, change.person_name, change.cluster_id) == ("name", anna, "Anna", group)
    assert (change.faces, change.skipped, change.sentence) == (12, 0, "12 faces are now Anna.")
    row = face_row(connection, members[0])
    assert (row.assigned_by, row.cluster_id) == ("person", None)


def test_undoing_a_name_unmakes_the_person_and_restores_the_group(connection: sa.Connection, library: Library) -> None:
    group, members = library.cluster(connection, 3)
    before = [face_row(connection, id) for id in members]
    change = clusters.name(connection, group, name="Anna")
    undone = changes.undo(connection, change.id)
    assert [face_row(connection, id) for id in members] == before
    assert people(connection) == {}
    assert undone.undone_at is not None
    assert undone.sentence == "Undone: 3 faces are now Anna."
