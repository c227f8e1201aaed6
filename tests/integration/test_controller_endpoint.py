"""/livez, /readyz and /metrics of a controller on a real database, over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from controller import lease as leases
from controller import standby
from controller.apply import Applier
from controller.backend import BackendUnavailable, JobSpec, JobState, ObservedJob
from controller.endpoint import Endpoint
from controller.health import AWAY, Health
from controller.lease import LEASE_SECONDS, Lease
from controller.loop import Controller, run_pass
from controller.metrics import JOB_STATES, SHARD_STATES, Metrics
from controller.serving import listen, serving, url_of
from tests.local_runs import LONGEST_WAIT_SECONDS, wait_until
from tests.rows import add_jobs, add_session, add_step
from tests.scripted_jobs import ScriptedJobs
from tests.served_rows import unreachable
from trainyard import shards
from trainyard.database import Database
from trainyard.shards import ShardKey
from trainyard.steps import STEPS
from trainyard.tables import controller_lease
from trainyard.tables import shards as shards_table

PREFIX = "trainyard_controller_"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@dataclass(frozen=True)
class Served:
    endpoint: Endpoint
    client: httpx.Client

    def ask(self, page: str) -> tuple[int, str]:
        answer = self.client.get(page)
        return answer.status_code, answer.text.rstrip()

    def becomes_ready(self) -> None:
        wait_until(lambda: self.ask("/readyz") == (200, "ok"), "the controller to be ready")

    def metric(self, name: str, **labels: str) -> float:
        return value(parsed(self.client.get("/metrics").text), name, **labels)


class Jobs(ScriptedJobs):
    """Whose machines can be away."""

    away = False

    def observe(self) -> list[ObservedJob]:
        if self.away:
            raise BackendUnavailable("list jobs: token=secret is refused.")
        return super().observe()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as made:
        yield made


@pytest.fixture
def served() -> Iterator[Served]:
    endpoint = Endpoint()
    with (
        listen("127.0.0.1", 0) as bound,
        serving(bound, endpoint.routes()),
        httpx.Client(base_url=url_of(bound), timeout=LONGEST_WAIT_SECONDS) as client,
    ):
        yield Served(endpoint, client)


@contextmanager
def standing_by(database: Database, served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Lease | None]]:
    """While another one leads; what became of the wait once it has ended."""
    monkeypatch.setattr(standby, "TRY_AGAIN_SECONDS", 0.02)
    leases.take(database, "another")
    stop, found = threading.Event(), list[Lease | None]()

    def wait() -> None:
        found.append(standby.wait_for_lease(database, "me", stop, served.endpoint.tell))

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


@contextmanager
def leading(database: Database, served: Served, jobs: ScriptedJobs) -> Iterator[Controller]:
    def lead() -> Lease:
        return leases.take(database, "me", alone=True)

    loop = Controller(database, jobs, lead(), period_seconds=0.05, regain=lead, tell=served.endpoint.tell)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield loop
    finally:
        loop.stop()
        thread.join()


def test_before_it_has_asked_for_the_lease_it_lives_and_is_not_ready(served: Served) -> None:
    assert served.ask("/livez") == (200, "ok")
    assert served.ask("/readyz") == (503, "The first try for the lease has not ended yet.")
    assert served.metric("leader") == 0


def test_a_standby_is_ready_and_does_not_lead(
    database: Database, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing_by(database, served, monkeypatch) as found:
        served.becomes_ready()
        assert served.ask("/livez") == (200, "ok")
        assert [served.metric(name) for name in ("leader", "term", "lease_seconds")] == [0, 0, 0]
        ended = sa.update(controller_lease).values(expires_at=sa.func.clock_timestamp())
        database.transact(lambda c: c.execute(ended))
        wait_until(lambda: found == [Lease("me", 2)], "it to lead")


def test_a_standby_waits_an_outage_of_the_database_out(
    postgres_url: str, database: Database, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing_by(database, served, monkeypatch):
        served.becomes_ready()
        with unreachable(postgres_url, database):
            wait_until(lambda: served.ask("/readyz") == (503, AWAY["database_away"]), "it to miss the database")
            assert served.ask("/livez") == (200, "ok")
        served.becomes_ready()


def test_a_leader_is_ready_and_says_its_term(database: Database, served: Served) -> None:
    with leading(database, served, ScriptedJobs()) as loop:
        served.becomes_ready()
        assert served.ask("/livez") == (200, "ok")
        assert [served.metric("leader"), served.metric("term")] == [1, loop.lease.term]
        assert 0 < served.metric("lease_seconds") <= LEASE_SECONDS
        assert served.metric("passes_total", outcome="ok") >= 1
        assert served.metric("pass_seconds_count") >= 1


def test_a_leader_without_its_database_lives_and_is_not_ready(
    postgres_url: str, database: Database, served: Served
) -> None:
    with leading(database, served, ScriptedJobs()):
        served.becomes_ready()
        with unreachable(postgres_url, database):
            wait_until(lambda: served.ask("/readyz") == (503, AWAY["database_away"]), "it to miss the database")
            assert served.ask("/livez") == (200, "ok")
            assert served.metric("passes_total", outcome="database_away") >= 1
        served.becomes_ready()


def test_a_leader_whose_jobs_cannot_be_asked_for_lives_and_is_not_ready(database: Database, served: Served) -> None:
    jobs = Jobs()
    with leading(database, served, jobs):
        served.becomes_ready()
        jobs.away = True
        wait_until(lambda: served.ask("/readyz") == (503, AWAY["backend_away"]), "it to miss the Jobs")
        assert served.ask("/livez") == (200, "ok")
        assert served.metric("passes_total", outcome="backend_away") >= 1
        jobs.away = False
        served.becomes_ready()


def test_what_runs_the_jobs_has_a_word_in_readiness_and_metrics(database: Database, served: Served) -> None:
    class Watches(Collector):
        def collect(self) -> Iterator[Metric]:
            yield GaugeMetricFamily("trainyard_controller_watches", "How many there are.", 2)

    trouble: list[str] = ["Not all is listed."]
    with leading(database, served, ScriptedJobs()):
        served.becomes_ready()
        served.endpoint.include(Watches(), lambda: trouble[0] if trouble else None)
        assert served.metric("watches") == 2
        assert served.ask("/readyz") == (503, "Not all is listed.")
        assert served.ask("/livez") == (200, "ok")
        trouble.clear()
        assert served.ask("/readyz") == (200, "ok")


# What metrics say of a pass


class Passes:
    """Passes made by hand at times of a clock that a test sets, over one session whose embed runs in two shards."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = 100.0
        self.jobs = ScriptedJobs()
        self.registry = CollectorRegistry()
        health = Health(lambda: self.now)
        self.metrics = Metrics(self.registry, health, lambda: self.now)
        self.applier = Applier(database, self.jobs, leases.take(database, "me"))
        self.session = database.transact(self._begin)
        self.add_job("running")

    def _begin(self, connection: sa.Connection) -> int:
        id = add_session(connection, status="running", total=40, started_at=sa.func.now(), options={"faces": False})
        add_step(connection, id, "discover", "completed", total=40, done=40, attempt=1)
        add_step(connection, id, "embed", "running", total=40, done=3, attempt=1, job_token="t", job_uid="mine")
        add_jobs(connection, id, "embed", 40)
        shards.cut(connection, id, "embed", 1, 2)
        return id

    def add_job(self, state: JobState) -> None:
        self.jobs.jobs["mine"] = ObservedJob(JobSpec(self.session, "embed", 1, 2, "t"), "mine", state)

    def claim(self, index: int) -> None:
        key = ShardKey(self.session, "embed", 1, index)
        self.database.transact(lambda c: shards.claim(c, key, "worker"))

    def commit(self, **columns: Any) -> None:
        """Of both shards."""
        self.database.transact(lambda c: c.execute(sa.update(shards_table).values(**columns)))

    def look(self, seconds_later: float = 0.0) -> Samples:
        self.now += seconds_later
        run_pass(self.database, self.jobs, self.applier, 1500, self.metrics.tell)
        return self.scrape()

    def scrape(self) -> Samples:
        return parsed(generate_latest(self.registry).decode())


@pytest.fixture
def passes(database: Database) -> Passes:
    return Passes(database)


def of(samples: Samples, name: str) -> dict[tuple[str, str], float]:
    """By step and state."""
    return {
        (dict(labels)["step"], dict(labels)["state"]): number
        for (found, labels), number in samples.items()
        if found == name
    }


def test_before_the_first_pass_every_step_and_state_is_there_with_none(passes: Passes) -> None:
    samples = passes.scrape()
    assert of(samples, "jobs") == {(step, state): 0 for step in STEPS for state in JOB_STATES}
    assert of(samples, "shards") == {(step, state): 0 for step in STEPS for state in SHARD_STATES}
    assert [value(samples, "images_per_second", step=step) for step in STEPS] == [0] * len(STEPS)
    outcomes = ("ok", "backend_away", "database_away")
    assert [value(samples, "passes_total", outcome=outcome) for outcome in outcomes] == [0, 0, 0]


def test_jobs_are_counted_as_the_last_pass_saw_them(passes: Passes) -> None:
    none = {(step, state): 0 for step in STEPS for state in JOB_STATES}
    assert of(passes.look(), "jobs") == {**none, ("embed", "running"): 1}
    passes.add_job("stopping")
    assert of(passes.look(), "jobs") == {**none, ("embed", "stopping"): 1}


def test_shards_wait_then_run_then_are_finished(passes: Passes) -> None:
    none = {(step, state): 0 for step in STEPS for state in SHARD_STATES}
    assert of(passes.look(), "shards") == {**none, ("embed", "waiting"): 2}
    passes.claim(0)
    assert of(passes.look(), "shards") == {**none, ("embed", "waiting"): 1, ("embed", "running"): 1}
    passes.claim(1)
    passes.commit(finished_at=sa.func.now())
    assert of(passes.look(), "shards") == {**none, ("embed", "finished"): 2}


def test_images_per_second_are_those_of_all_shards_between_passes(passes: Passes) -> None:
    passes.look()
    passes.commit(done=10)
    samples = passes.look(seconds_later=5)
    assert value(samples, "images_per_second", step="embed") == 4.0
    assert value(samples, "images_per_second", step="detect") == 0.0


def test_metrics_cost_a_pass_no_query(passes: Passes) -> None:
    statements: list[str] = []
    sa.event.listen(
        passes.database.engine, "before_cursor_execute", lambda c, cursor, statement, *_: statements.append(statement)
    )
    run_pass(passes.database, passes.jobs, passes.applier, 1500)
    alone = len(statements)
    passes.look()
    assert len(statements) == 2 * alone
