"""The story of a session as its events tell it: from one status to the next, whole."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_event_manifest import LONGEST_MESSAGE, event_name
from controller.kubernetes.resource_events import events_of
from controller.kubernetes.resource_status import LONGEST_FAILURE, Status, build_status, status_of_lost
from controller.kubernetes.resource_views import Failing, Shown
from trainyard.progress import StepProgress, Waiting, compute
from trainyard.settings import DEFAULT_WEIGHTS

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NEW = Resource("archive", "uid", generation=1, terminating=False, spec={})

TRAINING = ("running", "pending", "pending", "pending")
DETECTING = ("completed", "completed", "running", "pending")
CLUSTERING = ("completed", "completed", "completed", "running")
DONE = ("completed",) * 4

NO_GPU = "0/14 nodes are available: 14 Insufficient nvidia.com/gpu."
UNSCHEDULABLE = Waiting("Unschedulable", NO_GPU, NOW)
NO_IMAGE = Waiting("ImagePull", "Image jobs:1: not found", NOW)
QUEUED = Waiting("Queued", "Session 3 works on the same folders (/photos) first.", NOW)
STARTING = Waiting("Starting", "Pod a is being started.", NOW)
HELD = Waiting("Suspended", "Its resource says spec.suspend: true; set it to false, and the session goes on.", NOW)


def status(
    overall: str = "running",
    steps: Sequence[str] = TRAINING,
    waiting: Waiting | None = None,
    requested: str = "run",
    session_id: int = 7,
    done: int = 100,
    **columns: Any,
) -> Status:
    """Of discover, embed, detect and cluster, each of 200 units."""
    doing = {"completed": 200, "running": done}
    of = {
        name: StepProgress(name, step, 1, 200, doing.get(step, 0), 0)
        for name, step in zip(("discover", "embed", "detect", "cluster"), steps, strict=True)
    }
    progress = compute(session_id, overall, requested, waiting, DEFAULT_WEIGHTS, of)
    return build_status(Shown(progress, **{"suspended": False, "images": 12_000, "faces": 8_311, **columns}), NEW, NOW)


def told(before: Status, after: Status) -> list[tuple[str, str, str]]:
    return [(event.type, event.reason, event.message) for event in events_of(before, after)]


def reasons(*statuses: Status) -> list[str]:
    return [event.reason for before, after in pairwise(statuses) for event in events_of(before, after)]


PENDING = status("pending", ("pending",) * 4)


def test_a_session_from_beginning_to_end() -> None:
    story = [{}, PENDING, status(), status(steps=DETECTING), status(steps=CLUSTERING), status("completed", DONE)]
    assert [event for before, after in pairwise(story) for event in told(before, after)] == [
        ("Normal", "SessionCreated", "This is session 7 in the database and the API."),
        ("Normal", "TrainingStarted", "Phase training has begun; 0% of the session is done."),
        ("Normal", "FaceDetectionStarted", "Phase faceDetection has begun; 62% of the session is done."),
        ("Normal", "ClusteringStarted", "Phase clustering has begun; 97% of the session is done."),
        ("Normal", "Completed", "Every phase is done; images: 12,000, faces: 8,311."),
    ]


def test_numbers_that_change_are_no_event() -> None:
    before = status(steps=DETECTING, done=50)
    assert reasons(before, status(steps=DETECTING, done=150, images=13_000, faces=9_000)) == []


def test_a_session_that_was_there_before_its_resource_is_told_as_it_is() -> None:
    assert reasons({}, status(steps=DETECTING)) == ["SessionCreated", "FaceDetectionStarted"]
    assert reasons({}, status("completed", DONE)) == ["SessionCreated", "Completed"]


def test_what_somebody_has_to_mend_is_a_warning_in_the_words_of_who_found_it() -> None:
    stalled = status(waiting=UNSCHEDULABLE)
    assert told(status(), stalled) == [("Warning", "Unschedulable", NO_GPU)]
    assert told(stalled, status(waiting=STARTING)) == [
        ("Normal", "Progressing", "The session waits no more: Unschedulable is over.")
    ]
    assert told(stalled, status(waiting=NO_IMAGE)) == [("Warning", "ImagePull", "Image jobs:1: not found")]


def test_a_wait_is_told_once_whatever_its_sentence_becomes() -> None:
    other = replace(UNSCHEDULABLE, message="0/15 nodes are available.")
    assert reasons(status(waiting=UNSCHEDULABLE), status(waiting=other)) == []


def test_a_worker_that_is_being_started_is_not_told() -> None:
    assert reasons(status(), status(waiting=STARTING), status()) == []


def test_a_session_that_waits_for_another_says_so() -> None:
    assert told(PENDING, status("pending", ("pending",) * 4, QUEUED)) == [("Normal", "Queued", QUEUED.message)]
    assert reasons(status("pending", waiting=QUEUED), status()) == ["TrainingStarted", "Progressing"]


def test_two_waits_after_the_same_status_are_told_apart_by_when_they_began() -> None:
    later = replace(QUEUED, since=NOW + timedelta(hours=1))
    first, second = (events_of(PENDING, status("pending", waiting=wait))[0] for wait in (QUEUED, later))
    assert (first.which, second.which) == ("2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z")


def test_waits_and_failed_attempts_alone_may_come_again_and_again() -> None:
    waits = [events_of(status(), status(waiting=wait)) for wait in (UNSCHEDULABLE, QUEUED)]
    gone_on, failed = events_of(status(waiting=QUEUED), status()), events_of(status(), FAILED_ONCE)
    assert all(event.recurs for events in (*waits, gone_on, failed) for event in events)
    others = events_of({}, status()), events_of(status(), status("paused", requested="pause"))
    assert not any(event.recurs for events in others for event in events)


OFF_THE_BUS = ("CudaError", "the card fell off the bus")


def failing(attempts: int, step: str = "embed", failure: tuple[str, str] | None = OFF_THE_BUS) -> Status:
    return status(steps=DETECTING if step == "detect" else TRAINING, failing=Failing(step, attempts, failure))


FAILED_ONCE, FAILED_TWICE = failing(1), failing(2)


def test_every_attempt_that_fails_is_told_once_also_in_the_same_words() -> None:
    story = [status(), FAILED_ONCE, FAILED_ONCE, FAILED_TWICE, FAILED_TWICE]
    assert [event for before, after in pairwise(story) for event in told(before, after)] == [
        (
            "Warning",
            "AttemptFailed",
            f"Attempt {n} of embed failed, CudaError: the card fell off the bus. It is tried again.",
        )
        for n in (1, 2)
    ]


def test_the_attempt_that_ends_the_session_is_told_as_its_failure() -> None:
    failed = status("failed", ("completed", "failed", "pending", "pending"), failure=OFF_THE_BUS)
    assert told(FAILED_TWICE, failed) == [("Warning", "Failed", "CudaError: the card fell off the bus")]
    assert reasons(failed, status()) == ["Retried", "TrainingStarted"]
    assert reasons(failed, status(), FAILED_ONCE) == ["Retried", "TrainingStarted", "AttemptFailed"]


def test_a_count_that_goes_down_is_no_failure() -> None:
    assert reasons(FAILED_TWICE, FAILED_ONCE) == reasons(FAILED_TWICE, status()) == []


def test_another_step_counts_from_one() -> None:
    assert reasons(FAILED_TWICE, failing(1, "detect")) == ["FaceDetectionStarted", "AttemptFailed"]
    detecting = {**failing(1, "detect"), "sessionId": 8}
    assert reasons(failing(1, "detect"), detecting) == ["SessionCreated", "AttemptFailed"]


def test_two_failures_after_the_same_status_are_two_events() -> None:
    """As when a controller dies before it writes the first of them into the status."""
    resource = replace(NEW, status=status())
    names = [event_name(resource, events_of(status(), after)[0]) for after in (FAILED_ONCE, FAILED_TWICE, FAILED_ONCE)]
    assert names[0] != names[1]
    assert names[0] == names[2]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (None, "Attempt 1 of embed failed. It is tried again."),
        (("OOMKilled", ""), "Attempt 1 of embed failed, OOMKilled. It is tried again."),
        (("OOMKilled", "It took 9 GiB."), "Attempt 1 of embed failed, OOMKilled: It took 9 GiB. It is tried again."),
    ],
)
def test_a_failure_is_told_as_far_as_it_is_known(failure: tuple[str, str] | None, message: str) -> None:
    assert told(status(), failing(1, failure=failure)) == [("Warning", "AttemptFailed", message)]


def test_that_it_is_tried_again_is_told_after_the_longest_failure() -> None:
    ((_, _, message),) = told(status(), failing(1, failure=("C" * 64, "m" * 40_000)))
    assert LONGEST_FAILURE < len(message) <= LONGEST_MESSAGE
    assert message.endswith("m. It is tried again.")


PAUSED = ("paused", "pending", "pending", "pending")
SUSPENDED = status("paused", PAUSED, HELD, suspended=True)
BY_API = status("paused", PAUSED, requested="pause")
TWICE = status("paused", PAUSED, HELD, requested="pause", suspended=True)
LET_GO = status("paused", PAUSED)


@pytest.mark.parametrize(
    ("paused", "by", "resumed"),
    [
        (SUSPENDED, "spec.suspend is true.", "spec.suspend is false again."),
        (BY_API, "A pause was requested through the API.", "A resume was requested through the API."),
        (
            TWICE,
            "spec.suspend is true, and a pause was requested through the API.",
            "spec.suspend is false again, and a resume was requested through the API.",
        ),
    ],
    ids=["resource", "api", "both"],
)
def test_who_holds_a_session_is_told_and_who_lets_it_go(paused: Status, by: str, resumed: str) -> None:
    assert told(status(), paused) == [("Normal", "Suspended", by)]
    assert told(paused, LET_GO) == told(paused, status()) == [("Normal", "Resumed", resumed)]
    assert reasons(LET_GO, status()) == []
    still_written = status("pending", ("pending",) * 4, HELD)  # until a worker is started
    assert reasons(paused, still_written, status("pending", ("pending",) * 4)) == ["Resumed"]


def test_a_session_that_is_about_to_rest_does_not_rest_yet() -> None:
    assert reasons(status(), status(suspended=True), SUSPENDED) == ["Suspended"]
    assert reasons(status(waiting=UNSCHEDULABLE), status(suspended=True), SUSPENDED) == ["Suspended"]


def test_who_still_holds_it_is_told_when_one_of_two_lets_go() -> None:
    assert told(TWICE, BY_API) == [("Normal", "Suspended", "A pause was requested through the API.")]


def test_a_session_cancelled_at_rest_is_not_resumed() -> None:
    cancelling = status("paused", PAUSED, requested="cancel")
    assert reasons(BY_API, cancelling, status("cancelled", ("cancelled",) * 4)) == ["Cancelled"]
    assert reasons(SUSPENDED, status("cancelled", ("cancelled",) * 4)) == ["Cancelled"]


def test_a_failure_is_a_warning_with_its_code_and_sentence() -> None:
    failed = status("failed", ("failed",) * 4, failure=("RootNotFound", "There is no folder /photos."))
    assert told(status(waiting=UNSCHEDULABLE), failed) == [
        ("Warning", "Failed", "RootNotFound: There is no folder /photos.")
    ]
    assert reasons(failed, failed) == []


def test_a_cancel_is_told_as_what_was_asked_for() -> None:
    cancelled = status("cancelled", ("cancelled",) * 4)
    assert told(status(), cancelled) == [("Normal", "Cancelled", "A cancel was requested through the API.")]
    assert reasons(cancelled, cancelled) == []


def test_a_session_cancelled_with_a_resource_that_stands_says_what_to_do() -> None:
    ((kind, reason, message),) = told(status(), status("cancelled", ("cancelled",) * 4, gone=True))
    assert (kind, reason) == ("Normal", "Cancelled")
    assert "Delete it and apply it again" in message


def test_a_retry_tells_its_phase_again() -> None:
    failed = status("failed", ("completed", "completed", "failed", "pending"))
    assert reasons(failed, status(steps=DETECTING)) == ["Retried", "FaceDetectionStarted"]


def test_a_resource_whose_row_is_lost_says_so() -> None:
    lost = status_of_lost(replace(NEW, status=status()), NOW)
    ((kind, reason, message),) = told(status(), lost)
    assert (kind, reason) == ("Warning", "SessionLost")
    assert message.startswith("The database knows no session 7 of this resource any more")


def test_the_same_resource_with_another_session_says_which() -> None:
    assert reasons(status(), status("pending", ("pending",) * 4, session_id=8)) == ["SessionCreated"]


def test_a_status_that_somebody_else_spoilt_is_put_right_in_silence() -> None:
    completed = status("completed", DONE)
    assert reasons({**completed, "overallStatus": "running"}, completed) == []
