"""What may be asked of a session whose TrainingSession resource holds it, or is gone."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.rows import add_session, session_row
from trainyard import lifecycle


@pytest.fixture
def connection(module_database_url: str) -> Iterator[sa.Connection]:
    """A transaction that is never committed, so that the tests share one database."""
    with sa.create_engine(module_database_url, poolclass=sa.NullPool).connect() as connection:
        yield connection


def ask(connection: sa.Connection, verb: str, **columns: Any) -> tuple[int, str, str]:
    """HTTP status and code of the answer, and what is requested of the session after it."""
    session_id = add_session(connection, resource_name="archive", resource_uid=str(uuid4()), **columns)
    answer = lifecycle.request(connection, session_id, verb)
    return answer.status, answer.code, session_row(connection, session_id)["requested"]


REFUSED = (409, "SuspendedByResource")


@pytest.mark.parametrize(
    ("verb", "columns", "answer"),
    [
        ("resume", {"status": "paused"}, (*REFUSED, "run")),
        ("resume", {"status": "running"}, (*REFUSED, "run")),  # its workers are stopping
        ("resume", {"status": "paused", "requested": "pause"}, (*REFUSED, "pause")),  # both brakes stay as they are
        ("resume", {"status": "running", "requested": "cancel"}, (409, "SessionEnded", "cancel")),
        ("resume", {"status": "completed"}, (409, "SessionEnded", "run")),
        ("pause", {"status": "paused"}, (202, "Accepted", "pause")),
        ("cancel", {"status": "paused"}, (202, "Accepted", "cancel")),
        ("retry", {"status": "failed"}, (202, "Accepted", "run")),
    ],
)
def test_only_a_resume_is_refused_while_the_resource_suspends_it(
    connection: sa.Connection, verb: str, columns: dict[str, Any], answer: tuple[int, str, str]
) -> None:
    assert ask(connection, verb, suspended=True, **columns) == answer


@pytest.mark.parametrize("status", ["failed", "cancelled", "completed", "running"])
def test_nothing_is_retried_once_the_resource_is_gone(connection: sa.Connection, status: str) -> None:
    gone = ask(connection, "retry", status=status, failed=3, resource_gone_at=sa.func.now())
    assert gone == (409, "ResourceGone", "run")


def test_a_retry_asked_for_before_the_resource_went_is_refused_too(connection: sa.Connection) -> None:
    asked = {"status": "failed", "retry_requested_at": sa.func.now(), "requested": "cancel"}
    assert ask(connection, "retry", resource_gone_at=sa.func.now(), **asked) == (409, "ResourceGone", "cancel")


def test_the_row_of_a_resource_that_stands_is_asked_as_any_other(connection: sa.Connection) -> None:
    assert ask(connection, "resume", status="paused", requested="pause") == (202, "Accepted", "run")
    assert ask(connection, "cancel", status="paused")[:2] == (202, "Accepted")
