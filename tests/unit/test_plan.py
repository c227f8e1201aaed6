"""Plan as a table of situations: what the rows and Jobs show, and what is to be done then."""

import inspect
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import pytest

from controller import plan as plan_module
from controller.backend import JobSpec, JobState, ObservedJob
from controller.observe import SessionView, Snapshot, StepView
from controller.plan import (
    SUSPENDED,
    Action,
    Admit,
    Cancel,
    CreateJob,
    EndAttempt,
    FailStep,
    FinishStep,
    MarkStarted,
    Pause,
    RemoveJob,
    Reopen,
    Resume,
    StartAttempt,
    StopJob,
    Wait,
    plan,
)
from controller.turns import Turns
from trainyard.lifecycle import overall_status
from trainyard.shards import AttemptTotals

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "token-of-the-attempt"
SILENCE_SECONDS = 1500.0
ORDER = ("discover", "embed", "detect", "cluster")
ALL_FAILED = FailStep(1, "embed", "AllImagesFailed", "Not one image could be read; see the failures.")


def totals(shards: int = 2, claimed: int = 2, finished: int = 0, failed: int = 0, done: int = 0) -> AttemptTotals:
    return AttemptTotals(shards, claimed, finished, total=100, done=done, failed=failed, seconds=1.0)


NOT_CLAIMED, AT_WORK, FINISHED = totals(claimed=0), totals(finished=1), totals(finished=2)


def running(step: str, shards: AttemptTotals = AT_WORK, **columns: Any) -> StepView:
    """A step whose Job was made, with its shards."""
    known = {"attempt": 1, "total": 100, "job_uid": "uid", "job_token": TOKEN, "shards": shards}
    return StepView(step, "running", **{**known, **columns})


def session(*current: StepView, id: int = 1, **columns: Any) -> SessionView:
    """A session: steps before the first one given are completed, steps after it pending; each of 100 units."""
    views = {step.name: step for step in current}
    first = ORDER.index(current[0].name) if current else 0
    for place, name in enumerate(ORDER):
        done = 100 if place < first else 0
        total = 100 if first and name in {"embed", "detect"} else None
        views.setdefault(name, StepView(name, "completed" if place < first else "pending", total=total, done=done))
    statuses = {name: views[name].status for name in ORDER}
    started = columns.pop("started", first > 0)
    known = {
        "root_path": "/photos",
        "requested": "run",
        "status": overall_status(statuses, started=started),
        "faces": True,
        "training": True,
        "total": 100,
        "faces_to_cluster": True,
    }
    return SessionView(id=id, started=started, steps={name: views[name] for name in ORDER}, **{**known, **columns})


def new_session(id: int = 1, **columns: Any) -> SessionView:
    return replace(session(id=id), **{"steps": {}, **columns})


def job(step: str, state: JobState = "running", session_id: int = 1, **facts: Any) -> ObservedJob:
    token = facts.pop("token", TOKEN)
    return ObservedJob(JobSpec(session_id, step, attempt=1, shards=2, token=token), uid="uid", state=state, **facts)


def pending(step: str, **columns: Any) -> StepView:
    return StepView(step, "pending", **{"total": 100, **columns})


@dataclass(frozen=True)
class Situation:
    name: str
    sessions: Sequence[SessionView]
    jobs: Sequence[ObservedJob]
    expected: Sequence[Action]


def situation(
    name: str, sessions: SessionView | Sequence[SessionView], jobs: Sequence[ObservedJob], *expected: Action
) -> Situation:
    return Situation(name, [sessions] if isinstance(sessions, SessionView) else sessions, jobs, expected)


def begun(session_id: int, step: str) -> tuple[Action, ...]:
    return StartAttempt(session_id, step), CreateJob(session_id, step)


def check(case: Situation) -> None:
    assert plan(Snapshot(NOW, case.sessions, case.jobs, SILENCE_SECONDS)) == list(case.expected)


def table(*situations: Situation) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", situations, ids=lambda case: case.name.replace(" ", "-"))


WITH_FACES = (("discover", "pending"), ("embed", "pending"), ("detect", "pending"), ("cluster", "pending"))
WITHOUT_FACES = (*WITH_FACES[:2], ("detect", "skipped"), ("cluster", "skipped"))


@table(
    situation("nothing is there", [], []),
    situation("a new session", new_session(), [], Admit(1, WITH_FACES), *begun(1, "discover")),
    situation(
        "a new session without faces",
        new_session(faces=False),
        [],
        Admit(1, WITHOUT_FACES),
        *begun(1, "discover"),
    ),
    situation("a new session to be cancelled", new_session(requested="cancel"), [], Admit(1, WITH_FACES), Cancel(1)),
    situation(
        "a new session to be paused", new_session(requested="pause"), [], Admit(1, WITH_FACES), Pause(1, "discover")
    ),
    situation(
        "two new sessions of the same folder",
        [new_session(), new_session(id=2)],
        [],
        Admit(1, WITH_FACES),
        *begun(1, "discover"),
        Admit(2, WITH_FACES),
        Wait(2, ("Queued", "Session 1 works on the same folders (/photos) first.")),
    ),
    situation("a session just admitted", session(), [], *begun(1, "discover")),
    situation("a session just discovered", session(pending("embed")), [], *begun(1, "embed")),
    situation("a session just embedded", session(pending("detect")), [], *begun(1, "detect")),
    situation("a session with faces to group", session(pending("cluster")), [], *begun(1, "cluster")),
    situation(
        "an attempt written down, without a Job yet",
        session(running("embed", NOT_CLAIMED, job_uid=None)),
        [],
        CreateJob(1, "embed"),
    ),
    situation("a Job whose workers have not begun", session(running("discover", NOT_CLAIMED)), [job("discover")]),
    situation("the first worker has begun", session(running("discover", AT_WORK)), [job("discover")], MarkStarted(1)),
    situation("workers at work", session(running("embed")), [job("embed")]),
    situation(
        "a Job that succeeded",
        session(running("embed", FINISHED)),
        [job("embed", "succeeded")],
        FinishStep(1, "embed"),
        RemoveJob(job("embed", "succeeded")),
    ),
    situation(
        "a session that has ended in all its steps", session(replace(pending("cluster"), status="completed")), []
    ),
)
def test_a_session_is_led_through_its_steps(case: Situation) -> None:
    check(case)


@table(
    situation("nothing to embed", session(pending("embed", total=0)), [], FinishStep(1, "embed")),
    situation("nothing to detect", session(pending("detect", total=0)), [], FinishStep(1, "detect", "skipped")),
    situation(
        "no face to group",
        session(pending("cluster"), faces_to_cluster=False),
        [],
        FinishStep(1, "cluster", "skipped"),
    ),
    situation(
        "no face to group any more, after a retry",
        session(pending("cluster", attempt=1), faces_to_cluster=False),
        [],
        FinishStep(1, "cluster"),
    ),
    situation(
        "no detection, but faces of earlier sessions to group",
        session(pending("cluster"), StepView("detect", "skipped")),
        [],
        *begun(1, "cluster"),
    ),
    situation(
        "every photo done before the attempt ended", session(pending("embed", done=100)), [], FinishStep(1, "embed")
    ),
    situation(
        "every photo scanned before the attempt ended",
        session(pending("detect", done=100)),
        [],
        FinishStep(1, "detect"),
    ),
)
def test_a_step_with_nothing_left_to_do_starts_no_worker(case: Situation) -> None:
    check(case)


SUCCEEDED = job("embed", "succeeded")
ALL_BUT_ONE = totals(finished=2, done=100, failed=99)
EVERY_ONE = replace(ALL_BUT_ONE, failed=100)


@table(
    situation(
        "every image failed", session(running("embed", EVERY_ONE)), [SUCCEEDED], ALL_FAILED, RemoveJob(SUCCEEDED)
    ),
    situation(
        "every image failed, over two attempts",
        session(running("embed", replace(EVERY_ONE, failed=40), attempt=2, done=60, failed=60)),
        [SUCCEEDED],
        ALL_FAILED,
        RemoveJob(SUCCEEDED),
    ),
    situation(
        "every image failed before the attempt ended", session(pending("embed", done=100, failed=100)), [], ALL_FAILED
    ),
    situation(
        "one image could be read",
        session(running("embed", ALL_BUT_ONE)),
        [SUCCEEDED],
        FinishStep(1, "embed"),
        RemoveJob(SUCCEEDED),
    ),
    situation(
        "every changed image failed, others were unchanged",
        session(running("embed", EVERY_ONE), total=101),
        [SUCCEEDED],
        FinishStep(1, "embed"),
        RemoveJob(SUCCEEDED),
    ),
    situation(
        "every image failed in detection alone",
        session(running("detect", EVERY_ONE)),
        [job("detect", "succeeded")],
        FinishStep(1, "detect"),
        RemoveJob(job("detect", "succeeded")),
    ),
)
def test_a_failed_image_is_fatal_only_when_every_one_failed(case: Situation) -> None:
    check(case)


def standalone(*current: StepView, **columns: Any) -> SessionView:
    """A standalone face session: as `session`, without training."""
    return session(*current, StepView("embed", "skipped"), training=False, **columns)


DETECTED = job("detect", "succeeded")
NO_TRAINING = (WITH_FACES[0], ("embed", "skipped"), *WITH_FACES[2:])


@table(
    situation("new", new_session(training=False, root_path="/"), [], Admit(1, NO_TRAINING), *begun(1, "discover")),
    situation("just admitted", standalone(pending("discover", total=None)), [], *begun(1, "discover")),
    situation("just discovered", standalone(pending("detect")), [], *begun(1, "detect")),
    situation("nothing to scan", standalone(pending("detect", total=0)), [], FinishStep(1, "detect", "skipped")),
    situation(
        "nothing to scan, but faces to group",
        standalone(pending("cluster"), StepView("detect", "skipped")),
        [],
        *begun(1, "cluster"),
    ),
    situation(
        "every photo failed",
        standalone(running("detect", EVERY_ONE)),
        [DETECTED],
        replace(ALL_FAILED, step="detect"),
        RemoveJob(DETECTED),
    ),
    situation(
        "every photo that was not scanned before failed",
        standalone(running("detect", EVERY_ONE), total=101),
        [DETECTED],
        FinishStep(1, "detect"),
        RemoveJob(DETECTED),
    ),
    situation(
        "about all photos, behind a session of some",
        [session(running("embed")), standalone(pending("discover", total=None), id=2, root_path="/")],
        [job("embed")],
        Wait(2, ("Queued", "Session 1 works on the same folders (/photos) first.")),
    ),
    situation(
        "about all photos, before a session of some",
        [standalone(running("detect"), root_path="/"), session(id=2)],
        [job("detect")],
        Wait(2, ("Queued", "Session 1 works on the same folders (/) first.")),
    ),
    situation("to be paused", standalone(pending("detect"), requested="pause"), [], Pause(1, "detect")),
    situation("to be cancelled", standalone(pending("detect"), requested="cancel"), [], Cancel(1)),
    situation(
        "to be retried",
        standalone(replace(pending("detect"), status="failed"), retry_due=True),
        [],
        Reopen(1),
    ),
)
def test_a_standalone_face_session_is_led_past_training(case: Situation) -> None:
    check(case)


ASSIGNING_STEPS = ("discover", "embed", "assign", "cluster")


def assigning(*current: StepView, **columns: Any) -> SessionView:
    """A session that only assigns: `current` is its assign step as it is, or its discover."""
    known = {"discover": StepView("discover", "completed"), "assign": StepView("assign", "pending")}
    known |= {"embed": StepView("embed", "skipped"), "cluster": StepView("cluster", "skipped")}
    known |= {step.name: step for step in current}
    views = {name: known[name] for name in ASSIGNING_STEPS}
    one = replace(session(training=False, **columns), assign=True, steps=views)
    statuses = {name: step.status for name, step in views.items()}
    return replace(one, status=overall_status(statuses, started=one.started))


ASSIGN_ONLY = tuple((name, "skipped" if name in {"embed", "cluster"} else "pending") for name in ASSIGNING_STEPS)
ASSIGNED = job("assign", "succeeded")


@table(
    situation(
        "new", new_session(training=False, assign=True, root_path="/"), [], Admit(1, ASSIGN_ONLY), *begun(1, "discover")
    ),
    situation("just discovered", assigning(pending("assign")), [], *begun(1, "assign")),
    situation("nobody unknown", assigning(pending("assign", total=0)), [], FinishStep(1, "assign", "skipped")),
    situation("at work", assigning(running("assign"), started=True), [job("assign")]),
    situation("done", assigning(running("assign", FINISHED)), [ASSIGNED], FinishStep(1, "assign"), RemoveJob(ASSIGNED)),
    situation(
        "all of it done when its workers died",
        assigning(pending("assign", done=100)),
        [],
        FinishStep(1, "assign"),
    ),
    situation("to be paused", assigning(pending("assign"), requested="pause"), [], Pause(1, "assign")),
    situation("to be cancelled", assigning(pending("assign"), requested="cancel"), [], Cancel(1)),
    situation(
        "about all photos, beside a session of some, which it neither waits for nor holds up",
        [session(running("embed")), assigning(pending("assign"), id=2, root_path="/"), session(id=3, root_path="/b")],
        [job("embed")],
        *begun(2, "assign"),
        *begun(3, "discover"),
    ),
    situation(
        "behind its like",
        [assigning(running("assign"), root_path="/", started=True), assigning(pending("assign"), id=2, root_path="/")],
        [job("assign")],
        Wait(2, ("Queued", "Session 1 works on the same folders (/) first.")),
    ),
    situation(
        "about all photos, beside one that groups",
        [session(running("cluster"), root_path="/a"), assigning(pending("assign"), id=2, root_path="/b")],
        [job("cluster")],
        *begun(2, "assign"),
    ),
)
def test_a_session_that_only_assigns_is_led_past_the_other_steps(case: Situation) -> None:
    check(case)


@table(
    situation(
        "restarted before the Job was made",
        session(running("embed", NOT_CLAIMED, job_uid=None)),
        [],
        CreateJob(1, "embed"),
    ),
    situation(
        "restarted between making the Job and noting it",
        session(running("embed", NOT_CLAIMED, job_uid=None)),
        [job("embed")],
    ),
    situation("restarted while workers work", session(running("embed")), [job("embed")]),
    situation("the Job is lost with what ran it", session(running("embed")), [], EndAttempt(1, "embed")),
    situation("the Job is lost after its last shard", session(running("embed", FINISHED)), [], FinishStep(1, "embed")),
    situation(
        "the Job is lost after two failures",
        session(running("embed", failures=2)),
        [],
        EndAttempt(1, "embed"),
    ),
    situation(
        "a Job with the token of an earlier attempt",
        session(running("embed", job_uid=None)),
        [job("embed", token="stale")],
        StopJob(job("embed", token="stale")),
        CreateJob(1, "embed"),
    ),
    situation(
        "a stale Job that is stopping",
        session(running("embed")),
        [job("embed", "stopping", token="stale"), job("embed")],
    ),
    situation(
        "an ended Job with its result in the rows",
        session(pending("detect")),
        [SUCCEEDED],
        RemoveJob(SUCCEEDED),
        *begun(1, "detect"),
    ),
    situation("a Job of a session that is settled", [], [job("embed")], StopJob(job("embed"))),
    situation("an ended Job of a session that is settled", [], [SUCCEEDED], RemoveJob(SUCCEEDED)),
)
def test_a_restart_is_an_ordinary_pass(case: Situation) -> None:
    check(case)


STOPPED, COME_BACK = job("embed", "stopped"), job("embed", "come_back")
FAILED = job("embed", "failed", code="OutOfMemory", message="The disk is full.")
FINAL = replace(FAILED, code="ModelMissing", message="There are no weights.", final=True)


@table(
    situation(
        "workers that come back later",
        session(running("embed")),
        [COME_BACK],
        EndAttempt(1, "embed"),
        RemoveJob(COME_BACK),
    ),
    situation(
        "workers that come back later after two failures",
        session(running("embed", failures=2)),
        [COME_BACK],
        EndAttempt(1, "embed"),
        RemoveJob(COME_BACK),
    ),
    situation(
        "a Job somebody stopped", session(running("embed")), [STOPPED], EndAttempt(1, "embed"), RemoveJob(STOPPED)
    ),
    situation("a Job that is stopping", session(running("embed")), [job("embed", "stopping")]),
    situation(
        "a first failure",
        session(running("embed")),
        [FAILED],
        EndAttempt(1, "embed", "OutOfMemory", "The disk is full.", failure=True),
        RemoveJob(FAILED),
    ),
    situation(
        "a second failure",
        session(running("embed", failures=1)),
        [FAILED],
        EndAttempt(1, "embed", "OutOfMemory", "The disk is full.", failure=True),
        RemoveJob(FAILED),
    ),
    situation(
        "a third failure",
        session(running("embed", failures=2)),
        [FAILED],
        FailStep(1, "embed", "OutOfMemory", "The disk is full."),
        RemoveJob(FAILED),
    ),
    situation(
        "a failure that no attempt can mend",
        session(running("embed")),
        [FINAL],
        FailStep(1, "embed", "ModelMissing", "There are no weights."),
        RemoveJob(FINAL),
    ),
    situation(
        "a failure without a word",
        session(running("embed")),
        [job("embed", "failed")],
        EndAttempt(1, "embed", "WorkerFailed", "A worker failed.", failure=True),
        RemoveJob(job("embed", "failed")),
    ),
    situation(
        "a Job called failed whose rows are all there",
        session(running("embed", FINISHED)),
        [FAILED],
        FinishStep(1, "embed"),
        RemoveJob(FAILED),
    ),
    situation(
        "a Job called succeeded with a shard unfinished",
        session(running("embed", AT_WORK)),
        [SUCCEEDED],
        EndAttempt(1, "embed", "ShardsUnfinished", "The workers ended without finishing every shard.", failure=True),
        RemoveJob(SUCCEEDED),
    ),
    situation("what is left after a failure", session(pending("embed", failures=1)), [], *begun(1, "embed")),
    situation("a face phase that failed", session(replace(pending("detect"), status="failed")), []),
)
def test_an_attempt_that_ends_short_is_judged(case: Situation) -> None:
    check(case)


SILENT = SILENCE_SECONDS + 1
SILENCE = ("WorkersSilent", "No worker committed anything for 1501 s.")
OUTAGE = ("StorageUnavailable", "The folder /photos cannot be read.")
NO_DATABASE = ("DatabaseUnavailable", "PostgreSQL could not be reached: connection refused.")
NO_GPU = ("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")

OVERDUE = job("embed", waiting=NO_GPU, overdue="No worker could begin within 600 s.")


@table(
    situation(
        "silent workers",
        session(running("embed", silent_seconds=SILENT)),
        [job("embed")],
        EndAttempt(1, "embed", *SILENCE, failure=True),
        StopJob(job("embed")),
    ),
    situation(
        "silent workers a third time",
        session(running("embed", silent_seconds=SILENT, failures=2)),
        [job("embed")],
        FailStep(1, "embed", *SILENCE),
        StopJob(job("embed")),
    ),
    situation(
        "workers that were all evicted and find no node",
        session(running("embed", silent_seconds=SILENT), waiting=NO_GPU),
        [job("embed", waiting=NO_GPU)],
    ),
    situation(
        "a worker that has only begun again",
        session(running("embed", silent_seconds=SILENT)),
        [job("embed", running_seconds=SILENCE_SECONDS)],
    ),
    situation(
        "workers that have been silent since they began",
        session(running("embed", silent_seconds=2 * SILENT)),
        [job("embed", running_seconds=SILENT)],
        EndAttempt(1, "embed", *SILENCE, failure=True),
        StopJob(job("embed", running_seconds=SILENT)),
    ),
    situation("workers at the limit", session(running("embed", silent_seconds=SILENCE_SECONDS)), [job("embed")]),
    situation(
        "a worker that rides an outage out",
        session(running("embed", silent_seconds=1, shard_waiting=OUTAGE)),
        [job("embed")],
        Wait(1, OUTAGE),
    ),
    situation(
        "workers that come back again and again before they have claimed anything",
        session(running("embed", NOT_CLAIMED)),
        [job("embed", last_words=NO_DATABASE)],
        Wait(1, NO_DATABASE),
    ),
    situation(
        "a worker that came back later, of an attempt that gets on",
        session(running("embed", AT_WORK)),
        [job("embed", last_words=NO_DATABASE)],
    ),
    situation(
        "a Job that waits for longer than it may",
        session(running("embed", NOT_CLAIMED), waiting=NO_GPU),
        [OVERDUE],
        FailStep(1, "embed", "Unschedulable", "No worker could begin within 600 s."),
        StopJob(OVERDUE),
    ),
    situation(
        "a Job that seems to, though workers of it were at work before",
        session(running("embed", AT_WORK), waiting=NO_GPU),
        [OVERDUE],
    ),
    situation(
        "an outage that is known",
        session(running("embed", shard_waiting=OUTAGE), waiting=OUTAGE),
        [job("embed")],
    ),
    situation("an outage that is over", session(running("embed"), waiting=OUTAGE), [job("embed")], Wait(1, None)),
)
def test_silence_ends_an_attempt_and_waiting_does_not(case: Situation) -> None:
    check(case)


def asked(request: str, step: StepView | None = None, **columns: Any) -> SessionView:
    return session(*([step] if step else []), requested=request, **columns)


HALF = running("embed")
PAUSED = replace(pending("embed"), status="paused")


@table(
    situation("before its first attempt", asked("pause"), [], Pause(1, "discover")),
    situation("between two steps", asked("pause", pending("embed")), [], Pause(1, "embed")),
    situation("before the Job is made", asked("pause", replace(HALF, job_uid=None)), [], EndAttempt(1, "embed")),
    situation(
        "before the made Job is noted",
        asked("pause", replace(HALF, job_uid=None)),
        [job("embed")],
        StopJob(job("embed")),
    ),
    situation("while workers work", asked("pause", HALF), [job("embed")], StopJob(job("embed"))),
    situation("while workers stop", asked("pause", HALF), [job("embed", "stopping")]),
    situation("once workers stopped", asked("pause", HALF), [STOPPED], EndAttempt(1, "embed"), RemoveJob(STOPPED)),
    situation("while workers wait", asked("pause", HALF), [COME_BACK], EndAttempt(1, "embed"), RemoveJob(COME_BACK)),
    situation(
        "while an attempt fails",
        asked("pause", replace(HALF, failures=2)),
        [FAILED],
        EndAttempt(1, "embed"),
        RemoveJob(FAILED),
    ),
    situation(
        "while a step finishes",
        asked("pause", running("embed", FINISHED)),
        [SUCCEEDED],
        FinishStep(1, "embed"),
        RemoveJob(SUCCEEDED),
    ),
    situation("while the Job is lost", asked("pause", HALF), [], EndAttempt(1, "embed")),
    situation("while queued", asked("pause", waiting=("Queued", "…")), [], Pause(1, "discover")),
    situation("paused already", asked("pause", PAUSED), []),
    situation("resumed", asked("run", PAUSED), [], Resume(1, "embed")),
    situation("resumed while workers stop", asked("run", HALF), [job("embed", "stopping")]),
    situation(
        "resumed once workers stopped", asked("run", HALF), [STOPPED], EndAttempt(1, "embed"), RemoveJob(STOPPED)
    ),
)
def test_pause_and_resume_at_each_moment(case: Situation) -> None:
    check(case)


@table(
    situation("before its first attempt", asked("cancel"), [], Cancel(1)),
    situation("between two steps", asked("cancel", pending("detect")), [], Cancel(1)),
    situation("before the Job is made", asked("cancel", replace(HALF, job_uid=None)), [], EndAttempt(1, "embed")),
    situation("while workers work", asked("cancel", HALF), [job("embed")], StopJob(job("embed"))),
    situation("while workers stop", asked("cancel", HALF), [job("embed", "stopping")]),
    situation("once workers stopped", asked("cancel", HALF), [STOPPED], EndAttempt(1, "embed"), RemoveJob(STOPPED)),
    situation("once they are added up", asked("cancel", pending("embed", done=40)), [], Cancel(1)),
    situation(
        "while a step finishes",
        asked("cancel", running("embed", FINISHED)),
        [SUCCEEDED],
        FinishStep(1, "embed"),
        RemoveJob(SUCCEEDED),
    ),
    situation("while the Job is lost", asked("cancel", HALF), [], EndAttempt(1, "embed")),
    situation("while paused", asked("cancel", PAUSED), [], Cancel(1)),
    situation("while queued", asked("cancel", waiting=("Queued", "…")), [], Cancel(1)),
    situation("before a step without work", asked("cancel", pending("detect", total=0)), [], Cancel(1)),
)
def test_cancel_at_each_moment(case: Situation) -> None:
    check(case)


@table(
    situation("a failed session", session(replace(pending("detect"), status="failed"), retry_due=True), [], Reopen(1)),
    situation(
        "a completed session", session(replace(pending("cluster"), status="completed"), retry_due=True), [], Reopen(1)
    ),
    situation(
        "a failed session whose Job is not removed yet",
        session(replace(pending("embed"), status="failed"), retry_due=True),
        [FAILED],
        RemoveJob(FAILED),
        Reopen(1),
    ),
    situation("a session that runs again", session(pending("embed"), retry_due=False), [], *begun(1, "embed")),
    situation("a session that never ended", session(pending("embed"), retry_due=True), [], *begun(1, "embed")),
)
def test_retry_reopens_what_has_ended(case: Situation) -> None:
    check(case)


QUEUED = ("Queued", "Session 1 works on the same folders (/photos) first.")
CLUSTERING = ("Queued", "Session 1 is clustering; one at a time.")


@table(
    situation("the oldest goes first", [session(), session(id=2)], [], *begun(1, "discover"), Wait(2, QUEUED)),
    situation(
        "one that waits and has said so",
        [session(running("embed")), session(id=2, waiting=QUEUED)],
        [job("embed")],
    ),
    situation(
        "a folder inside",
        [session(running("embed")), session(id=2, root_path="/photos/2020")],
        [job("embed")],
        Wait(2, QUEUED),
    ),
    situation(
        "all photos beside a folder",
        [session(running("embed")), session(id=2, root_path="/")],
        [job("embed")],
        Wait(2, QUEUED),
    ),
    situation(
        "a neighbour whose name begins alike",
        [session(running("embed")), session(id=2, root_path="/photos-2020")],
        [job("embed")],
        *begun(2, "discover"),
    ),
    situation("the first has ended", [session(id=2, waiting=QUEUED)], [], Wait(2, None), *begun(2, "discover")),
    situation(
        "a paused one keeps nobody waiting",
        [asked("pause", PAUSED), session(id=2)],
        [],
        *begun(2, "discover"),
    ),
    situation(
        "one to be paused before it began keeps nobody waiting",
        [asked("pause"), session(id=2)],
        [],
        Pause(1, "discover"),
        *begun(2, "discover"),
    ),
    situation(
        "a failed one keeps nobody waiting",
        [session(replace(pending("embed"), status="failed"), retry_due=True), session(id=2)],
        [],
        Reopen(1),
        *begun(2, "discover"),
    ),
    situation(
        "an older one resumed before its discover waits for the younger that went ahead",
        [session(), session(running("embed"), id=2)],
        [job("embed", session_id=2)],
        Wait(1, ("Queued", "Session 2 works on the same folders (/photos) first.")),
    ),
    situation(
        "a younger one past its discover goes on",
        [session(), session(pending("embed"), id=2)],
        [],
        Wait(1, ("Queued", "Session 2 works on the same folders (/photos) first.")),
        *begun(2, "embed"),
    ),
    situation(
        "one resumed past its discover waits for the one that works",
        [session(pending("embed")), session(running("detect"), id=2)],
        [job("detect", session_id=2)],
        Wait(1, ("Queued", "Session 2 works on the same folders (/photos) first.")),
    ),
    situation(
        "of two past their discover the older goes on",
        [session(pending("embed")), session(pending("detect"), id=2)],
        [],
        *begun(1, "embed"),
        Wait(2, QUEUED),
    ),
)
def test_sessions_whose_folders_overlap_run_one_after_another(case: Situation) -> None:
    check(case)


@table(
    situation(
        "another is clustering",
        [session(running("cluster")), session(pending("cluster"), id=2, root_path="/b")],
        [job("cluster")],
        Wait(2, CLUSTERING),
    ),
    situation(
        "the younger is clustering",
        [session(pending("cluster")), session(running("cluster"), id=2, root_path="/b")],
        [job("cluster", session_id=2)],
        Wait(1, ("Queued", "Session 2 is clustering; one at a time.")),
    ),
    situation(
        "two are ready at the same time",
        [session(pending("cluster")), session(pending("cluster"), id=2, root_path="/b")],
        [],
        *begun(1, "cluster"),
        Wait(2, CLUSTERING),
    ),
    situation(
        "the older is to be paused",
        [asked("pause", pending("cluster")), session(pending("cluster"), id=2, root_path="/b")],
        [],
        Pause(1, "cluster"),
        *begun(2, "cluster"),
    ),
    situation(
        "the older has nothing to group",
        [session(pending("cluster"), faces_to_cluster=False), session(pending("cluster"), id=2, root_path="/b")],
        [],
        FinishStep(1, "cluster", "skipped"),
        *begun(2, "cluster"),
    ),
    situation(
        "detection goes on beside",
        [session(running("cluster")), session(pending("detect"), id=2, root_path="/b")],
        [job("cluster")],
        *begun(2, "detect"),
    ),
)
def test_one_clustering_at_a_time(case: Situation) -> None:
    check(case)


@pytest.mark.parametrize(
    ("one", "other", "overlaps"),
    [
        ("/photos", "/photos", True),
        ("/photos", "/photos/", True),
        ("/photos/a/b", "/photos/a", True),
        ("/", "/anything", True),
        ("/photos/a", "/photos/b", False),
        ("/photos/a", "/photos/ab", False),
    ],
)
def test_roots_overlap_when_one_lies_in_the_other(one: str, other: str, overlaps: bool) -> None:
    first, second = session(root_path=one), session(id=2, root_path=other)
    turns = Turns([first, second])
    assert list(turns.overlapping(first)) == ([first, second] if overlaps else [first])
    assert list(turns.overlapping(second)) == ([first, second] if overlaps else [second])


def test_sessions_are_found_by_their_folders_as_if_each_were_compared_with_each() -> None:
    letters = random.Random(3)
    roots = ["/" + "/".join(letters.choices(["a", "ab", "b", "é", "a b"], k=letters.randint(0, 4))) for _ in range(200)]
    sessions = [session(id=number, root_path=root) for number, root in enumerate(roots)]
    turns = Turns(sessions)
    for one in sessions:
        path = PurePosixPath(one.root_path)
        others = ((other, PurePosixPath(other.root_path)) for other in sessions)
        expected = [other for other, root in others if root.is_relative_to(path) or path.is_relative_to(root)]
        assert list(turns.overlapping(one)) == expected


def test_planning_twice_says_the_same_and_changes_nothing() -> None:
    snapshot = Snapshot(NOW, [session(running("embed")), session(id=2)], [FAILED], SILENCE_SECONDS)
    assert plan(snapshot) == plan(snapshot)


def test_every_action_is_in_the_table() -> None:
    """An action that no situation leads to is dead, or untested."""
    planned = {
        type(action)
        for name, test in globals().items()
        if name.startswith("test_")
        for mark in getattr(test, "pytestmark", [])
        for case in mark.args[1]
        if isinstance(case, Situation)
        for action in case.expected
    }
    known = {kind for _, kind in inspect.getmembers(plan_module, inspect.isclass) if kind in Action.__args__}
    assert planned == known


# Two brakes: the pause that the row requests, and spec.suspend of the session's resource

PAUSED = StepView("detect", "paused", total=100)


@table(
    situation(
        "a suspended session is held though its row requests to run",
        session(pending("detect"), suspended=True),
        [],
        Pause(1, "detect"),
    ),
    situation(
        "the workers of a suspended session stop at their batch",
        session(running("detect"), suspended=True),
        [job("detect")],
        StopJob(job("detect")),
    ),
    situation("the resource's brake is named", session(PAUSED, suspended=True), [], Wait(1, SUSPENDED["run"])),
    situation(
        "both brakes are named",
        session(PAUSED, suspended=True, requested="pause"),
        [],
        Wait(1, SUSPENDED["pause"]),
    ),
    situation("said once", session(PAUSED, suspended=True, waiting=SUSPENDED["run"]), []),
    situation("a requested pause is told by the status alone", session(PAUSED, requested="pause"), []),
    situation(
        "one brake taken back leaves the other",
        session(PAUSED, requested="pause", waiting=SUSPENDED["pause"]),
        [],
        Wait(1, None),
    ),
    situation("both brakes taken back", session(PAUSED, waiting=SUSPENDED["run"]), [], Resume(1, "detect")),
    situation("cancelling outdoes both brakes", session(PAUSED, suspended=True, requested="cancel"), [], Cancel(1)),
)
def test_a_session_is_held_by_either_brake(case: Situation) -> None:
    check(case)
