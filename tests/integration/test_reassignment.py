"""When unknown faces are gone over again by themselves; test_api_follow_up.py has who asks, and how often."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.people_rows import Library
from tests.query_plans import rows_read
from tests.rows import add_jobs, add_session, add_step
from trainyard.people.names import create
from trainyard.reassignment import ask_after_detection, ask_when_quiet, assign_options
from trainyard.tables import person_prototypes, training_jobs, training_sessions

OPTIONS = assign_options(untrained=True, face_engine="dlib")
BY_ITSELF = {**OPTIONS, "asked_by": "changes"}
MANY = 2_000


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that is never committed."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def library(engine: sa.Engine) -> Library:
    return Library.made(engine)


def add_prototypes(connection: sa.Connection, library: Library, count: int, at: str = "now()") -> None:
    person = create(connection, "Anna")
    row = {"person_id": person, "model_id": library.model, "embedding": b"\0" * 16, "created_at": sa.text(at)}
    connection.execute(sa.insert(person_prototypes).values([row] * count))


def detected(connection: sa.Connection, library: Library, faces: int = 5) -> int:
    """A session that began to look for faces a minute ago, and has found so many."""
    models = {"face": {"id": library.model}}
    session_id = add_session(connection, options={"untrained": True, "face_engine": "dlib"}, models=models)
    began = sa.text("now() - interval '1 minute'")
    add_step(connection, session_id, "detect", "completed", counts={"faces": faces}, started_at=began)
    return session_id


def sessions_by_id(connection: sa.Connection) -> dict[int, Any]:
    return {row.id: row for row in connection.execute(sa.select(training_sessions))}


def test_looking_for_changes_reads_the_last_prototype_alone(connection: sa.Connection, library: Library) -> None:
    add_prototypes(connection, library, MANY)
    connection.execute(sa.text("ANALYZE person_prototypes"))
    assert max(rows_read(connection, lambda: ask_when_quiet(connection, OPTIONS, 3_600.0))) == 1


def test_whoever_was_named_while_faces_were_found_has_them_gone_over(
    connection: sa.Connection, library: Library
) -> None:
    looked = detected(connection, library)
    ended = add_session(connection, root_path="/", options=BY_ITSELF, status="completed")
    add_jobs(connection, ended, "assign", 3)
    retried = add_session(
        connection, root_path="/", options=BY_ITSELF, status="failed", retry_requested_at=sa.func.now()
    )
    add_jobs(connection, retried, "assign", 3)
    somebodys = add_session(connection, root_path="/", options=OPTIONS, status="completed")
    add_prototypes(connection, library, 1)
    asked = ask_after_detection(connection, looked)
    assert asked is not None
    by_id = sessions_by_id(connection)
    assert (by_id[asked].root_path, by_id[asked].options) == ("/", BY_ITSELF)
    hidden = [by_id[id].deleted_at is not None for id in (looked, ended, retried, somebodys)]
    assert hidden == [False, True, False, False]
    left = set(connection.scalars(sa.select(training_jobs.c.session_id)))
    assert left == {retried}  # there will be many such sessions as the one that ended
    assert ask_after_detection(connection, looked) is None  # that one will see them


@pytest.mark.parametrize(
    ("faces", "named"),
    [(5, "now() - interval '2 minutes'"), (0, "now()")],
    ids=["named before it began", "no faces found"],
)
def test_faces_that_were_compared_with_everybody_are_not_gone_over(
    connection: sa.Connection, library: Library, faces: int, named: str
) -> None:
    add_prototypes(connection, library, 1, at=named)
    assert ask_after_detection(connection, detected(connection, library, faces)) is None


@pytest.mark.parametrize(
    ("columns", "begun", "will_do"),
    [
        ({"status": "pending"}, 0, True),
        ({"status": "paused", "requested": "pause"}, 0, True),
        ({"status": "running"}, 1, False),
        ({"status": "pending", "requested": "cancel"}, 0, False),
    ],
    ids=["pending", "paused before it began", "has begun", "is being cancelled"],
)
def test_a_session_that_has_yet_to_begin_will_do(
    connection: sa.Connection, library: Library, columns: dict[str, str], begun: int, will_do: bool
) -> None:
    looked = detected(connection, library)
    waiting = add_session(connection, root_path="/", options=OPTIONS, **columns)
    add_step(connection, waiting, "discover", "running" if begun else "pending", attempt=begun)
    add_prototypes(connection, library, 1)
    assert (ask_after_detection(connection, looked) is None) is will_do
