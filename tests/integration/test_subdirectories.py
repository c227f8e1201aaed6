"""Subdirectories in rows: whatever may be named is kept."""

import random
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from trainyard.folders import MOST_SUBDIRECTORY_CHARACTERS
from trainyard.sessions import NewSession, create, subdirectories


@pytest.fixture
def connection(database_url: str) -> Iterator[sa.Connection]:
    with sa.create_engine(database_url, poolclass=sa.NullPool).begin() as connection:
        yield connection


def long_name(seed: int, characters: int) -> str:
    """Names of folders of 200 characters, as no compression makes them shorter."""
    letters = random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz0123456789é山", k=characters)
    return "/".join("".join(letters[at : at + 200]) for at in range(0, characters, 201))[:characters]


def test_long_subdirectories_are_kept_as_they_are_named(connection: sa.Connection) -> None:
    names = [long_name(seed, 3_400) for seed in range(MOST_SUBDIRECTORY_CHARACTERS // 3_400)]
    beginning_alike = [names[0][:-1] + letter for letter in "xy"]
    for wanted in (names, beginning_alike):
        session_id, _ = create(connection, NewSession("/photos", wanted))
        assert subdirectories(connection, session_id) == sorted(wanted)
