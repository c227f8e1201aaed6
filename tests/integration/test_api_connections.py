"""Connections of those who ask nothing: they are few, they end, and others are answered meanwhile."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from api import connections
from api.connections import most_connections, raise_file_limit
from tests.local_runs import LONGEST_WAIT_SECONDS
from tests.served_rows import ServedRows, served_rows

FEW = 4
HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
BODY_TO_COME = b"POST /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{"
ANSWERED_EARLY = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{"


@pytest.fixture
def server(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedRows]:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", FEW)
    with served_rows(database_url, tmp_path) as found:
        yield found


def connect(server: ServedRows) -> socket.socket:
    url = httpx.URL(server.url)
    return socket.create_connection((url.host, url.port or 0), timeout=LONGEST_WAIT_SECONDS)


def is_ended(connection: socket.socket) -> bool:
    """Waits until the server has ended it, whatever it says before."""
    try:
        while connection.recv(2**16):
            pass
    except ConnectionResetError:
        pass
    return True


def answer_of(connection: socket.socket) -> bytes:
    received = b""
    while b'"ok"' not in received:
        chunk = connection.recv(2**16)
        assert chunk, received
        received += chunk
    return received


def test_connections_beyond_the_most_are_ended_and_those_before_are_answered(server: ServedRows) -> None:
    with ExitStack() as stack:
        first = [stack.enter_context(connect(server)) for _ in range(FEW)]
        more = [stack.enter_context(connect(server)) for _ in range(2 * FEW)]
        assert all(is_ended(connection) for connection in more)
        for connection in first:
            connection.sendall(HEAD + b"\r\n")
            assert b"200 OK" in answer_of(connection)


@pytest.mark.parametrize("sent", [b"", HEAD, BODY_TO_COME, ANSWERED_EARLY])
def test_who_sends_no_whole_request_in_time_makes_room_for_others(
    server: ServedRows, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.1)
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(FEW)]
        for connection in idle:
            connection.sendall(sent)
        assert all(is_ended(connection) for connection in idle)
        assert server.client.get("/livez").status_code == 200


def test_a_next_request_has_to_come_in_time_as_well(server: ServedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.1)
    with connect(server) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert b"200 OK" in answer_of(connection)
        connection.sendall(HEAD)
        assert is_ended(connection)


@contextmanager
def file_limit(soft: int) -> Iterator[int]:
    """Gives the hard limit."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def test_connections_take_half_of_the_files_at_most() -> None:
    with file_limit(1_024):
        assert most_connections() == 512


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    with file_limit(1_024) as hard:
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
