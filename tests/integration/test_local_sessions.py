"""Which session a run drives: a new one, the one it left unfinished, or the one that is to be retried."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from local.sessions import begin
from tests.rows import add_step, session_row
from trainyard.database import Database
from trainyard.lifecycle import request
from trainyard.sessions import ALL_PHOTOS, NewSession, create
from trainyard.tables import training_sessions

WISH = NewSession("/photos", [], None, {"faces": True})


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def end(connection: sa.Connection, session_id: int, status: str, failed: int = 0) -> None:
    add_step(connection, session_id, "discover", status)
    connection.execute(
        sa.update(training_sessions).where(training_sessions.c.id == session_id).values(status=status, failed=failed)
    )


def test_an_unfinished_session_of_the_same_wish_is_taken_up_again(database: Database) -> None:
    first, resumed = database.transact(lambda c: begin(c, WISH))
    assert not resumed
    database.transact(lambda c: request(c, first, "pause"))
    assert database.transact(lambda c: begin(c, WISH)) == (first, True)
    assert database.transact(lambda c: session_row(c, first))["requested"] == "run"


@pytest.mark.parametrize(
    "other",
    [
        NewSession("/elsewhere", [], None, {"faces": True}),
        NewSession("/photos", ["2020"], None, {"faces": True}),
        NewSession("/photos", [], None, {"faces": False}),
    ],
)
def test_another_wish_gets_a_session_of_its_own_and_the_older_one_is_paused(
    database: Database, other: NewSession
) -> None:
    first, _ = database.transact(lambda c: begin(c, WISH))
    second, resumed = database.transact(lambda c: begin(c, other))
    assert second != first
    assert not resumed
    assert database.transact(lambda c: session_row(c, first))["requested"] == "pause"


def test_a_session_that_only_assigns_goes_along(database: Database) -> None:
    assigning = NewSession(ALL_PHOTOS, options={"faces": True, "training": False, "assign": True})
    first, _ = database.transact(lambda c: create(c, assigning))
    database.transact(lambda c: begin(c, WISH))
    assert database.transact(lambda c: session_row(c, first))["requested"] == "run"


def test_an_ended_session_is_left_alone(database: Database) -> None:
    first, _ = database.transact(lambda c: begin(c, WISH))
    database.transact(lambda c: end(c, first, "completed"))
    second, resumed = database.transact(lambda c: begin(c, WISH))
    assert (second > first, resumed) == (True, False)


def test_a_session_that_is_to_be_retried_is_taken_up_by_the_same_wish(database: Database) -> None:
    first, _ = database.transact(lambda c: begin(c, WISH))
    database.transact(lambda c: end(c, first, "completed", failed=1))
    assert database.transact(lambda c: request(c, first, "retry")).status == 202
    assert database.transact(lambda c: begin(c, WISH)) == (first, True)


def test_a_retry_of_other_folders_waits_for_its_own_run(database: Database) -> None:
    first, _ = database.transact(lambda c: begin(c, WISH))
    database.transact(lambda c: end(c, first, "failed"))
    database.transact(lambda c: request(c, first, "retry"))
    database.transact(lambda c: begin(c, NewSession("/elsewhere", [], None, {"faces": True})))
    assert database.transact(lambda c: session_row(c, first))["requested"] == "pause"
