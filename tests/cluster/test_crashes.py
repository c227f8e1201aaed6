"""Controllers that die, at whatever moment, and a cluster or a clock that lets them down: the end is the same."""

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from controller import lease as leases
from controller.kubernetes.client import Cluster, Object
from controller.kubernetes.leading import cluster_controller
from controller.loop import Controller
from tests.cluster.cluster_runs import DEFAULTS, ClusterRun
from tests.cluster.commands import controller_command
from tests.cluster.installations import kubernetes_settings
from tests.libraries import write_broken, write_photos
from tests.local_runs import data_directory, running, wait_until
from tests.natural_keys import everything
from trainyard.database import Database

KILLS = 10
SEED = 20261126


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    photos = write_photos(tmp_path / "photos", 20)
    write_broken(photos)
    return photos


@pytest.fixture
def undisturbed(photos: Path) -> dict[str, Any]:
    """What the same session makes where nothing happens to it."""
    with data_directory() as data_dir, running(data_dir) as alone:
        alone.run(photos)
        return everything(alone)


class Died(BaseException):
    """Nothing of the controller is left, not even what it had just been answered."""


class MortalCluster(Cluster):
    """Whose user dies after anything it has changed, before it knows so."""

    def create(self, path: str, body: Object, dry_run: bool = False) -> Object:
        super().create(path, body, dry_run)
        raise Died(f"create {path}")

    def patch(self, path: str, *arguments: Any, **options: Any) -> Object:
        super().patch(path, *arguments, **options)
        raise Died(f"patch {path}")

    def delete(self, path: str, **options: Any) -> None:
        super().delete(path, **options)
        raise Died(f"delete {path}")


class MortalDatabase(Database):
    """Whose user dies after any commit that has changed something, the lease's aside."""

    def transact(self, work: Callable[[sa.Connection], Any]) -> Any:
        written: list[str] = []

        def watched(connection: sa.Connection) -> Any:
            @sa.event.listens_for(connection, "before_cursor_execute")
            def look(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
                if statement.lstrip()[:6] in {"INSERT", "UPDATE", "DELETE"} and "controller_lease" not in statement:
                    written.append(statement)

            return work(connection)

        answer = super().transact(watched)
        if written:
            raise Died(written[0])
        return answer


@contextmanager
def mortal_controller(run: ClusterRun) -> Iterator[Controller]:
    with (
        closing(MortalDatabase(run.database.url)) as database,
        closing(MortalCluster.connect(run.kubeconfig, run.namespace)) as cluster,
        cluster_controller(
            database,
            cluster,
            kubernetes_settings(run.namespace, parallelism=2),
            leases.take(run.database, "mortal", alone=True),
            defaults=DEFAULTS,
            period_seconds=0.2,
        ) as loop,
    ):
        yield loop


def live_and_die(run: ClusterRun, done: threading.Event) -> str:
    """One life of a controller; what it died of, nothing if it was still alive when all was done."""
    deaths: list[str] = []

    def live() -> None:
        try:
            loop.run()
        except Died as death:
            deaths.append(str(death))

    with mortal_controller(run) as loop:
        thread = threading.Thread(target=live)
        thread.start()
        wait_until(lambda: not thread.is_alive() or done.is_set(), "the controller to die")
        loop.stop()
        thread.join()
    return deaths[0] if deaths else ""


def test_a_controller_that_dies_after_everything_it_writes_comes_to_the_same_end(
    run: ClusterRun, photos: Path, undisturbed: dict[str, Any]
) -> None:
    done = threading.Event()
    deaths: list[str] = []

    def live() -> None:
        while not done.is_set():
            deaths.append(live_and_die(run, done))

    living = threading.Thread(target=live)
    living.start()
    try:
        let_go = run.pods.hold("embed")
        session_id = run.begin(photos)
        run.claimed(session_id, "embed")
        run.ask(session_id, "pause")
        run.until(session_id, "paused")
        let_go()
        run.ask(session_id, "resume")
        run.ended(session_id)
        run.completed(f"session-{session_id}")
        made = everything(run)
        run.delete(session_id)
        wait_until(lambda: run.resources() == [], "the resource to go with its session")
    finally:
        done.set()
        living.join()
    assert made == undisturbed
    assert run.engines.fake_clip.seen == 20
    run.at_rest()
    jobs, resources = f"/namespaces/{run.namespace}/jobs", f"/namespaces/{run.namespace}/trainingsessions"
    for kind in (f"create.*{jobs}", f"patch.*{jobs}", f"delete.*{jobs}", f"create.*{resources}", f"patch.*{resources}"):
        verb, path = kind.split(".*")
        assert any(death.startswith(verb) and path in death for death in deaths), kind
    for table in ("steps", "training_sessions", "shards"):
        assert any(table in death.split("SET")[0] for death in deaths), table


def test_a_controller_killed_at_any_moment_comes_to_the_same_end(
    run: ClusterRun, photos: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    moments = random.Random(SEED)
    midst = 0  # kills before the session had ended
    run.apply("killed", photos)
    for _ in range(KILLS):
        before = _term(run)
        run.expire_lease()
        with controller_command(run, tmp_path) as process:
            wait_until(lambda before=before: _term(run) > before, "the controller to lead")
            threading.Event().wait(moments.uniform(0.0, 1.5))  # the moment itself, nothing is waited for
            midst += not run.rows("SELECT 1 FROM training_sessions WHERE status = 'completed'")
            process.send_signal(signal.SIGKILL)
            process.wait()
    run.expire_lease()
    with controller_command(run, tmp_path):
        run.completed("killed")
    assert midst >= 3
    assert everything(run) == undisturbed
    assert run.engines.fake_clip.seen == 20
    assert len(run.resources()) == 1
    run.at_rest()


def _term(run: ClusterRun) -> int:
    return max((row.term for row in run.rows("SELECT term FROM controller_lease")), default=0)


def test_half_a_minute_without_the_api_server_costs_only_time(
    run: ClusterRun, photos: Path, undisturbed: dict[str, Any]
) -> None:
    let_go = run.pods.hold("embed")
    with run.controller(parallelism=1):
        run.apply("outage", photos)
        session_id = run.session_of("outage")
        run.claimed(session_id, "embed")
        with run.control_plane.outage():
            let_go()
            wait_until(lambda: run.all_shards_finished(session_id, "embed"), "the workers to go on meanwhile")
            threading.Event().wait(30.0)  # how long the outage lasts
            assert run.step(session_id, "embed").status == "running"
            assert run.overall(session_id) == "running"
        run.completed("outage")
    assert run.step(session_id, "embed").attempt == 1
    assert everything(run) == undisturbed


def test_a_database_restored_from_a_backup_takes_no_old_job_for_its_own(
    run: ClusterRun, photos: Path, undisturbed: dict[str, Any]
) -> None:
    """The backup is from before the session was asked for: its id, and its Jobs' names, are given out once more."""
    let_go = run.pods.hold("detect")
    with run.controller():
        run.claimed(run.begin(photos), "detect")
    before = {job["metadata"]["uid"] for job in run.jobs()}
    run.restore_empty_database()
    let_go()
    with run.controller():
        run.claimed(session_id := run.begin(photos), "discover")
        ended = run.ended(session_id)
        assert ended["overallStatus"] == "completed"
        run.completed(f"session-{session_id}-1")
        run.at_rest()
    assert session_id == 1
    assert everything(run) == undisturbed
    assert run.status("session-1")["conditions"][1]["reason"] == "SessionLost"
    ours = {row.job_uid for row in run.rows("SELECT job_uid FROM steps WHERE job_uid IS NOT NULL")}
    assert not before & ours


@pytest.mark.parametrize("minutes", [5, -5])
def test_clocks_minutes_apart_change_nothing(run: ClusterRun, photos: Path, minutes: int) -> None:
    """PostgreSQL's clock beside those of the API server and of the controller."""
    run.skew_database_clock(minutes)
    let_go = run.pods.hold("embed")
    with run.controller():
        run.apply("apart", photos)
        session_id = run.session_of("apart")
        run.claimed(session_id, "embed")
        run.suspend("apart", True)
        run.until(session_id, "paused")
        let_go()
        run.suspend("apart", False)
        run.completed("apart")
    assert run.step(session_id, "embed").failures == 0
    skewed = run.rows("SELECT extract(epoch FROM pg_catalog.clock_timestamp() - max(committed_at)) AS s FROM shards")
    assert abs(skewed[0].s + 60 * minutes) < 60  # the rows were written by the other clock
