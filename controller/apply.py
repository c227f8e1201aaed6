"""Apply: carry one planned action out. Every write is fenced by the lease's term."""

import secrets
from functools import singledispatch
from math import ceil
from typing import Any

import sqlalchemy as sa

from controller import lease as leases
from controller import plan
from controller.backend import JobBackend, JobSpec
from controller.lease import Lease
from controller.refusals import Refusals
from trainyard import lifecycle, shards, weights
from trainyard.database import Database, notify
from trainyard.reassignment import ask_after_detection
from trainyard.steps import SHARDED_STEPS
from trainyard.tables import steps, training_jobs, training_sessions

SECONDS_PER_SHARD = 300  # long enough that starting a worker costs little, short enough that losing one does
MOST_SHARDS = 2_000


class Applier:
    """Carries actions out on one database and one backend, for one term of the lease."""

    def __init__(
        self,
        database: Database,
        backend: JobBackend,
        lease: Lease,
        pinned_weights: dict[str, float] | None = None,
    ) -> None:
        self.database = database
        self.backend = backend
        self.lease = lease
        self.pinned_weights = pinned_weights
        self.refusals = Refusals()

    def apply(self, action: plan.Action) -> None:
        match action:
            case plan.StopJob(job):
                self.backend.stop(job)
            case plan.RemoveJob(job):
                self.backend.remove(job)
            case plan.CreateJob(session_id, step):
                self._create_job(session_id, step)
            case _:
                self.database.transact(lambda connection: self._write(connection, action))

    def _write(self, connection: sa.Connection, action: plan.Action) -> None:
        leases.hold(connection, self.lease)
        write(action, connection, self)

    def _create_job(self, session_id: int, step: str) -> None:
        spec = self.database.transact(lambda connection: self._spec(connection, session_id, step))
        if spec is None:
            return
        uid = self.backend.create(spec)

        def remember(connection: sa.Connection) -> None:
            leases.hold(connection, self.lease)
            connection.execute(sa.update(steps).where(_step_key(session_id, step)).values(job_uid=uid))

        self.database.transact(remember)

    def _spec(self, connection: sa.Connection, session_id: int, step: str) -> JobSpec | None:
        """None when the attempt that was to begin found nothing left to do."""
        leases.hold(connection, self.lease)
        row = connection.execute(sa.select(steps).where(_step_key(session_id, step))).one()
        if row.status != "running":
            return None
        count = shards.attempt_totals(connection, session_id, step, row.attempt).shards
        return JobSpec(session_id, step, row.attempt, count, row.job_token)


@singledispatch
def write(action: Any, connection: sa.Connection, applier: Applier) -> None:
    raise TypeError(f"no way to apply {action!r}")


@write.register
def _admit(action: plan.Admit, connection: sa.Connection, applier: Applier) -> None:
    rows = [{"session_id": action.session_id, "step": name, "status": status} for name, status in action.steps]
    connection.execute(sa.insert(steps), rows)


@write.register
def _reopen(action: plan.Reopen, connection: sa.Connection, applier: Applier) -> None:
    """What failed becomes pending, and so does every step from the first that has something to do on."""
    reopened = connection.execute(
        sa.update(training_jobs)
        .where(training_jobs.c.session_id == action.session_id, training_jobs.c.status == "failed")
        .values(status="pending", error_code=None, error_message=None, attempts=0)
        .returning(training_jobs.c.step)
    )
    jobs = training_jobs.c
    connection.execute(  # what its workers died of before may be mended
        sa.update(training_jobs)
        .where(jobs.session_id == action.session_id, jobs.status == "pending", jobs.attempts > 0)
        .values(attempts=0)
    )
    counts: dict[str, int] = {}
    for row in reopened:
        counts[row.step] = counts.get(row.step, 0) + 1
    rows = connection.execute(sa.select(steps).where(steps.c.session_id == action.session_id)).all()
    for row in rows:
        if row.status == "failed" or counts.get(row.step) or _follows_faces(row, counts):
            _reopen_step(connection, row, counts.get(row.step, 0))
    connection.execute(
        sa.update(training_sessions)
        .where(training_sessions.c.id == action.session_id)
        .values(
            retry_seen_at=training_sessions.c.retry_requested_at,
            failure_code=None,
            failure_message=None,
            completed_at=None,
        )
    )
    _count_images(connection, action.session_id)
    lifecycle.settle_session(connection, action.session_id)


def _follows_faces(row: sa.Row[Any], counts: dict[str, int]) -> bool:
    return row.step == "cluster" and row.status in {"completed", "skipped"} and "detect" in counts


def _reopen_step(connection: sa.Connection, row: sa.Row[Any], failed: int) -> None:
    inherited = {**row.counts, "inherited": 0} if row.step == "detect" else row.counts
    lifecycle.set_step(
        connection,
        row.session_id,
        row.step,
        "pending",
        failures=0,
        done=row.done - failed if row.step in SHARDED_STEPS else 0,
        failed=row.failed - failed,
        total=row.total if row.step in SHARDED_STEPS else None,
        counts=inherited,
        failure_code=None,
        failure_message=None,
        completed_at=None,
    )


@write.register
def _start_attempt(action: plan.StartAttempt, connection: sa.Connection, applier: Applier) -> None:
    session_id, step = action.session_id, action.step
    row = connection.execute(sa.select(steps).where(_step_key(session_id, step))).one()
    attempt = row.attempt + 1
    begun: dict[str, Any] = {}
    if step in SHARDED_STEPS:
        cut = shards.cut(connection, session_id, step, attempt, _shard_count(connection, row, applier.backend))
    else:
        cut = shards.cut_whole(connection, session_id, step, attempt)
        begun = {"done": 0, "counts": {}}  # such a step begins anew with each attempt
    if cut == 0:  # everything was done by the attempts before
        lifecycle.set_step(connection, session_id, step, "completed", completed_at=sa.func.now())
        return
    now = sa.func.clock_timestamp()
    lifecycle.set_step(
        connection,
        session_id,
        step,
        "running",
        attempt=attempt,
        job_uid=None,
        job_token=secrets.token_hex(8),
        started_at=sa.func.coalesce(steps.c.started_at, now),
        attempt_started_at=now,
        **begun,
    )


def _shard_count(connection: sa.Connection, row: sa.Row[Any], backend: JobBackend) -> int:
    """clamp(units ÷ (a worker's units per second × 300), parallelism, 2,000), none below the backend's smallest.

    More than `parallelism` are rounded up to a multiple of it: the last workers to begin are as many as the first.
    """
    units = row.total - row.done
    models = connection.execute(
        sa.select(training_sessions.c.models).where(training_sessions.c.id == row.session_id)
    ).scalar_one()
    rate = weights.measured_rate(connection, row.step, models or {})
    by_time = units * rate.worker_seconds_per_unit / SECONDS_PER_SHARD if rate else 1
    at_once = backend.parallelism(row.step)
    wanted = min(max(ceil(by_time / at_once), 1) * at_once, MOST_SHARDS)
    return max(1, min(wanted, units // backend.smallest_shard(row.step)))


@write.register
def _mark_started(action: plan.MarkStarted, connection: sa.Connection, applier: Applier) -> None:
    session = training_sessions.c
    connection.execute(
        sa.update(training_sessions)
        .where(session.id == action.session_id)
        .values(started_at=sa.func.coalesce(session.started_at, sa.func.clock_timestamp()))
    )
    lifecycle.settle_session(connection, action.session_id)


@write.register
def _end_attempt(action: plan.EndAttempt, connection: sa.Connection, applier: Applier) -> None:
    row, folded = _fold(connection, action.session_id, action.step)
    if action.failure:
        _blame_in_flight(connection, row)
    lifecycle.set_step(
        connection,
        action.session_id,
        action.step,
        "pending",
        **folded,
        failures=row.failures + int(action.failure),
        failure_code=action.code,
        failure_message=action.message,
    )
    _count_images(connection, action.session_id)
    notify(connection)


@write.register
def _fail_step(action: plan.FailStep, connection: sa.Connection, applier: Applier) -> None:
    row, folded = _fold(connection, action.session_id, action.step)
    _blame_in_flight(connection, row)
    lifecycle.set_step(
        connection,
        action.session_id,
        action.step,
        "failed",
        **folded,
        failures=row.failures + 1,
        failure_code=action.code,
        failure_message=action.message,
        completed_at=sa.func.clock_timestamp(),
    )
    connection.execute(
        sa.update(training_sessions)
        .where(training_sessions.c.id == action.session_id)
        .values(failure_code=action.code, failure_message=action.message, **NOT_WAITING)
    )
    _count_images(connection, action.session_id)


@write.register
def _finish_step(action: plan.FinishStep, connection: sa.Connection, applier: Applier) -> None:
    _, folded = _fold(connection, action.session_id, action.step)
    if action.step == "discover":
        _after_discovery(connection, action.session_id, folded["counts"], applier.pinned_weights)
    if action.step == "cluster" and action.status == "completed":
        folded["total"] = folded["done"]
    lifecycle.set_step(
        connection,
        action.session_id,
        action.step,
        action.status,
        **folded,
        failure_code=None,
        failure_message=None,
        completed_at=sa.func.clock_timestamp(),
    )
    if action.step == "detect" and action.status == "completed":
        ask_after_detection(connection, action.session_id)
    _count_images(connection, action.session_id)
    _set_waiting(connection, action.session_id, None)
    notify(connection)


def _after_discovery(
    connection: sa.Connection, session_id: int, counts: dict[str, int], pinned: dict[str, float] | None
) -> None:
    """The totals are known: fix them, and the weights, and start the session's clock if nothing else did."""
    for name in SHARDED_STEPS:
        connection.execute(
            sa.update(steps)
            .where(_step_key(session_id, name), steps.c.status == "pending")
            .values(total=counts.get(name, 0))
        )
    row = connection.execute(sa.select(training_sessions.c.models).where(training_sessions.c.id == session_id)).one()
    rates = weights.measured_rates(connection, row.models or {})
    units = _units(counts, rates, row.models or {})
    connection.execute(
        sa.update(training_sessions)
        .where(training_sessions.c.id == session_id)
        .values(
            weights=weights.phase_weights(units, rates, pinned),
            started_at=sa.func.coalesce(training_sessions.c.started_at, sa.func.clock_timestamp()),
        )
    )


def _units(counts: dict[str, int], rates: dict[str, weights.Rate | None], models: dict[str, Any]) -> dict[str, float]:
    """Units of each phase that has something to do; training is left out only by a session without it."""
    units: dict[str, float] = {"training": counts.get("embed", 0)} if models.get("clip") else {}
    if counts.get("assign"):
        units["faceDetection"] = counts["assign"]  # and nothing beside it
    if models.get("face") and (counts.get("detect") or counts.get("unclustered")):
        if counts.get("detect"):
            units["faceDetection"] = counts["detect"]
        detection = rates.get("faceDetection")
        expected = counts.get("detect", 0) * (detection.faces_per_unit if detection else 0.0)
        units["clustering"] = counts.get("unclustered", 0) + expected
    return units


@write.register
def _pause(action: plan.Pause, connection: sa.Connection, applier: Applier) -> None:
    lifecycle.set_step(connection, action.session_id, action.step, "paused")
    _set_waiting(connection, action.session_id, None)


@write.register
def _resume(action: plan.Resume, connection: sa.Connection, applier: Applier) -> None:
    lifecycle.set_step(connection, action.session_id, action.step, "pending")


@write.register
def _cancel(action: plan.Cancel, connection: sa.Connection, applier: Applier) -> None:
    rows = connection.execute(sa.select(steps).where(steps.c.session_id == action.session_id)).all()
    for row in rows:
        if row.status in {"pending", "paused"}:
            lifecycle.set_step(connection, action.session_id, row.step, "cancelled")
    _set_waiting(connection, action.session_id, None)


@write.register
def _wait(action: plan.Wait, connection: sa.Connection, applier: Applier) -> None:
    if _set_waiting(connection, action.session_id, action.waiting):
        notify(connection)


NOT_WAITING: dict[str, Any] = {"waiting_code": None, "waiting_message": None, "waiting_since": None}


def _set_waiting(connection: sa.Connection, session_id: int, waiting: tuple[str, str] | None) -> bool:
    """Whether that was news; since when it waits is not told anew for the same reason."""
    code, message = waiting or (None, None)
    s = training_sessions.c
    since = sa.case((s.waiting_code == code, s.waiting_since), else_=sa.func.clock_timestamp()) if code else None
    news = sa.or_(s.waiting_code.is_distinct_from(code), s.waiting_message.is_distinct_from(message))
    result = connection.execute(
        sa.update(training_sessions)
        .where(s.id == session_id, news)
        .values(waiting_code=code, waiting_message=message, waiting_since=since)
    )
    return result.rowcount > 0


def _step_key(session_id: int, step: str) -> sa.ColumnElement[bool]:
    return sa.and_(steps.c.session_id == session_id, steps.c.step == step)


def _fold(connection: sa.Connection, session_id: int, step: str) -> tuple[sa.Row[Any], dict[str, Any]]:
    """The step's row, and its columns with the running attempt's shards added in; no worker adds to them after."""
    row = connection.execute(sa.select(steps).where(_step_key(session_id, step))).one()
    folded: dict[str, Any] = {"counts": row.counts, "done": row.done, "job_uid": None, "job_token": None}
    if row.status == "running":
        shards.overtake(connection, session_id, step, row.attempt)
        totals = shards.attempt_totals(connection, session_id, step, row.attempt)
        counts = shards.attempt_counts(connection, session_id, step, row.attempt)
        sharded = step in SHARDED_STEPS
        folded["counts"] = shards.add_counts(row.counts, counts) if sharded else counts
        folded["done"] = (row.done if sharded else 0) + totals.done
        folded["failed"] = row.failed + totals.failed
        folded["seconds"] = row.seconds + totals.seconds
        folded["worker_seconds"] = row.worker_seconds + totals.worker_seconds
    return row, folded


def _blame_in_flight(connection: sa.Connection, row: sa.Row[Any]) -> None:
    """The attempt failed: what its workers held is run one at a time from now on."""
    held = connection.execute(
        sa.text("""
            SELECT next, in_flight FROM shards
            WHERE session_id = :session_id AND step = :step AND attempt = :attempt AND in_flight IS NOT NULL
        """),
        {"session_id": row.session_id, "step": row.step, "attempt": row.attempt},
    ).all()
    for shard in held:
        shards.blame(connection, row.session_id, row.step, shard.next, shard.in_flight)


def _count_images(connection: sa.Connection, session_id: int) -> None:
    """The session's own counters, from its steps: an image that failed in both phases has failed once.

    Processed are the images of the first step that is about them: embed, detect where training is skipped, or assign.
    """
    connection.execute(
        sa.text("""
            UPDATE training_sessions SET
                processed = coalesce((SELECT done - coalesce((counts ->> 'unchanged')::bigint, 0) FROM steps
                                      WHERE session_id = :id AND step IN ('embed', 'detect', 'assign')
                                          AND status <> 'skipped'
                                      ORDER BY step = 'embed' DESC LIMIT 1), 0),
                failed = coalesce((SELECT sum(failed - coalesce((counts ->> 'inherited')::bigint, 0))
                                   FROM steps WHERE session_id = :id), 0)
            WHERE id = :id
        """),
        {"id": session_id},
    )
