"""Connections: what each side of them does about the other when it is gone."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest
import sqlalchemy as sa
from psycopg.pq import TransactionStatus

from tests.local_runs import wait_until
from tests.pooler import pooled
from trainyard.database import Database, connection_lost


@pytest.fixture
def database(module_database_url: str) -> Iterator[Database]:
    with closing(Database(module_database_url, outage_seconds=30)) as made:
        yield made


def setting(connection: sa.Connection, name: str) -> str:
    return str(connection.execute(sa.text("SELECT current_setting(:name)"), {"name": name}).scalar_one())


def test_a_server_gives_up_a_transaction_whose_client_does_nothing(database: Database) -> None:
    with database.engine.connect() as connection:
        assert setting(connection, "idle_in_transaction_session_timeout") == "5min"
        connection.rollback()
        assert setting(connection, "idle_in_transaction_session_timeout") == "5min"


def test_a_new_connection_is_in_no_transaction(database: Database) -> None:
    connection = database.engine.raw_connection()
    made = connection.driver_connection
    assert made is not None
    assert made.info.transaction_status == TransactionStatus.IDLE
    assert not made.autocommit
    connection.close()


def idle_too_long(connection: sa.Connection) -> None:
    """Does nothing in its transaction until the server has ended the session."""
    pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '1ms'"))
    alive = sa.text("SELECT 1 FROM pg_stat_activity WHERE pid = :pid")
    with connection.engine.connect() as other:
        other.execution_options(isolation_level="AUTOCOMMIT")
        wait_until(lambda: other.execute(alive, {"pid": pid}).first() is None, "the server to end the session")


def test_a_transaction_that_the_server_gave_up_is_done_again(database: Database) -> None:
    tries = iter((True, False))

    def work(connection: sa.Connection) -> int:
        if next(tries):
            idle_too_long(connection)
        return connection.execute(sa.text("SELECT 1")).scalar_one()

    assert database.transact(work) == 1


def test_of_two_transactions_that_wait_for_each_other_the_one_that_gave_way_is_done_again(database: Database) -> None:
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def lock(connection: sa.Connection, first: int, second: int) -> str:
        for number in (first, second):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
            if number == first and len(tries) < 2:
                tries.append(f"{first} first")
                both_hold_one.wait(60)
        tries.append("done")
        return f"{first}, {second}"

    with ThreadPoolExecutor() as threads:
        one = threads.submit(database.transact, partial(lock, first=1, second=2))
        other = threads.submit(database.transact, partial(lock, first=2, second=1))
        assert (one.result(), other.result()) == ("1, 2", "2, 1")
    assert sorted(tries) == ["1 first", "2 first", "done", "done"]


def test_a_copy_that_the_server_gave_up_is_a_lost_connection(module_database_url: str) -> None:
    def work(connection: sa.Connection) -> None:
        idle_too_long(connection)
        with connection.connection.cursor().copy("COPY discovered_files FROM STDIN"):
            pass

    with closing(Database(module_database_url)) as database, pytest.raises(sa.exc.OperationalError) as lost:
        database.transact(work)
    assert connection_lost(lost.value)


def tcp_options(connection: sa.Connection) -> list[int]:
    """How long it is silent before it is asked for life, how often then, and for how long it may go unanswered."""
    made = connection.connection.driver_connection
    assert made is not None
    names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    with socket.socket(fileno=os.dup(made.fileno())) as end:
        return [end.getsockopt(socket.IPPROTO_TCP, name) for name in names]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux names and keeps them all")
def test_a_client_notices_a_server_that_is_gone(module_database_url: str) -> None:
    """Over TCP, as to the tests' pooler; their server is reached through a Unix socket."""
    with (
        pooled(module_database_url, "session") as url,
        closing(Database(url)) as database,
        database.engine.connect() as connection,
    ):
        assert tcp_options(connection) == [30, 10, 3, 60_000]


def test_a_pooler_that_lends_a_transaction_at_a_time_is_asked_for_nothing_it_refuses(module_database_url: str) -> None:
    with (
        pooled(module_database_url, "transaction") as url,
        closing(Database(url)) as database,
        database.engine.connect() as connection,
    ):
        assert setting(connection, "idle_in_transaction_session_timeout") == "5min"
