"""Whether the process lives and whether it is ready, as seen by whoever starts, stops and routes to it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from api import single_flight
from api.app import THREADS
from api.routes import progress
from tests.local_runs import wait_until
from tests.served_rows import ServedRows, served_rows, unreachable
from trainyard.lifecycle import NoSuchSession
from trainyard.vectors import VectorsUnavailable


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ServedRows]:
    with served_rows(database_url, tmp_path) as found:
        yield found


def failing(server: ServedRows) -> dict[str, str]:
    """The messages of the checks that fail, by name; the answer is a 503 that says so."""
    answer = server.client.get("/readyz")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (503, "unavailable")
    assert set(body["checks"]) == {"database", "schema", "vectors"}
    return {name: check["message"] for name, check in body["checks"].items() if not check["ok"]}


def test_a_server_with_its_stores_is_ready(server: ServedRows) -> None:
    answer = server.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "status": "ok",
        "checks": {name: {"ok": True, "message": "ok"} for name in ("database", "schema", "vectors")},
    }


def test_a_lost_database_is_not_ready_but_alive(server: ServedRows, postgres_url: str) -> None:
    with unreachable(postgres_url, server.services.database):
        messages = failing(server)
        assert server.client.get("/livez").json() == {"status": "ok"}
    assert set(messages) == {"database", "schema"}
    assert "TRAINYARD_DATABASE_URL" in messages["database"]
    assert str(sa.make_url(server.services.database.url).database) not in str(messages)
    wait_until(lambda: server.client.get("/readyz").status_code == 200, "the server to be ready again")


def test_an_older_schema_is_not_ready_and_says_what_to_do(server: ServedRows) -> None:
    with server.services.database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    messages = failing(server)
    assert set(messages) == {"schema"}
    assert "0001" in messages["schema"]
    assert "trainyard migrate" in messages["schema"]


def test_lost_vectors_are_not_ready_and_no_key_is_told(server: ServedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise VectorsUnavailable("The Qdrant server http://user:secret@qdrant does not take requests")

    monkeypatch.setattr(server.services.vectors, "ping", lost)
    messages = failing(server)
    assert set(messages) == {"vectors"}
    assert "secret" not in messages["vectors"]


def test_a_store_that_hangs_is_not_ready_and_holds_one_thread(
    server: ServedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, looks = threading.Event(), []

    def hang(*_: Any) -> None:
        looks.append(threading.current_thread())
        assert go_on.wait(120)

    monkeypatch.setattr(server.services.vectors, "ping", hang)
    monkeypatch.setattr(single_flight, "LONGEST_SECONDS", 0.05)
    try:
        assert [set(failing(server)) & {"vectors"} for _ in range(3)] == [{"vectors"}] * 3
        assert len(looks) == 1
    finally:
        go_on.set()


def test_checks_are_answered_though_every_thread_of_the_routes_hangs(
    server: ServedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, hanging = threading.Event(), threading.Semaphore(0)

    def hang(*_: Any) -> Any:
        hanging.release()
        assert go_on.wait(120)
        raise NoSuchSession(1)

    monkeypatch.setattr(progress, "read_progress", hang)
    with ThreadPoolExecutor(THREADS) as clients:
        asked = [clients.submit(server.progress, 1) for _ in range(THREADS)]
        try:
            assert all(hanging.acquire(timeout=60) for _ in range(THREADS))
            assert server.client.get("/readyz").status_code == 200
            assert "trainyard_up 1.0" in server.client.get("/metrics").text
        finally:
            go_on.set()
        assert {answer.result().status_code for answer in asked} == {404}
