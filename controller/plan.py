"""Plan: what to do next, from a snapshot. Pure: no clock, no database, no Jobs; the same for every backend.

Level-triggered: it says what is missing now, whatever happened before, so a restart is an ordinary pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from controller.backend import ObservedJob
from controller.observe import SessionView, Snapshot, StepView
from controller.turns import Turns
from trainyard.lifecycle import ENDED
from trainyard.steps import SHARDED_STEPS, steps_of_session

# Who holds a session, beside its status: the pause that its row requests is told by the status alone.
SUSPENDED = {
    "run": ("Suspended", "Its resource says spec.suspend: true; set it to false, and the session goes on."),
    "pause": ("Suspended", "Its resource says spec.suspend: true, and a pause was requested; take both back."),
}

MOST_FAILURES = 3  # attempts of a step that may end by failure


@dataclass(frozen=True)
class Admit:
    """Give a new session its steps."""

    session_id: int
    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reopen:
    """A retry: what failed becomes pending again."""

    session_id: int


@dataclass(frozen=True)
class StartAttempt:
    """Cut what is left of a step into shards and write the next attempt down."""

    session_id: int
    step: str


@dataclass(frozen=True)
class CreateJob:
    """Make the Job of an attempt that is written down; nothing to do if the step turned out to have nothing left."""

    session_id: int
    step: str


@dataclass(frozen=True)
class MarkStarted:
    """A worker has begun: the session is no longer pending."""

    session_id: int


@dataclass(frozen=True)
class StopJob:
    job: ObservedJob

    @property
    def session_id(self) -> int:
        return self.job.spec.session_id


@dataclass(frozen=True)
class RemoveJob:
    job: ObservedJob

    @property
    def session_id(self) -> int:
        return self.job.spec.session_id


@dataclass(frozen=True)
class EndAttempt:
    """Add the attempt's shards up; what is left makes the next one. A failure counts towards the limit."""

    session_id: int
    step: str
    code: str | None = None
    message: str | None = None
    failure: bool = False


@dataclass(frozen=True)
class FailStep:
    session_id: int
    step: str
    code: str
    message: str


@dataclass(frozen=True)
class FinishStep:
    """The step has nothing left to do."""

    session_id: int
    step: str
    status: str = "completed"


@dataclass(frozen=True)
class Pause:
    session_id: int
    step: str


@dataclass(frozen=True)
class Resume:
    session_id: int
    step: str


@dataclass(frozen=True)
class Cancel:
    session_id: int


@dataclass(frozen=True)
class Wait:
    """Say why nothing happens; None takes it back."""

    session_id: int
    waiting: tuple[str, str] | None


Action = (
    Admit | Reopen | StartAttempt | CreateJob | MarkStarted | StopJob | RemoveJob | EndAttempt
    | FailStep | FinishStep | Pause | Resume | Cancel | Wait
)  # fmt: skip


class _Scene:
    """A snapshot, so laid out that a session finds its Job and its turn without a look at all the others."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.silence_seconds = snapshot.silence_seconds
        self.turns = Turns(snapshot.sessions)
        self._jobs = {(job.spec.session_id, job.spec.step, job.spec.token): job for job in snapshot.jobs}

    def job_of(self, session: SessionView, step: StepView) -> ObservedJob | None:
        return self._jobs.get((session.id, step.name, step.job_token or ""))


def plan(snapshot: Snapshot) -> list[Action]:
    actions = list(_strays(snapshot))
    scene = _Scene(snapshot)
    for session in snapshot.sessions:
        actions += _plan_session(session, scene)
    return actions


def _strays(snapshot: Snapshot) -> Iterator[Action]:
    """Jobs that no running step asked for: stop them, and remove them once they have ended."""
    wanted = {
        (session.id, step.name, step.job_token)
        for session in snapshot.sessions
        for step in session.steps.values()
        if step.status == "running"
    }
    for job in snapshot.jobs:
        if (job.spec.session_id, job.spec.step, job.spec.token) in wanted:
            continue
        if job.state == "running":
            yield StopJob(job)
        elif job.state != "stopping":
            yield RemoveJob(job)


def _plan_session(session: SessionView, scene: _Scene) -> list[Action]:
    if not session.steps:
        return _admit(session, scene)
    if session.retry_due and session.status in ENDED:
        return [Reopen(session.id)]
    running = next((step for step in session.steps.values() if step.status == "running"), None)
    if running is not None:
        return _follow(session, running, scene)
    if session.wanted == "cancel":
        return [Cancel(session.id)]
    step = session.next_step
    if step is None:
        return []
    if session.wanted == "pause":
        return _hold(session, step)
    if step.status == "paused":
        return [Resume(session.id, step.name)]  # its turn is seen once others, too, know it to be at work
    return _begin(session, step, scene)


def _hold(session: SessionView, step: StepView) -> list[Action]:
    if step.status == "pending":
        return [Pause(session.id, step.name)]
    reason = SUSPENDED[session.requested] if session.suspended else None
    return [] if session.waiting == reason else [Wait(session.id, reason)]


def _admit(session: SessionView, scene: _Scene) -> list[Action]:
    steps = steps_of_session(session.faces, session.training, session.assign)
    admitted = replace(session, steps={name: StepView(name, status) for name, status in steps.items()})
    return [Admit(session.id, tuple(steps.items())), *_plan_session(admitted, scene)]


def _begin(session: SessionView, step: StepView, scene: _Scene) -> list[Action]:
    if step.status in ENDED:
        return []
    empty = _settle_without_work(session, step)
    if empty is not None:
        return [empty]
    reason = scene.turns.queued(session, step)
    if reason is not None:
        return [] if session.waiting == reason else [Wait(session.id, reason)]
    unwait = [Wait(session.id, None)] if session.waiting else []
    return [*unwait, StartAttempt(session.id, step.name), CreateJob(session.id, step.name)]


def _settle_without_work(session: SessionView, step: StepView) -> Action | None:
    """A step with nothing left to do: training is completed, 0 of 0; the other phases are skipped.

    Unless they worked before and are only looked at again by a retry: what they did stays done.
    """
    if step.name == "embed" and not step.total:
        return FinishStep(session.id, step.name)
    if step.name in {"detect", "assign"} and not step.total:
        return FinishStep(session.id, step.name, "skipped")
    if step.name in SHARDED_STEPS and step.done >= (step.total or 0):  # its workers died after the last commit
        return _finish(session, step)
    if step.name == "cluster" and not session.faces_to_cluster:
        return FinishStep(session.id, step.name, "skipped" if step.attempt == 0 else "completed")
    return None


def _follow(session: SessionView, step: StepView, scene: _Scene) -> list[Action]:
    """A step that is running in the rows: where has its Job got to?"""
    job = scene.job_of(session, step)
    if job is None:
        return _without_job(session, step)
    if session.wanted != "run":
        return _winding_down(session, step, job)
    match job.state:
        case "running":
            return _watch(session, step, job, scene)
        case "stopping":
            return []
        case "succeeded":
            return [_judge_success(session, step), RemoveJob(job)]
        case "failed":
            return [_judge_failure(session, step, job), RemoveJob(job)]
        case _:
            return [EndAttempt(session.id, step.name), RemoveJob(job)]


def _without_job(session: SessionView, step: StepView) -> list[Action]:
    """Not made yet, or made and gone: the death of what ran it is no failure of the attempt."""
    if step.job_uid is None and session.wanted == "run":
        return [CreateJob(session.id, step.name)]
    if _all_shards_finished(step):
        return [_judge_success(session, step)]
    return [EndAttempt(session.id, step.name)]


def _winding_down(session: SessionView, step: StepView, job: ObservedJob) -> list[Action]:
    """Pause or cancel: the workers stop at their batch first. What is done by then stays done."""
    if job.state == "running":
        return [StopJob(job)]
    if job.state == "stopping":
        return []
    if job.state == "succeeded":
        return [_judge_success(session, step), RemoveJob(job)]
    return [EndAttempt(session.id, step.name), RemoveJob(job)]


def _watch(session: SessionView, step: StepView, job: ObservedJob, scene: _Scene) -> list[Action]:
    unclaimed = step.shards is None or not step.shards.claimed
    if job.overdue and unclaimed:
        code = job.waiting[0] if job.waiting else "Starting"
        return [FailStep(session.id, step.name, code, job.overdue), StopJob(job)]
    silent_seconds = min(step.silent_seconds, job.running_seconds)
    if silent_seconds > scene.silence_seconds and job.waiting is None:
        silence = f"No worker committed anything for {silent_seconds:.0f} s."
        return [_fail(session, step, "WorkersSilent", silence, False), StopJob(job)]
    actions: list[Action] = []
    if not session.started and not unclaimed:
        actions.append(MarkStarted(session.id))
    waiting = step.shard_waiting or job.waiting or (job.last_words if unclaimed else None)
    if session.waiting != waiting:
        actions.append(Wait(session.id, waiting))
    return actions


def _all_shards_finished(step: StepView) -> bool:
    return step.shards is not None and step.shards.shards > 0 and step.shards.finished == step.shards.shards


def _judge_success(session: SessionView, step: StepView) -> Action:
    """Committed rows decide: a Job that says it succeeded must have finished every shard."""
    if _all_shards_finished(step):
        return _finish(session, step)
    return _fail(session, step, "ShardsUnfinished", "The workers ended without finishing every shard.", False)


def _finish(session: SessionView, step: StepView) -> Action:
    first = "embed" if session.training else "detect"  # of the steps that open the photos
    if step.name == first and _every_image_failed(session, step):
        return FailStep(session.id, step.name, "AllImagesFailed", "Not one image could be read; see the failures.")
    return FinishStep(session.id, step.name)


def _every_image_failed(session: SessionView, step: StepView) -> bool:
    failed = step.failed + (step.shards.failed if step.shards else 0)
    return session.total > 0 and failed == session.total


def _judge_failure(session: SessionView, step: StepView, job: ObservedJob) -> Action:
    if _all_shards_finished(step):
        return _judge_success(session, step)
    return _fail(session, step, job.code or "WorkerFailed", job.message or "A worker failed.", job.final)


def _fail(session: SessionView, step: StepView, code: str, message: str, final: bool) -> Action:
    """Another attempt, unless it would fail the same way or as many as may have failed."""
    if final or step.failures + 1 >= MOST_FAILURES:
        return FailStep(session.id, step.name, code, message)
    return EndAttempt(session.id, step.name, code, message, failure=True)
