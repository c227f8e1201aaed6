"""The controller of a cluster beside 100 sessions that run: how soon it acts, and what it asks for.

Pods are kwok's, workers' rows are written by the bench. Moments are those at which the bench's own watch saw a thing,
or PostgreSQL's clock, which is this machine's.
"""

import random
import time
from collections.abc import Sequence

import sqlalchemy as sa

from controller.kubernetes.paths import jobs_path, sessions_path
from tests.bench.kubernetes_controller import ControllerProcess, controller_process
from tests.bench.kubernetes_sightings import Sightings, of_job, of_resource, sightings
from tests.bench.kubernetes_stage import KubernetesStage, on_kubernetes
from tests.bench.kubernetes_workers import Workers, request_session
from tests.bench.results import Row, at_most, percentile
from trainyard.tables import steps

ACTIVE = 100
MEASURED = 100
PACE_SECONDS = (0.1, 0.5)  # between two events that are timed
COUNTED_SECONDS = 30
QUIET_SECONDS = 15
SETTLE_SECONDS = 12.0  # after which no status is due any more
MOST_JOB_SECONDS = 2.0
MOST_CHANGE_SECONDS = 3.0
MOST_IDLE_REQUESTS = 1.0
SEED = 7


def measure() -> list[Row]:
    return on_kubernetes("kubernetes_latency", _measure, parallelism=1)


def _measure(stage: KubernetesStage) -> list[Row]:
    jobs_seen = sightings(stage.cluster, jobs_path(stage.namespace), of_job)
    resources_seen = sightings(stage.cluster, sessions_path(stage.namespace), of_resource)
    with controller_process(stage) as controller, jobs_seen as jobs, resources_seen as resources:
        bench = _Bench(stage, controller, jobs, resources)
        bench.begin()
        before = controller.done()
        rows = [bench.rows_to_jobs(), *bench.ends_to_rows()]
        bench.finish()
        spent = controller.done().since(before)
        rows.append(_requests(spent.requests, controller))
        return [*rows, bench.status_writes(), *bench.idle()]


class _Bench:
    """`active` run all the time, `measured` come and go."""

    def __init__(
        self, stage: KubernetesStage, controller: ControllerProcess, jobs: Sightings, resources: Sightings
    ) -> None:
        self.stage = stage
        self.controller = controller
        self.jobs = jobs
        self.resources = resources
        self.workers = Workers(stage)
        self.random = random.Random(SEED)
        self.measured: list[int] = []

    def begin(self) -> None:
        self.active = [self._request(f"/photos/active-{number}") for number in range(ACTIVE)]
        self._await_jobs(self.active, "discover")
        self.workers.running_pods(self.active, "discover")
        self.workers.claim(self.active, "discover")
        self._await_resources(self.active, "running")

    def rows_to_jobs(self) -> Row:
        committed = {}
        for number in range(MEASURED):
            time.sleep(self.random.uniform(*PACE_SECONDS))
            session_id = self._request(f"/photos/measured-{number}")
            committed[session_id] = time.time()
        self.measured = list(committed)
        self._await_jobs(self.measured, "discover")
        delays = self.jobs.delays(committed, lambda id: ("made", id, "discover"))
        return _delay_row(f"Kubernetes: row to Job, beside {ACTIVE} running sessions, p99", delays, MOST_JOB_SECONDS)

    def ends_to_rows(self) -> list[Row]:
        """Embed ends, so its row moves on, and the resource's phase becomes faceDetection."""
        pods = self.workers.running_pods(self.measured, "discover")
        self.workers.finish_discover(self.measured)
        self.workers.end_pods(pods.values())
        pods = self.workers.running_pods(self.measured, "embed")
        self.workers.claim(self.measured, "embed")
        self.workers.finish(self.measured, "embed")
        for pod in pods.values():
            time.sleep(self.random.uniform(*PACE_SECONDS))
            self.workers.end_pods([pod])
        self._await_resources(self.measured, "faceDetection")
        self.jobs.wait_for([("ended", id, "embed") for id in self.measured], "embed to end")
        ended = {id: self.jobs.at["ended", id, "embed"] for id in self.measured}
        moved = self._completed_at("embed")
        to_row = [max(moved[id] - at, 0.0) for id, at in ended.items()]
        to_phase = self.resources.delays(ended, lambda id: (id, "faceDetection"))
        return [
            _delay_row("Kubernetes: Job's end to the step's row, p99", to_row, MOST_CHANGE_SECONDS),
            _delay_row("Kubernetes: Job's end to the resource's phase, p99", to_phase, MOST_CHANGE_SECONDS),
        ]

    def finish(self) -> None:
        """The measured sessions' detection, all at once, and so their end."""
        pods = self.workers.running_pods(self.measured, "detect")
        self.workers.claim(self.measured, "detect")
        self.workers.finish(self.measured, "detect")
        self.workers.end_pods(pods.values())
        self._await_resources(self.measured, "completed")

    def status_writes(self) -> Row:
        """While every active session finds a file each second."""
        before = self.controller.done()
        for _ in range(COUNTED_SECONDS):
            self.workers.find_one_more(self.active)
            time.sleep(1)
        spent = self.controller.done().since(before)
        writes = spent.requests.get("patch trainingsessions/status", 0)
        rate = writes / ACTIVE / (COUNTED_SECONDS / 60)
        note = f"{writes} in {COUNTED_SECONDS} s of {ACTIVE} sessions whose numbers change every second"
        return Row("Kubernetes: status writes a session-minute", f"{rate:.1f}", note=note, figures={"rate": rate})

    def idle(self) -> list[Row]:
        time.sleep(SETTLE_SECONDS)
        before = self.controller.done()
        time.sleep(QUIET_SECONDS)
        spent = self.controller.done().since(before)
        requests, statements = (count / QUIET_SECONDS for count in (spent.all_requests, spent.statements))
        note = f"in {QUIET_SECONDS} s, {ACTIVE} sessions running without news; {spent.requests or 'none'}"
        cpu = spent.cpu_seconds / QUIET_SECONDS
        figures = {"statements_per_second": statements, "cores": cpu, "passes": spent.passes}
        return [
            at_most("Kubernetes: an idle controller's API requests", requests, MOST_IDLE_REQUESTS, "/s", note),
            Row(
                "Kubernetes: an idle controller's queries",
                f"{statements:.0f}/s",
                note=f"{spent.passes} passes in {QUIET_SECONDS} s, {cpu:.0%} of a core",
                figures=figures,
            ),
        ]

    def _request(self, root: str) -> int:
        return request_session(self.stage.database, root, faces=True, untrained=True)

    def _await_jobs(self, ids: Sequence[int], step: str) -> None:
        self.jobs.wait_for([("made", id, step) for id in ids], f"the Jobs of {step}")

    def _await_resources(self, ids: Sequence[int], word: str) -> None:
        self.resources.wait_for([(id, word) for id in ids], f"the resources to say {word}")

    def _completed_at(self, step: str) -> dict[int, float]:
        seconds = sa.func.extract("epoch", steps.c.completed_at)
        ended = sa.select(steps.c.session_id, seconds.label("at")).where(
            steps.c.step == step, steps.c.session_id.in_(self.measured)
        )
        return {row.session_id: float(row.at) for row in self.stage.database.transact(lambda c: c.execute(ended).all())}


def _delay_row(name: str, seconds: list[float], limit: float) -> Row:
    p50, p99 = percentile(seconds, 50), percentile(seconds, 99)
    note = f"p50 {p50:.2f} s, most {max(seconds):.2f} s, of {len(seconds)}"
    return at_most(name, p99, limit, " s", note, seconds=seconds)


def _requests(requests: dict[str, int], controller: ControllerProcess) -> Row:
    """By the controller's own counter."""
    a_session = {name: count / MEASURED for name, count in sorted(requests.items())}
    note = "of 3 Jobs, to its end: " + ", ".join(f"{count:.1f} {name}" for name, count in a_session.items())
    figures = {**a_session, "longest_pass_seconds": controller.done().longest_pass_seconds}
    return Row("Kubernetes: API requests a session", f"{sum(a_session.values()):.0f}", note=note, figures=figures)
