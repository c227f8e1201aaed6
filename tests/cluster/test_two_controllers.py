"""Two controllers of one installation: one leads; one that was frozen and is overtaken does no harm when it thaws."""

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller import lease as leases
from controller.kubernetes.client import Cluster
from controller.kubernetes.leading import cluster_controller
from controller.kubernetes.transport import Request
from controller.lease import LEASE_SECONDS, LeaseLost
from controller.loop import Controller
from tests.cluster.cluster_runs import DEFAULTS, PERIOD_SECONDS, ClusterRun
from tests.cluster.commands import controller_command
from tests.cluster.installations import kubernetes_settings
from tests.libraries import write_photos
from tests.local_runs import wait_until


@dataclass
class Freezer:
    """Holds a controller up in the midst of its first request of a kind: sent, for all it knows, but not arrived."""

    verb: str
    resource: str
    frozen: threading.Event = field(default_factory=threading.Event)
    thaw: threading.Event = field(default_factory=threading.Event)
    sent_since: list[str] = field(default_factory=list)

    def before(self, request: Request) -> None:
        if self.frozen.is_set():
            self.sent_since.append(str(request))
        elif request.verb == self.verb and request.path.split("/namespaces/")[-1].split("/")[1] == self.resource:
            self.frozen.set()
            self.thaw.wait()


class FreezingCluster(Cluster):
    freezer: Freezer

    def _send(self, request: Request, read_seconds: float):  # type: ignore[no-untyped-def]
        if not request.reads and self.guard:
            self.guard()
            self.freezer.before(request)
            guard, self.guard = self.guard, None  # it has been asked; what comes now is on its way
            try:
                return super()._send(request, read_seconds)
            finally:
                self.guard = guard
        return super()._send(request, read_seconds)


@contextmanager
def frozen_controller(run: ClusterRun, freezer: Freezer) -> Iterator[tuple[Controller, list[BaseException]]]:
    """A controller that leads until it freezes, and what it ends by, once it has thawed."""
    ends: list[BaseException] = []
    cluster = FreezingCluster.connect(run.kubeconfig, run.namespace)
    assert isinstance(cluster, FreezingCluster)
    cluster.freezer = freezer
    with (
        closing(cluster),
        cluster_controller(
            run.database,
            cluster,
            kubernetes_settings(run.namespace, parallelism=2),
            leases.take(run.database, "frozen"),
            defaults=DEFAULTS,
            period_seconds=PERIOD_SECONDS,
        ) as loop,
    ):

        def lead() -> None:
            try:
                loop.run()
            except LeaseLost as lost:
                ends.append(lost)

        thread = threading.Thread(target=lead)
        thread.start()
        try:
            yield loop, ends
        finally:
            freezer.thaw.set()
            wait_until(lambda: not thread.is_alive(), "the thawed controller to end by itself")


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("create", "jobs"), ("patch", "jobs"), ("patch", "trainingsessions"), ("create", "events"), ("delete", "jobs")],
)
def test_a_leader_frozen_in_a_request_and_overtaken_does_no_harm(
    run: ClusterRun, tmp_path: Path, verb: str, resource: str
) -> None:
    photos = write_photos(tmp_path / "photos", 12)
    let_go = run.pods.hold("embed") if verb == "delete" else None
    freezer = Freezer(verb, resource)
    with frozen_controller(run, freezer) as (leader, ends):
        session_id = run.begin(photos)
        if let_go:  # a pause deletes a Job
            run.claimed(session_id, "embed")
            run.ask(session_id, "pause")
            wait_until(freezer.frozen.is_set, "the leader to freeze")
            run.ask(session_id, "resume")
            let_go()
        wait_until(freezer.frozen.is_set, "the leader to freeze")
        with run.controller():
            run.ended(session_id)
            run.completed(f"session-{session_id}")
            rows = run.rows(ALL_ROWS)
            leader._renewed_at -= LEASE_SECONDS  # for as long as it must have been frozen to be overtaken
            freezer.thaw.set()
            wait_until(lambda: bool(ends), "the thawed controller to see that it leads no more")
            assert run.rows(ALL_ROWS) == rows
            assert freezer.sent_since == []
            run.at_rest()
            wait_until(lambda: run.status(f"session-{session_id}")["overallStatus"] == "completed", "the last word")
            wait_until(lambda: _unsaved(run) == [], "what it made in vain to go")
    assert run.overall(session_id) == "completed"
    assert run.engines.fake_clip.seen == 12


ALL_ROWS = """
    SELECT to_jsonb(s) AS row FROM training_sessions s
    UNION ALL SELECT to_jsonb(t) FROM steps t UNION ALL SELECT to_jsonb(h) FROM shards h
"""


def _unsaved(run: ClusterRun) -> list[str]:
    """Jobs that nobody has dealt with."""
    return [
        job["metadata"]["name"] for job in run.jobs() if "trainyard.dev/saved" not in job["metadata"].get("labels", {})
    ]


def test_a_stopped_process_is_overtaken_and_ends_when_it_goes_on(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 12)
    let_go = run.pods.hold("embed")
    folders = [tmp_path / name for name in ("leader", "standby")]
    for folder in folders:
        folder.mkdir()
    with controller_command(run, folders[0]) as leader:
        run.apply("overtaken", photos)
        session_id = run.session_of("overtaken")
        run.claimed(session_id, "embed")
        (before,) = run.rows("SELECT term, holder FROM controller_lease")
        with controller_command(run, folders[1]) as standby:
            leader.send_signal(signal.SIGSTOP)
            wait_until(lambda: run.rows("SELECT term, holder FROM controller_lease") != [before], "the take-over")
            let_go()
            run.completed("overtaken")
            rows = run.rows(ALL_ROWS)
            leader.send_signal(signal.SIGCONT)
            _, said = leader.communicate(timeout=4 * LEASE_SECONDS)
            assert leader.returncode == 1
            assert "term 1" in said.splitlines()[-1]
            assert run.rows(ALL_ROWS) == rows
            assert standby.poll() is None
    assert run.step(session_id, "embed").attempt == 1
    run.at_rest()


def test_a_leader_that_is_told_to_end_leaves_the_lease_to_the_next(run: ClusterRun, tmp_path: Path) -> None:
    with controller_command(run, tmp_path) as leader:
        wait_until(lambda: run.rows("SELECT 1 FROM controller_lease"), "it to lead")
        leader.send_signal(signal.SIGTERM)
        _, said = leader.communicate(timeout=60)
    assert leader.returncode == 0, said
    assert leases.take(run.database, "next").term == 2
