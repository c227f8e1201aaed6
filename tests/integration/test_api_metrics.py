"""Metrics over HTTP, as Prometheus reads them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from controller import lease
from tests.local_runs import wait_until
from tests.rows import add_jobs, add_step
from tests.served_rows import ServedRows, served_rows, unreachable
from trainyard.shards import cut
from trainyard.tables import controller_lease, shards

Labels = frozenset[tuple[str, str]]


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ServedRows]:
    with served_rows(database_url, tmp_path) as found:
        yield found


def scrape(server: ServedRows) -> dict[tuple[str, Labels], float]:
    answer = server.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.text))
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(server: ServedRows, name: str, **labels: str) -> float | None:
    return scrape(server).get((name, frozenset(labels.items())))


def test_sessions_are_counted_by_status_and_by_what_they_wait_for(server: ServedRows) -> None:
    server.add(status="running")
    server.add(status="running", waiting_code="Queued", waiting_message="Session 1 first.")
    server.add(status="failed", waiting_code="Queued", waiting_message="Left behind.")
    server.add(status="completed", deleted_at=sa.func.now())
    seen = scrape(server)
    by_status = {
        dict(labels)["status"]: count for (name, labels), count in seen.items() if name == "trainyard_sessions"
    }
    none = dict.fromkeys(("pending", "paused", "completed", "cancelled"), 0)
    assert by_status == {**none, "running": 2, "failed": 1}
    waiting = {labels: count for (name, labels), count in seen.items() if name == "trainyard_waiting_sessions"}
    assert waiting == {frozenset({("code", "Queued")}): 1}
    assert seen["trainyard_up", frozenset()] == 1


def test_images_and_faces_are_counted_while_they_are_worked_on(server: ServedRows) -> None:
    with server.services.database.engine.begin() as connection:
        session = server.add(status="running", total=100)
        add_step(connection, session, "embed", "completed", total=100, done=100, failed=3, attempt=1)
        add_step(
            connection, session, "detect", "running", total=100, done=40, failed=2, attempt=2, counts={"faces": 60}
        )
        add_jobs(connection, session, "detect", 4)
        cut(connection, session, "detect", 2, 2)
        connection.execute(sa.update(shards).values(done=10, failed=1, counts={"faces": 9}))
        connection.execute(sa.update(shards).where(shards.c.index == 1).values(done=5, failed=0, counts={}))
    seen = scrape(server)
    images = {
        (dict(labels)["phase"], dict(labels)["outcome"]): count
        for (name, labels), count in seen.items()
        if name == "trainyard_images"
    }
    assert images == {
        ("training", "processed"): 97,
        ("training", "failed"): 3,
        ("faceDetection", "processed"): 52,
        ("faceDetection", "failed"): 3,
    }
    assert seen["trainyard_faces", frozenset()] == 69


def test_groups_of_people_are_those_of_the_latest_clustering(server: ServedRows) -> None:
    with server.services.database.engine.begin() as connection:
        for groups, day in ((8, "2026-01-02"), (5, "2026-01-01")):
            counts = {"groups": groups, "clusters": 1}
            add_step(connection, server.add(), "cluster", "completed", counts=counts, completed_at=day)
    assert value(server, "trainyard_face_groups") == 8


def test_whether_a_controller_leads_is_told(server: ServedRows) -> None:
    assert value(server, "trainyard_controller_leads") == 0
    lease.take(server.services.database, "a")
    wait_until(lambda: value(server, "trainyard_controller_leads") == 1, "a controller to lead")
    assert value(server, "trainyard_controller_lapsed_seconds") == 0
    expired = sa.func.clock_timestamp() - sa.text("interval '1 hour'")
    with server.services.database.engine.begin() as connection:
        connection.execute(sa.update(controller_lease).values(expires_at=expired))
    wait_until(lambda: value(server, "trainyard_controller_leads") == 0, "nobody to lead")
    lapsed = value(server, "trainyard_controller_lapsed_seconds")
    assert lapsed is not None
    assert lapsed >= 3600


def test_requests_are_counted_by_route_never_by_path(server: ServedRows) -> None:
    session = server.add()
    for id in (session, session, session + 1):
        server.client.get(f"/api/v1/training/sessions/{id}")
    server.client.get("/no/such/place")
    server.client.request("BREW", "/pot")
    seen = scrape(server)
    route = "/api/v1/training/sessions/{session_id}"
    counted = "trainyard_http_requests_total"

    def requests(method: str, route: str, status: str) -> float:
        return seen[counted, frozenset({("method", method), ("route", route), ("status", status)})]

    assert requests("GET", route, "200") == 2
    assert requests("GET", route, "404") == 1
    assert requests("GET", "unmatched", "404") == 1
    assert sum(n for (name, labels), n in seen.items() if name == counted and ("method", "other") in labels) == 1
    assert seen["trainyard_http_request_seconds_count", frozenset({("route", route)})] == 3
    routes = {dict(labels)["route"] for name, labels in seen if name == counted}
    assert not any(part in route for route in routes for part in (str(session + 1), "/no/such", "/pot"))


def test_watchers_of_events_are_counted(server: ServedRows) -> None:
    session = server.add()
    with server.client.stream("GET", f"/api/v1/training/sessions/{session}/events") as answer:
        assert answer.status_code == 200
        assert value(server, "trainyard_event_watchers") == 1


def test_a_lost_database_is_told_by_metrics_that_still_answer(server: ServedRows, postgres_url: str) -> None:
    with unreachable(postgres_url, server.services.database):
        seen = scrape(server)
    assert seen["trainyard_up", frozenset()] == 0
    assert not any(name == "trainyard_sessions" for name, _ in seen)
    wait_until(lambda: value(server, "trainyard_up") == 1, "the database to be back")


def test_two_servers_in_one_process_count_apart(server: ServedRows, database_url: str, tmp_path: Path) -> None:
    server.client.get("/livez")
    with served_rows(database_url, tmp_path / "other") as other:
        labels = {"method": "GET", "route": "/livez", "status": "200"}
        assert value(other, "trainyard_http_requests_total", **labels) is None
        assert value(server, "trainyard_http_requests_total", **labels) == 1
