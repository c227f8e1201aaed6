"""A session of a thousand shards beside the bare Job: the same manifest on the same nodes, without a controller.

Every pod ends as soon as it runs, so what is timed is what Kubernetes can do on this machine, and how much longer it
takes with our controller beside it.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from controller.backend import JobSpec
from controller.kubernetes.client import Object
from controller.kubernetes.manifests import job_manifest
from controller.kubernetes.names import SESSION_LABEL, STEP_LABEL
from controller.kubernetes.paths import jobs_path
from controller.kubernetes.seen_jobs import seen_job
from tests.bench.kubernetes_controller import Done, controller_process
from tests.bench.kubernetes_stage import KubernetesStage, on_kubernetes, until
from tests.bench.kubernetes_workers import Workers, list_work
from tests.bench.results import Row, at_most
from tests.cluster.fake_nodes import EXIT_CODE
from tests.rows import add_session, add_step
from trainyard.database import Database

SHARDS = 1_000
PARALLELISM = 400
RATE_SECONDS = 300.0  # a photo, so that each is a shard
REMEMBERED_PHOTOS = 20  # of the session that this is known from
STEP_SECONDS = 300.0  # longest wait
MOST_RATIO = 1.1


@dataclass(frozen=True)
class Step:
    """Of the session's embed, by time.time(): its row's moments, and when its Job was seen, and seen to have ended."""

    began_at: float
    made_at: float
    ended_at: float
    completed_at: float
    attempt: int
    spent: Done  # by our controller

    @property
    def seconds(self) -> float:
        return self.completed_at - self.began_at

    def __str__(self) -> str:
        return (
            f"{self.made_at - self.began_at:.1f} s to the Job, {self.ended_at - self.made_at:.1f} s to its end, "
            f"{max(self.completed_at - self.ended_at, 0.0):.1f} s to the row, in attempt {self.attempt}; "
            f"our controller took {self.spent.cpu_seconds:.1f} s of a core, {self.spent.all_requests} API requests, "
            f"{self.spent.statements} statements"
        )


def measure() -> list[Row]:
    annotations = {EXIT_CODE: "0"}  # of the pods, by which kwok ends them
    return on_kubernetes("kubernetes_shards", _measure, annotations, parallelism=PARALLELISM)


def _measure(stage: KubernetesStage) -> list[Row]:
    before = _bare_job(stage)
    ours = _session(stage)
    after = _bare_job(stage)
    name = f"Kubernetes: {SHARDS:,} shards, {PARALLELISM} at once, beside the bare Job"
    note = f"bare {before:.1f} s before and {after:.1f} s after; {ours.seconds:.1f} s: {ours}"
    ratio = ours.seconds / statistics.mean((before, after))
    return [at_most(name, ratio, MOST_RATIO, " ×", note, bare_seconds=[before, after], seconds=ours.seconds)]


def _bare_job(stage: KubernetesStage) -> float:
    """Seconds from its creation until Kubernetes says that it succeeded; it and its pods are gone afterwards."""
    spec = JobSpec(0, "embed", 1, SHARDS, "bare")
    manifest = job_manifest(spec, stage.settings, installation=uuid4(), owner=None, number=0)
    begun = time.time()
    stage.cluster.create(jobs_path(stage.namespace), manifest)
    path = jobs_path(stage.namespace, manifest["metadata"]["name"])
    _, ended_at = _follow(lambda: stage.cluster.get(path), lambda job: None)
    until(lambda: not _delete_jobs(stage), "the bare Job to go", STEP_SECONDS)
    return ended_at - begun


def _delete_jobs(stage: KubernetesStage) -> list[str]:
    """Those that are still there, with their pods."""
    names = stage.cluster.list(jobs_path(stage.namespace), keep=lambda job: str(job["metadata"]["name"])).items
    for name in names:
        stage.cluster.delete(jobs_path(stage.namespace, name), propagation="Foreground")
    return names


def _session(stage: KubernetesStage) -> Step:
    workers = Workers(stage)
    with controller_process(stage) as controller:
        until(lambda: controller.done().passes, "the controller to lead")
        before = controller.done()
        session_id = _add_session(stage.database, workers.models)

        def work(job: Object) -> None:
            """Of the pods that were made: before Kubernetes has seen the last of them end, all of it is written."""
            status = job.get("status", {})
            workers.finish([session_id], "embed", before=status.get("active", 0) + status.get("succeeded", 0))

        made_at, ended_at = _follow(lambda: _job_of(stage, session_id), work)
        row = until(lambda: _completed(stage.database, session_id), "the step's row to be completed", STEP_SECONDS)
        spent = controller.done().since(before)
    until(lambda: not _delete_jobs(stage), "the session's Jobs to go", STEP_SECONDS)
    return Step(row.began_at, made_at, ended_at, row.completed_at, row.attempt, spent)


def _follow(read: Callable[[], Object | None], on_look: Callable[[Object], None]) -> tuple[float, float]:
    """Look at a Job until it has ended, the same in both runs; when it was first seen, and when it was seen to end."""
    made_at = 0.0

    def look() -> bool:
        nonlocal made_at
        job = read()
        if job is None:
            return False
        made_at = made_at or time.time()
        on_look(job)
        seen = seen_job(job)
        return seen is not None and seen.verdict is not None

    until(look, "the Job to end", STEP_SECONDS)
    return made_at, time.time()


def _job_of(stage: KubernetesStage, session_id: int) -> Object | None:
    labels = f"{SESSION_LABEL}={session_id},{STEP_LABEL}=embed"
    return next(iter(stage.cluster.list(jobs_path(stage.namespace), labels=labels).items), None)


def _add_session(database: Database, models: Mapping[str, Any]) -> int:
    """Discovered, its embed due; an earlier one has measured how long a photo takes, hence the number of shards."""
    columns = {"models": dict(models), "options": {"faces": False}, "started_at": sa.func.now()}

    def write(connection: sa.Connection) -> int:
        timed = add_session(connection, root_path="/timed", status="completed", **columns)
        seconds = REMEMBERED_PHOTOS * RATE_SECONDS
        add_step(connection, timed, "embed", "completed", total=REMEMBERED_PHOTOS, seconds=seconds)
        id = add_session(connection, root_path="/shards", status="running", total=SHARDS, **columns)
        add_step(connection, id, "discover", "completed", attempt=1, done=SHARDS, total=SHARDS)
        add_step(connection, id, "embed", total=SHARDS)
        add_step(connection, id, "detect", "skipped")
        add_step(connection, id, "cluster", "skipped")
        list_work(connection, [id], ["embed"], SHARDS)
        return id

    return database.transact(write)


def _completed(database: Database, session_id: int) -> sa.Row[Any] | None:
    """The step's row, once it is completed."""
    statement = sa.text("""
        SELECT extract(epoch FROM started_at)::float8 AS began_at, attempt,
               extract(epoch FROM completed_at)::float8 AS completed_at
        FROM steps WHERE session_id = :id AND step = 'embed' AND status = 'completed'
    """)
    return database.transact(lambda connection: connection.execute(statement, {"id": session_id}).one_or_none())
