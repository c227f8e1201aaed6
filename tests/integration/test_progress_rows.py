"""Progress from rows: what it costs for ten million images, what it adds up, and what weights it learns from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from tests.rows import add_jobs, add_session, add_step
from trainyard.lifecycle import NoSuchSession
from trainyard.progress import READ, read_progress
from trainyard.settings import DEFAULT_WEIGHTS
from trainyard.shards import cut_whole
from trainyard.tables import shards
from trainyard.weights import Rate, measured_rates

IMAGES, SHARDS, OTHER_SESSIONS = 10_000_000, 1_000, 20
MODELS = {"clip": {"id": 1}, "face": {"id": 2}, "device": "cpu"}
FILL = sa.text("""
    INSERT INTO shards (session_id, step, attempt, index, first, last, total, next, done, failed, claim,
                        claimed_at, committed_at)
    SELECT session_id, 'embed', attempt, index, index * 10000, index * 10000 + 9999, 10000, index * 10000,
           1000, 1, 1, now(), now()
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) session_id,
         generate_series(1, 2) attempt, generate_series(0, CAST(:shards AS integer) - 1) index
""")


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that is never committed."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def large_session(engine: sa.Engine) -> int:
    """Ten million images in the second attempt's 1,000 shards, among other such sessions; returns its id."""
    with engine.begin() as connection:
        ids = [add_large_session(connection) for _ in range(OTHER_SESSIONS)]
        connection.execute(FILL, {"first": ids[0], "last": ids[-1], "shards": SHARDS})
        add_jobs(connection, ids[7], "embed", 1000)
        for table in ("training_sessions", "steps", "shards", "training_jobs"):
            connection.execute(sa.text(f"ANALYZE {table}"))
    return ids[7]


def add_large_session(connection: sa.Connection) -> int:
    id = add_session(connection, weights=DEFAULT_WEIGHTS, status="running", started_at=sa.func.now(), total=IMAGES)
    add_step(connection, id, "discover", "completed", attempt=1, done=IMAGES)
    add_step(connection, id, "embed", "running", attempt=2, total=IMAGES, done=4_000_000, failed=40)
    add_step(connection, id, "detect", total=IMAGES)
    add_step(connection, id, "cluster")
    return id


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def scans(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The nodes of a query's plan that read a table."""
    if "Relation Name" in node:
        yield node
    for child in node.get("Plans", []):
        yield from scans(child)


def explain(connection: sa.Connection, session_id: int) -> list[Mapping[str, Any]]:
    analyzed = sa.text(f"EXPLAIN (ANALYZE, FORMAT JSON) {READ.text}")
    answer = connection.execute(analyzed, {"ids": [session_id]}).scalar_one()
    return list(scans(answer[0]["Plan"]))


def test_progress_of_ten_million_images_is_one_query(engine: sa.Engine, large_session: int) -> None:
    with engine.connect() as connection, statements(engine) as sent:
        seen = read_progress(connection, large_session)
    assert len(sent) == 1
    training = seen.phases["training"]
    assert (training.current, training.total, training.failed) == (5_000_000, IMAGES, 1_040)
    assert (training.percentage, seen.percentage) == (50.0, 15.0)
    assert seen.eta_seconds is not None


def test_progress_reads_sessions_steps_and_shards_only(connection: sa.Connection, large_session: int) -> None:
    assert {node["Relation Name"] for node in explain(connection, large_session)} == {
        "training_sessions",
        "steps",
        "shards",
    }


def test_progress_reads_no_shard_but_those_of_the_running_attempt(
    connection: sa.Connection, large_session: int
) -> None:
    read = [
        round(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
        for node in explain(connection, large_session)
        if node["Relation Name"] == "shards"
    ]
    assert sum(read) == SHARDS


def test_a_session_that_is_not_there_has_no_progress(connection: sa.Connection) -> None:
    deleted = add_session(connection, deleted_at=sa.func.now())
    for id in (deleted, deleted + 1):
        with pytest.raises(NoSuchSession, match=f"There is no session {id}"):
            read_progress(connection, id)


def test_a_session_just_made_has_progress(connection: sa.Connection) -> None:
    seen = read_progress(connection, add_session(connection))
    assert (seen.overall_status, seen.percentage, seen.eta_seconds, seen.steps) == ("pending", 0.0, None, {})


def test_what_a_session_waits_for_is_shown(connection: sa.Connection) -> None:
    id = add_session(connection, waiting_code="Queued", waiting_message="Session 1 first.", waiting_since=sa.func.now())
    waiting = read_progress(connection, id).waiting
    assert waiting is not None
    assert (waiting.code, waiting.message) == ("Queued", "Session 1 first.")
    assert waiting.since is not None


def test_a_discovery_that_begins_anew_counts_the_files_of_its_own_attempt(connection: sa.Connection) -> None:
    id = add_session(connection)
    add_step(connection, id, "discover", "running", attempt=2)
    for attempt, found in ((1, 700), (2, 30)):
        cut_whole(connection, id, "discover", attempt)
        key = (shards.c.session_id == id) & (shards.c.attempt == attempt)
        connection.execute(sa.update(shards).where(key).values(done=found))
    assert read_progress(connection, id).files_found == 30


def test_a_clustering_has_the_total_its_worker_found(connection: sa.Connection) -> None:
    id = add_session(connection, weights=DEFAULT_WEIGHTS, started_at=sa.func.now())
    add_step(connection, id, "cluster", "running", attempt=1)
    cut_whole(connection, id, "cluster", 1)
    assert read_progress(connection, id).phases["clustering"].percentage == 0.0
    connection.execute(sa.update(shards).where(shards.c.session_id == id).values(total=50, done=20))
    assert read_progress(connection, id).phases["clustering"].percentage == 40.0


# Rates, which make the weights of the next session


def add_measured(connection: sa.Connection, step: str, seconds: float, total: int, **columns: Any) -> None:
    models = columns.pop("models", MODELS)
    id = add_session(connection, models=models)
    add_step(connection, id, step, columns.pop("status", "completed"), seconds=seconds, total=total, **columns)


def test_rates_are_those_of_the_last_five_sessions(connection: sa.Connection) -> None:
    add_measured(connection, "embed", 9_000.0, 100)
    for _ in range(5):
        add_measured(connection, "embed", 5.0, 100)
    add_measured(connection, "detect", 50.0, 100, counts={"faces": 250}, worker_seconds=400.0)
    assert measured_rates(connection, MODELS) == {
        "training": Rate(0.05),
        "faceDetection": Rate(0.5, faces_per_unit=2.5, worker_seconds_per_unit=4.0),
        "clustering": None,
    }


def test_photos_that_cost_nothing_are_not_measured(connection: sa.Connection) -> None:
    add_measured(connection, "embed", 5.0, 100, counts={"unchanged": 50})
    assert measured_rates(connection, MODELS)["training"] == Rate(0.1)


@pytest.mark.parametrize(
    "other",
    [
        {"models": {**MODELS, "device": "cuda"}},
        {"models": {**MODELS, "clip": {"id": 9}}},
        {"status": "failed"},
        {"total": 15},
        {"seconds": 0.0},
    ],
    ids=["device", "model", "failed", "too-few-photos", "no-time"],
)
def test_other_sessions_say_nothing_about_this_one(connection: sa.Connection, other: dict[str, Any]) -> None:
    add_measured(connection, "embed", **{"seconds": 5.0, "total": 100, **other})
    assert measured_rates(connection, MODELS)["training"] is None


def test_a_session_without_faces_measures_no_faces(connection: sa.Connection) -> None:
    add_measured(connection, "embed", 5.0, 100)
    without = {**MODELS, "face": None}
    assert measured_rates(connection, without)["faceDetection"] is None
    assert measured_rates(connection, without)["training"] == Rate(0.05)
