"""Progress that can be believed: read from the rows of steps and shards, never from those of images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from trainyard.lifecycle import ENDED, SETTLED, NoSuchSession, phase_statuses
from trainyard.steps import PHASE_OF_STEP, PHASES
from trainyard.weights import scale

# How much of a step has to be done before its own speed counts as much as what finished phases let expect.
EXPECTATION = 0.15


@dataclass(frozen=True)
class Waiting:
    code: str
    message: str
    since: Any


@dataclass(frozen=True)
class StepProgress:
    """One step, its running attempt's shards added in."""

    step: str
    status: str
    attempt: int
    total: int | None
    done: int
    failed: int
    seconds: float = 0.0  # active
    seconds_in_attempt: float = 0.0  # of these, in the attempt that runs, up to its last commit
    seconds_since_commit: float = 0.0
    done_in_attempt: int = 0


@dataclass(frozen=True)
class PhaseProgress:
    name: str
    status: str
    weight: float | None  # null until discovered
    percentage: float
    current: int
    total: int | None
    failed: int


@dataclass(frozen=True)
class Progress:
    session_id: int
    overall_status: str
    requested: str
    waiting: Waiting | None
    percentage: float
    eta_seconds: float | None
    phase_eta_seconds: float | None  # of the phase that runs, alone
    files_found: int
    phases: dict[str, PhaseProgress]
    steps: dict[str, StepProgress] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether anything may still happen by itself or be resumed: a client goes on polling."""
        return self.overall_status not in ENDED


READ = sa.text("""
    SELECT s.id, s.status AS overall_status, s.requested, s.weights, s.total AS images,
           s.waiting_code, s.waiting_message, s.waiting_since,
           st.step, st.status, st.attempt, st.total, st.done, st.failed, st.seconds,
           coalesce(h.done, 0) AS shards_done, coalesce(h.failed, 0) AS shards_failed, h.total AS shards_total,
           coalesce(h.seconds, 0) AS shards_seconds, coalesce(h.seconds_since, 0) AS seconds_since_commit
    FROM training_sessions s
    LEFT JOIN steps st ON st.session_id = s.id
    LEFT JOIN LATERAL (
        SELECT sum(done)::bigint AS done, sum(failed)::bigint AS failed, sum(total)::bigint AS total,
               extract(epoch FROM max(committed_at) - min(claimed_at))::float8 AS seconds,
               extract(epoch FROM clock_timestamp() - max(committed_at))::float8 AS seconds_since
        FROM shards
        WHERE st.status = 'running' AND shards.session_id = st.session_id AND shards.step = st.step
            AND shards.attempt = st.attempt
    ) h ON true
    WHERE s.id = ANY(:ids) AND s.deleted_at IS NULL
""")


def read_progress(connection: sa.Connection, session_id: int) -> Progress:
    """The session's progress in one query over its steps and shards. Raises NoSuchSession."""
    found = read_many(connection, [session_id])
    if session_id not in found:
        raise NoSuchSession(f"There is no session {session_id}.")
    return found[session_id]


def read_many(connection: sa.Connection, session_ids: Sequence[int]) -> dict[int, Progress]:
    """The same of several sessions, also in one query; ids of no session are left out."""
    rows: dict[int, list[sa.Row[Any]]] = {}
    for row in connection.execute(READ, {"ids": list(session_ids)}):
        rows.setdefault(row.id, []).append(row)
    return {session_id: _of_session(session_id, its) for session_id, its in rows.items()}


def _of_session(session_id: int, rows: list[sa.Row[Any]]) -> Progress:
    head = rows[0]
    waiting = Waiting(head.waiting_code, head.waiting_message, head.waiting_since) if head.waiting_code else None
    return compute(
        session_id,
        head.overall_status,
        head.requested,
        waiting,
        head.weights,
        {row.step: _step(row) for row in rows if row.step is not None},
    )


def _step(row: sa.Row[Any]) -> StepProgress:
    return StepProgress(
        step=row.step,
        status=row.status,
        attempt=row.attempt,
        total=row.total if row.total is not None else row.shards_total,
        done=row.done + row.shards_done,
        failed=row.failed + row.shards_failed,
        seconds=row.seconds + row.shards_seconds,
        seconds_in_attempt=row.shards_seconds,
        seconds_since_commit=row.seconds_since_commit,
        done_in_attempt=row.shards_done,
    )


def compute(
    session_id: int,
    overall_status: str,
    requested: str,
    waiting: Waiting | None,
    weights: Mapping[str, float] | None,
    steps: Mapping[str, StepProgress],
) -> Progress:
    """Pure: the numbers people see, from the rows."""
    statuses = phase_statuses({name: step.status for name, step in steps.items()}) if steps else {}
    shown = _remaining_weights(weights, statuses)
    phases = {}
    for phase in PHASES:
        phases[phase.name] = _phase(
            phase.name,
            statuses.get(phase.name, "pending"),
            shown.get(phase.name, 0.0) if shown is not None else None,
            [steps[name] for name in phase.steps if name in steps and name != "discover"],
        )
    may_tell = overall_status == "running" and requested == "run" and waiting is None
    phase_eta_seconds, later_seconds = _eta(phases, steps) if may_tell else (None, 0.0)
    return Progress(
        session_id=session_id,
        overall_status=overall_status,
        requested=requested,
        waiting=waiting,
        percentage=_overall_percentage(overall_status, phases),
        eta_seconds=None if phase_eta_seconds is None else phase_eta_seconds + later_seconds,
        phase_eta_seconds=phase_eta_seconds,
        files_found=steps["discover"].done if "discover" in steps else 0,
        phases=phases,
        steps=dict(steps),
    )


def _remaining_weights(weights: Mapping[str, float] | None, statuses: Mapping[str, str]) -> dict[str, float] | None:
    """Weights of the phases that are not skipped, adding up to 100; null until they are fixed."""
    if weights is None:
        return None
    remaining = {name: weight for name, weight in weights.items() if statuses.get(name) != "skipped"}
    return scale(remaining) if remaining else {}


def _phase(name: str, status: str, weight: float | None, measured: list[StepProgress]) -> PhaseProgress:
    """`measured` are the phase's steps that count units: done of total over them is the phase's progress."""
    known = [step for step in measured if step.total is not None]
    total = sum(step.total or 0 for step in known) if known else None
    current = sum(step.done for step in measured)
    return PhaseProgress(
        name=name,
        status=status,
        weight=weight,
        percentage=_percentage(status, current, total),
        current=current,
        total=total,
        failed=sum(step.failed for step in measured),
    )


def _percentage(status: str, current: int, total: int | None) -> float:
    if status == "completed":
        return 100.0
    if status == "skipped" or not total:
        return 0.0
    return floor_percentage(100.0 * current / total)


def floor_percentage(exact: float) -> float:
    """Floored to one decimal and below 100: only a status makes it 100."""
    return min(math.floor(round(exact * 10, 6)) / 10, 99.9)


def _fraction(phase: PhaseProgress) -> float:
    if phase.status == "completed":
        return 1.0
    return min(phase.current / phase.total, 1.0) if phase.total else 0.0


def _overall_percentage(overall_status: str, phases: Mapping[str, PhaseProgress]) -> float:
    if overall_status == "completed":
        return 100.0
    return floor_percentage(sum((phase.weight or 0.0) * _fraction(phase) for phase in phases.values()))


def _eta(phases: Mapping[str, PhaseProgress], steps: Mapping[str, StepProgress]) -> tuple[float | None, float]:
    """Seconds left of the phase that runs, at its own rate (null without evidence), and of the later ones."""
    running = next((step for step in steps.values() if step.status == "running"), None)
    if running is None or running.step == "discover" or not running.total:
        return None, 0.0
    name = next(phase.name for phase in PHASES if running.step in phase.steps)
    weight = phases[name].weight or 0.0
    seconds_per_unit = _seconds_per_unit(running, weight * _seconds_per_weight(phases, steps, without=name))
    if seconds_per_unit is None:
        return None, 0.0
    left = max((running.total - running.done) * seconds_per_unit - running.seconds_since_commit, 0.0)
    later = sum(p.weight or 0.0 for other, p in phases.items() if other != name and p.status not in SETTLED)
    return left, later * _seconds_per_weight(phases, steps)


def _seconds_per_unit(running: StepProgress, expected_seconds: float) -> float | None:
    """What the attempt itself shows, and until it shows enough, what the finished phases let expect of the step."""
    if not expected_seconds:
        return running.seconds_in_attempt / running.done_in_attempt if running.done_in_attempt else None
    expected_units = EXPECTATION * (running.total or 0)
    seconds = EXPECTATION * expected_seconds + running.seconds_in_attempt * bool(running.done_in_attempt)
    return seconds / (expected_units + running.done_in_attempt)


def _seconds_per_weight(
    phases: Mapping[str, PhaseProgress], steps: Mapping[str, StepProgress], without: str | None = None
) -> float:
    """Active seconds that one point of weight took so far, over all phases but the one named."""
    counted = {name: phase for name, phase in phases.items() if name != without}
    seconds = sum(step.seconds for name, step in steps.items() if name != "discover" and PHASE_OF_STEP[name] in counted)
    weight_done = sum((phase.weight or 0.0) * _fraction(phase) for phase in counted.values())
    return seconds / weight_done if weight_done else 0.0
