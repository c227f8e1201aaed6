"""Observe: rows and Jobs into one snapshot, which is all that plan sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from controller.backend import ObservedJob
from trainyard import shards
from trainyard.face_models import active_face_model
from trainyard.lifecycle import ACTIVE, SETTLED, retry_due, retry_under_way
from trainyard.shards import AttemptTotals, RunningAttempt
from trainyard.steps import STEPS
from trainyard.tables import face_instances, steps, training_sessions


@dataclass(frozen=True)
class StepView:
    name: str
    status: str
    attempt: int = 0
    failures: int = 0
    total: int | None = None
    done: int = 0
    failed: int = 0
    job_uid: str | None = None
    job_token: str | None = None
    shards: AttemptTotals | None = None  # of the running attempt
    shard_waiting: tuple[str, str] | None = None
    silent_seconds: float = 0.0  # since a worker of an unfinished shard last committed


@dataclass(frozen=True)
class SessionView:
    id: int
    root_path: str
    requested: str
    status: str
    faces: bool
    training: bool  # false in a standalone face session
    started: bool
    total: int
    assign: bool = False  # it only looks whose the unknown faces are
    retry_due: bool = False
    suspended: bool = False  # by its resource's spec.suspend: a brake of its own
    waiting: tuple[str, str] | None = None
    steps: Mapping[str, StepView] = field(default_factory=dict)
    faces_to_cluster: bool = False

    @property
    def wanted(self) -> str:
        """run, pause or cancel: either brake holds it, and cancelling outdoes both."""
        return "pause" if self.suspended and self.requested == "run" else self.requested

    @property
    def next_step(self) -> StepView | None:
        """The first step, in order, that is not settled."""
        unsettled = (name for name in STEPS if name in self.steps and self.steps[name].status not in SETTLED)
        return next((self.steps[name] for name in unsettled), None)


@dataclass(frozen=True)
class Snapshot:
    now: datetime
    sessions: Sequence[SessionView]
    jobs: Sequence[ObservedJob]
    silence_seconds: float = 1500.0


def observe(connection: sa.Connection, jobs: Sequence[ObservedJob], silence_seconds: float) -> Snapshot:
    """Every session that is not settled, with its steps and shards added up, beside every Job.

    `jobs` are observed before: a Job seen to have ended has committed everything that the rows are then read for.
    """
    s = training_sessions.c
    rows = connection.execute(
        sa.select(training_sessions)
        .where(s.deleted_at.is_(None), sa.or_(s.status.in_(ACTIVE), retry_due()))
        .order_by(s.created_at, s.id)
    ).all()
    by_session = _steps(connection, [row.id for row in rows])
    to_cluster: dict[int, bool] = {}
    sessions = [
        _with_faces_to_cluster(connection, _session(row, by_session.get(row.id, {})), row.models, to_cluster)
        for row in rows
    ]
    return Snapshot(
        now=connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one(),
        sessions=sessions,
        jobs=jobs,
        silence_seconds=silence_seconds,
    )


def _session(row: sa.Row[Any], views: dict[str, StepView]) -> SessionView:
    return SessionView(
        id=row.id,
        root_path=row.root_path,
        requested=row.requested,
        status=row.status,
        faces=bool(row.options.get("faces", True)),
        training=bool(row.options.get("training", True)),
        started=row.started_at is not None,
        total=row.total,
        assign=bool(row.options.get("assign", False)),
        retry_due=retry_under_way(row),
        suspended=row.suspended,
        waiting=(row.waiting_code, row.waiting_message) if row.waiting_code else None,
        steps=views,
    )


def _with_faces_to_cluster(
    connection: sa.Connection, session: SessionView, models: Mapping[str, Any] | None, found: dict[int, bool]
) -> SessionView:
    """The session, knowing whether there are any, if that is what comes next; `found` is by model, for this pass."""
    step = session.next_step
    next_is_cluster = step is not None and step.name == "cluster" and step.status == "pending"
    if not (next_is_cluster and session.wanted == "run" and models and models.get("face")):
        return session
    model_id = int(models["face"]["id"])
    if model_id not in found:
        found[model_id] = _faces_to_cluster(connection, model_id)
    return replace(session, faces_to_cluster=found[model_id])


# Groups that lost faces since they were made: photos that are gone or changed, people who were named. Not EXISTS, for
# which PostgreSQL compares all groups with all counts when it finds none.
SHRUNK = sa.text("""
    SELECT coalesce(bool_or(c.size <> coalesce(now.faces, 0)), false)
    FROM face_clusters c
    LEFT JOIN (
        SELECT f.cluster_id, count(*) AS faces
        FROM face_instances f JOIN image_assets a ON a.id = f.asset_id
        WHERE f.cluster_id IS NOT NULL AND f.person_id IS NULL AND f.ignored_at IS NULL AND a.missing_since IS NULL
        GROUP BY f.cluster_id
    ) now ON now.cluster_id = c.id
    WHERE c.model_id = :model_id AND c.closed_at IS NULL
""")


def _faces_to_cluster(connection: sa.Connection, model_id: int) -> bool:
    """Also where the network is not the active one, which it may become at the end of its clustering."""
    active = active_face_model(connection)
    if active is not None and active.id != model_id:
        return True
    f = face_instances.c
    unknown = f.person_id.is_(None), f.ignored_at.is_(None)
    waiting = sa.select(f.id).where(f.model_id == model_id, f.clustered_at.is_(None), *unknown)
    fresh = connection.execute(sa.select(waiting.exists())).scalar_one()
    return bool(fresh or connection.execute(SHRUNK, {"model_id": model_id}).scalar_one())


def _steps(connection: sa.Connection, session_ids: list[int]) -> dict[int, dict[str, StepView]]:
    views: dict[int, dict[str, StepView]] = {}
    running = shards.running_attempts(connection, session_ids)
    for row in connection.execute(sa.select(steps).where(steps.c.session_id.in_(session_ids))):
        view = _step(row, running.get((row.session_id, row.step))) if row.status == "running" else _settled_step(row)
        views.setdefault(row.session_id, {})[row.step] = view
    return views


def _settled_step(row: sa.Row[Any]) -> StepView:
    return StepView(
        name=row.step,
        status=row.status,
        attempt=row.attempt,
        failures=row.failures,
        total=row.total,
        done=row.done,
        failed=row.failed,
        job_uid=row.job_uid,
        job_token=row.job_token,
    )


def _step(row: sa.Row[Any], attempt: RunningAttempt | None) -> StepView:
    if attempt is None:
        return replace(_settled_step(row), shards=AttemptTotals(0, 0, 0, 0, 0, 0, 0.0))
    return replace(
        _settled_step(row),
        shards=attempt.totals,
        shard_waiting=attempt.waiting,
        silent_seconds=attempt.silent_seconds,
    )
