"""Live events over HTTP: what is sent, when it ends, and what many, slow and vanishing clients cost."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from api import stream
from api.app import CONNECTIONS
from api.tokens import SIGNED_IN_SECONDS
from tests.libraries import write_photos
from tests.local_runs import LONGEST_WAIT_SECONDS, data_directory, wait_until
from tests.served import served
from tests.served_rows import ServedRows, served_rows, unreachable

READ_SECONDS = stream.READ_SECONDS
CLIENTS = 100
TOKEN = "operators-own-token"
ANNOUNCED = 8 * 2**20  # characters: more than the buffers between a server and a client who does not read


@dataclass(frozen=True)
class Event:
    """A block of a stream: an event, or what comes between."""

    fields: dict[str, str]

    @property
    def data(self) -> str:
        return self.fields["data"]

    @property
    def id(self) -> int:
        return int(self.fields["id"])


@dataclass
class Listening:
    """A client's end of a stream."""

    answer: httpx.Response
    blocks: Iterator[Event]

    def next(self) -> Event:
        """The next event, whatever comes before it."""
        return next(block for block in self.blocks if "data" in block.fields)

    def rest(self) -> list[str]:
        """The data of all events until the server ends the stream."""
        return [block.data for block in self.blocks if "data" in block.fields]


def parse(block: str) -> Event:
    return Event(dict(line.split(": ", 1) for line in block.splitlines()))


def blocks(answer: httpx.Response) -> Iterator[Event]:
    lines: list[str] = []
    for line in answer.iter_lines():
        if line:
            lines.append(line)
        elif lines:
            yield parse("\n".join(lines))
            lines = []


def path(session_id: int) -> str:
    return f"/api/v1/training/sessions/{session_id}/events"


@contextmanager
def listening(server: Any, session_id: int) -> Iterator[Listening]:
    with server.client.stream("GET", path(session_id)) as answer:
        assert answer.status_code == 200
        yield Listening(answer, blocks(answer))


@contextmanager
def reads(server: ServedRows) -> Iterator[list[str]]:
    """The statements that the server sends meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    engine = server.services.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def wait_for_reads(server: ServedRows, count: int) -> None:
    with reads(server) as sent:
        wait_until(lambda: len(sent) >= count, f"{count} looks at the session")


@pytest.fixture
def every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are read as seldom as they really are."""
    monkeypatch.setattr(stream, "READ_SECONDS", READ_SECONDS)


@pytest.fixture(autouse=True)
def quick_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "READ_SECONDS", 0.02)


@pytest.fixture(scope="module")
def shared(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedRows]:
    with served_rows(module_database_url, tmp_path_factory.mktemp("data")) as found:
        yield found


@pytest.fixture
def server(shared: ServedRows) -> ServedRows:
    """A server that nobody watches yet."""
    wait_until(lambda: shared.services.stream.watchers == 0, "the clients of other tests to be forgotten")
    return shared


# What is sent


def test_an_event_is_the_unified_progress_byte_for_byte(server: ServedRows) -> None:
    columns = {"waiting_code": "StorageUnavailable", "waiting_message": "Größe “x” \\ </script>\n\x07 ☃ 𝄞"}
    session = server.add(status="running", waiting_since=sa.func.now(), **columns)
    with listening(server, session) as client:
        event = client.next()
    assert event.fields["event"] == "progress"
    assert event.data.encode() == server.progress(session).content


def test_a_stream_says_what_it_is_and_when_to_come_back(server: ServedRows) -> None:
    with listening(server, server.add()) as client:
        assert client.answer.headers["content-type"].startswith("text/event-stream")
        assert client.answer.headers["cache-control"] == "no-store"
        assert client.answer.headers["x-accel-buffering"] == "no"
        assert next(client.blocks).fields == {"retry": "2000"}


def test_only_what_has_changed_is_sent_and_ids_grow(server: ServedRows) -> None:
    session = server.add()
    with listening(server, session) as client:
        first = client.next()
        wait_for_reads(server, 2)
        server.change(session, status="running")
        second = client.next()
        assert '"overallStatus":"pending"' in first.data
        assert second.data.encode() == server.progress(session).content
        assert second.id > first.id
    with listening(server, session) as again:
        assert again.next().id >= second.id


def test_a_silent_stream_is_kept_alive(server: ServedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.01)
    with server.client.stream("GET", path(server.add())) as answer:
        lines = answer.iter_lines()
        assert ": ping" in lines
        assert ": ping" in lines


def test_events_are_documented(server: ServedRows) -> None:
    described = server.client.get("/openapi.json").json()["paths"]["/api/v1/training/sessions/{session_id}/events"]
    assert "text/event-stream" in described["get"]["responses"]["200"]["content"]
    assert "application/problem+json" in described["get"]["responses"]["404"]["content"]


# When it ends


def test_a_stream_ends_with_the_final_state(server: ServedRows) -> None:
    session = server.add(status="running")
    with listening(server, session) as client:
        client.next()
        server.change(session, status="completed")
        assert [data.encode() for data in client.rest()] == [server.progress(session).content]


def test_a_session_that_has_ended_is_one_event(server: ServedRows) -> None:
    session = server.add(status="failed")
    with listening(server, session) as client:
        assert [data.encode() for data in client.rest()] == [server.progress(session).content]


def test_a_stream_outlives_the_failure_that_is_about_to_be_retried(server: ServedRows) -> None:
    session = server.add(status="failed", retry_requested_at=sa.func.now())
    with listening(server, session) as client:
        assert '"overallStatus":"failed"' in client.next().data
        wait_for_reads(server, 4)
        server.change(session, status="running", retry_seen_at=sa.func.now())
        assert '"overallStatus":"running"' in client.next().data
        server.change(session, status="completed")
        assert len(client.rest()) == 1


def test_who_comes_back_after_a_retry_does_not_see_the_end_before_it(server: ServedRows, every_second: None) -> None:
    session = server.add(status="failed")
    with listening(server, session) as client:
        client.rest()
    server.change(session, status="running")
    with listening(server, session) as again:
        assert '"overallStatus":"running"' in again.next().data
        server.change(session, status="completed")
        assert len(again.rest()) == 1


def test_a_deleted_session_ends_its_streams(server: ServedRows) -> None:
    session = server.add()
    with listening(server, session) as client:
        client.next()
        server.change(session, deleted_at=sa.func.now())
        assert client.rest() == []


@pytest.mark.parametrize("deleted_at", [None, sa.func.now()])
def test_a_session_that_is_not_there_is_a_problem(server: ServedRows, deleted_at: Any) -> None:
    session = server.add(deleted_at=deleted_at)
    answer = server.client.get(path(session if deleted_at is not None else session + 1))
    assert (answer.status_code, answer.json()["code"]) == (404, "NoSuchSession")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.fixture
def guarded(database_url: str, tmp_path: Path) -> Iterator[ServedRows]:
    """A server with a token, whose client has signed in with it."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"operator {TOKEN}\n")
    with served_rows(database_url, tmp_path / "data", tokens_file=tokens) as server:
        assert server.client.post("/api/v1/sign-in", json={"token": TOKEN}).status_code == 204
        yield server


@pytest.mark.parametrize("with_token", [True, False])
def test_a_stream_ends_before_its_next_event_once_its_token_is_gone(
    guarded: ServedRows, tmp_path: Path, with_token: bool
) -> None:
    if with_token:
        guarded.client.cookies.clear()
        guarded.client.headers["Authorization"] = f"Bearer {TOKEN}"
    session = guarded.add()
    with listening(guarded, session) as client:
        client.next()
        guarded.change(session, status="running")
        assert '"overallStatus":"running"' in client.next().data
        (tmp_path / "tokens").write_text("operator another-operators-token\n")
        guarded.change(session, waiting_code="Unseen", waiting_message="")
        assert client.rest() == []


def test_a_stream_ends_with_its_sign_in_though_nothing_changes(
    guarded: ServedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.01)
    with listening(guarded, guarded.add()) as client:
        client.next()
        monkeypatch.setattr(guarded.services.tokens, "_clock", lambda: time.time() + SIGNED_IN_SECONDS)
        assert client.rest() == []


def test_a_server_that_stops_ends_its_streams_in_order(database_url: str, tmp_path: Path) -> None:
    with httpx.Client(timeout=LONGEST_WAIT_SECONDS) as client:
        with served_rows(database_url, tmp_path) as server:
            request = client.build_request("GET", server.url + path(server.add()))
            received = blocks(client.send(request, stream=True))
            assert next(received).fields == {"retry": "2000"}
            assert '"overallStatus":"pending"' in next(received).data
        assert list(received) == []  # of a stream that is cut off, httpx says so


# What it costs


async def listeners(server: ServedRows, session_id: int, count: int, stack: AsyncExitStack) -> list[AsyncIterator[str]]:
    """That many open streams, each past its first event."""
    limits = httpx.Limits(max_connections=None)
    client = await stack.enter_async_context(
        httpx.AsyncClient(base_url=server.url, timeout=LONGEST_WAIT_SECONDS, limits=limits)
    )
    answers = [await stack.enter_async_context(client.stream("GET", path(session_id))) for _ in range(count)]
    assert {answer.status_code for answer in answers} == {200}
    lines = [answer.aiter_lines() for answer in answers]
    await asyncio.gather(*(data_of(line) for line in lines))
    return lines


async def data_of(lines: AsyncIterator[str]) -> str:
    """The next event's data."""
    async for line in lines:
        if line.startswith("data: "):
            return line.removeprefix("data: ")
    raise AssertionError("the stream ended")


def test_a_hundred_clients_cost_one_read_a_second(server: ServedRows, every_second: None) -> None:
    session = server.add()

    async def watch() -> None:
        async with AsyncExitStack() as stack:
            clients = await listeners(server, session, CLIENTS, stack)
            assert server.services.stream.watchers == CLIENTS
            for total in range(3):
                await asyncio.to_thread(server.change, session, waiting_code=f"Wait{total}", waiting_message="")
                for seen in await asyncio.gather(*(data_of(client) for client in clients)):
                    assert f'"Wait{total}"' in seen

    with reads(server) as sent:
        begun = time.monotonic()
        asyncio.run(watch())
        looks = [statement for statement in sent if "UPDATE" not in statement]
        assert 3 < len(looks) <= time.monotonic() - begun + 1


def test_idle_streams_hold_no_thread(server: ServedRows) -> None:
    session = server.add()

    async def watch() -> None:
        async with AsyncExitStack() as stack:
            await listeners(server, session, 2 * CONNECTIONS, stack)
            assert (await asyncio.to_thread(server.progress, session)).status_code == 200

    asyncio.run(watch())


def test_a_client_that_does_not_read_holds_up_nobody(server: ServedRows) -> None:
    session = server.add(waiting_code="Wait0", waiting_message="x" * ANNOUNCED)
    with slow_client(server, session) as slow, listening(server, session) as fast:
        wait_until(lambda: server.services.stream.watchers == 2, "both to watch")
        assert '"Wait0"' in fast.next().data
        for number in range(1, 4):
            server.change(session, waiting_code=f"Wait{number}")
            assert f'"Wait{number}"' in fast.next().data
        server.change(session, status="completed", waiting_code="Wait4")
        assert len(fast.rest()) == 1
        seen = read_to_the_end(slow)
    codes = [f"Wait{number}" for number in range(5) if f'"code":"Wait{number}"'.encode() in seen]
    assert codes == ["Wait0", "Wait1", "Wait4"]  # the second was on its way already; those between are passed over


@contextmanager
def slow_client(server: ServedRows, session_id: int) -> Iterator[socket.socket]:
    """A client that has asked for the stream and reads nothing yet."""
    url = httpx.URL(server.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        connection.connect((url.host, url.port))
        connection.sendall(f"GET {path(session_id)} HTTP/1.1\r\nHost: {url.host}\r\nConnection: close\r\n\r\n".encode())
        wait_until(lambda: server.services.stream.watchers == 1, "the slow client to watch")
        yield connection


def read_to_the_end(connection: socket.socket) -> bytes:
    received = bytearray()
    while chunk := connection.recv(2**20):
        received += chunk
    return bytes(received)


def test_a_client_that_goes_is_forgotten(server: ServedRows) -> None:
    live = server.services.stream
    session = server.add()
    with listening(server, session) as client:
        client.next()
        assert live.watchers == 1
    wait_until(lambda: live.watchers == 0, "the client to be forgotten")
    with reads(server) as sent:
        wait_until(lambda: not live._watched, "the reader to end")
        assert len(sent) <= 1


# When the database goes


def status_of(server: ServedRows, session_id: int) -> int:
    with server.client.stream("GET", path(session_id)) as answer:
        return answer.status_code


def test_streams_outlive_a_lost_database(server: ServedRows, postgres_url: str) -> None:
    session = server.add()
    with listening(server, session) as client:
        client.next()
        with unreachable(postgres_url, server.services.database):
            wait_until(lambda: status_of(server, session) == 503, "those who come now to be told")
        server.change(session, status="completed")
        assert [data.encode() for data in client.rest()] == [server.progress(session).content]


# A real session


def test_a_session_is_followed_from_its_first_photo_to_its_end(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 24)
    with data_directory() as data_dir, served(data_dir, tmp_path) as server:
        session = server.create(tmp_path / "photos")
        with listening(server, session) as client:
            seen = [block for block in client.blocks if "data" in block.fields]
        final = server.client.get(f"/api/v1/training/sessions/{session}/progress-unified")
    assert seen[-1].data.encode() == final.content
    assert final.json()["overallProgress"]["percentage"] == 100
    assert [event.id for event in seen] == sorted({event.id for event in seen})
