"""A controller of a cluster that has a thousand Jobs: how fast it makes them, starts over them, and is replaced.

Kubernetes' own controllers stand still meanwhile: on this machine they would take most of the processor for the pods.
What they would have done is written by the bench: ten pods to each Job, given to a node and run by kwok.
"""

import time
from collections.abc import Sequence

import sqlalchemy as sa

from controller.kubernetes.paths import jobs_path, sessions_path
from controller.lease import LEASE_SECONDS
from tests.bench.kubernetes_controller import ControllerProcess, controller_process
from tests.bench.kubernetes_pods import make_pods
from tests.bench.kubernetes_sightings import Sightings, of_job, of_resource, sightings
from tests.bench.kubernetes_stage import KubernetesStage, on_kubernetes, until
from tests.bench.kubernetes_workers import Workers, list_work
from tests.bench.results import Row, at_least, at_most
from trainyard.tables import steps, training_sessions

JOBS = 1_000
PODS_A_JOB = 10
LEAST_CREATES = 40.0
MOST_START_SECONDS = 10.0
MOST_PEAK_MIB = 256.0
MOST_TAKE_OVER_SECONDS = 20.0
LONGEST_SECONDS = 240.0
AFTER_START_SECONDS = 5.0  # in which memory may still grow


def measure() -> list[Row]:
    return on_kubernetes("kubernetes_start", _measure, parallelism=PODS_A_JOB)


def _measure(stage: KubernetesStage) -> list[Row]:
    ids = _add_sessions(stage)
    with stage.control_plane.without_controllers():
        with controller_process(stage) as first:
            creates = _creates(stage, first, ids)
            make_pods(stage, PODS_A_JOB)
            until(lambda: _is_quiet(first), "the controller to rest", LONGEST_SECONDS)
        until(lambda: _lease_is_over(stage), "the first controller's lease to end")
        with controller_process(stage) as second:
            return [*creates, *_cold_start(second), _take_over(stage, second)]


def _add_sessions(stage: KubernetesStage) -> Sequence[int]:
    """Discovered, their embed due but for a pause that was requested."""
    models = Workers(stage).models
    columns = {"options": {"faces": False}, "models": models, "total": PODS_A_JOB, "requested": "pause"}
    sessions = [{"root_path": f"/photos/{number}", **columns} for number in range(JOBS)]
    statuses = {"discover": "completed", "embed": "pending", "detect": "skipped", "cluster": "skipped"}

    def write(connection: sa.Connection) -> Sequence[int]:
        made = sa.insert(training_sessions).returning(training_sessions.c.id)
        ids = list(connection.execute(made, sessions).scalars())
        for step, status in statuses.items():
            rows = [{"session_id": id, "step": step, "status": status, "total": PODS_A_JOB} for id in ids]
            connection.execute(sa.insert(steps), rows)
        list_work(connection, ids, ["embed"], PODS_A_JOB)
        return ids

    return stage.database.transact(write)


# Making Jobs


def _creates(stage: KubernetesStage, controller: ControllerProcess, ids: Sequence[int]) -> list[Row]:
    """All sessions get their resources, and then are let go at once."""
    jobs_seen = sightings(stage.cluster, jobs_path(stage.namespace), of_job)
    resources_seen = sightings(stage.cluster, sessions_path(stage.namespace), of_resource)
    with jobs_seen as jobs, resources_seen as resources:
        resources.wait_for([(id, "paused") for id in ids], "the resources to say paused", LONGEST_SECONDS)
        introduced = max(resources.at.values()) - controller.started_at
        until(lambda: _is_quiet(controller), "the controller to rest")
        _let_go(stage)
        begun = time.time()
        jobs.wait_for([("made", id, "embed") for id in ids], "the Jobs", LONGEST_SECONDS)
        return [_creates_row(jobs, begun), _introduced_row(introduced)]


def _creates_row(jobs: Sightings, begun: float) -> Row:
    made = sorted(jobs.at.values())
    rate = len(made) / (made[-1] - begun)
    between = len(made) / (made[-1] - made[0])
    note = f"{len(made):,} sessions let go at once; first Job after {made[0] - begun:.1f} s, then {between:.0f}/s"
    return at_least("Kubernetes: Jobs made", rate, LEAST_CREATES, "/s", note, between=between)


def _introduced_row(seconds: float) -> Row:
    note = "of sessions that came by the API, from the controller's start until each says paused"
    return Row(f"Kubernetes: {JOBS:,} resources made", f"{seconds:.1f} s", note=note, figures={"seconds": seconds})


def _let_go(stage: KubernetesStage) -> None:
    def write(connection: sa.Connection) -> None:
        connection.execute(sa.update(training_sessions).values(requested="run"))
        connection.execute(sa.text("NOTIFY trainyard"))

    stage.database.transact(write)


def _is_quiet(controller: ControllerProcess) -> bool:
    """Two passes without a request."""
    before = controller.done()
    until(lambda: controller.done().passes >= before.passes + 2, "two passes", LONGEST_SECONDS)
    return not controller.done().since(before).requests


# Starting over them


def _lease_is_over(stage: KubernetesStage) -> bool:
    statement = sa.text("SELECT expires_at < clock_timestamp() FROM controller_lease")
    return bool(stage.database.transact(lambda connection: connection.execute(statement).scalar_one()))


def _cold_start(controller: ControllerProcess) -> list[Row]:
    until(lambda: controller.done().passes, "a first pass", LONGEST_SECONDS)
    first = controller.done()
    assert first.first_pass_at is not None
    seconds = first.first_pass_at - controller.started_at
    time.sleep(AFTER_START_SECONDS)
    later = controller.done()
    about = f"{JOBS:,} Jobs, {JOBS * PODS_A_JOB:,} pods"
    note = f"by then {first.all_requests} API requests, {first.statements:,} statements, {first.cpu_seconds:.1f} s CPU"
    longest = f"longest pass so far {later.longest_pass_seconds:.1f} s"
    return [
        at_most(f"Kubernetes: cold start over {about}", seconds, MOST_START_SECONDS, " s", note),
        at_most("Kubernetes: its peak memory", controller.peak_mib(), MOST_PEAK_MIB, " MiB", longest),
    ]


def _take_over(stage: KubernetesStage, leader: ControllerProcess) -> Row:
    """From the leader's death until another one, which waited, has come to the end of a pass."""
    with controller_process(stage) as waiting:
        waiting.done()
        time.sleep(LEASE_SECONDS / 3)  # so that it has begun to wait
        assert not waiting.done().passes, "two lead"
        leader.kill()
        killed = time.time()
        until(lambda: waiting.done().passes, "the other one's first pass", LONGEST_SECONDS)
        done = waiting.done()
        assert done.first_pass_at is not None
        note = f"the lease lasts {LEASE_SECONDS:.0f} s; peak memory of the new one {waiting.peak_mib():.0f} MiB"
        return at_most(
            "Kubernetes: take-over from a killed leader",
            done.first_pass_at - killed,
            MOST_TAKE_OVER_SECONDS,
            " s",
            note,
        )
