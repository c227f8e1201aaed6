"""A resource's status: whole, what the columns show of it, and conditions that keep their time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_conditions import CANCELLED_FOR_GOOD, REASON
from controller.kubernetes.resource_status import build_status, eta_text, status_of_lost
from controller.kubernetes.resource_views import Failing, Shown
from trainyard.progress import StepProgress, Waiting, compute
from trainyard.settings import DEFAULT_WEIGHTS

NOW, LATER = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=UTC)
NEW = Resource("archive", "uid", generation=3, terminating=False, spec={})
CRD = yaml.safe_load((Path(__file__).parents[2] / "charts/trainyard/crds/trainingsessions.yaml").read_text())
FIELDS = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
UNSCHEDULABLE = Waiting("Unschedulable", "0/14 nodes are available: 14 Insufficient nvidia.com/gpu.", NOW)


def steps(*statuses: str, done: int = 100) -> dict[str, StepProgress]:
    """Discover, embed, detect and cluster, each of 200 units; `done` of those that run."""
    names = ("discover", "embed", "detect", "cluster")
    doing = {"completed": 200, "running": done}
    return {
        name: StepProgress(name, status, 1, 200, doing.get(status, 0), 0, seconds=10.0, done_in_attempt=done)
        for name, status in zip(names, statuses, strict=True)
    }


DETECTING = steps("completed", "completed", "running", "pending")


def shown(
    status: str = "running",
    of: dict[str, StepProgress] = DETECTING,
    requested: str = "run",
    waiting: Waiting | None = None,
    **columns: Any,
) -> Shown:
    progress = compute(7, status, requested, waiting, DEFAULT_WEIGHTS, of)
    return Shown(progress, **{"suspended": False, "images": 12_000, "faces": 8_311, **columns})


def condition(type: str, of: Shown) -> tuple[str, str, str]:
    written = {each["type"]: each for each in build_status(of, NEW, NOW)["conditions"]}[type]
    return written["status"], written["reason"], written["message"]


def test_a_running_session_whole() -> None:
    at = "2026-01-01T12:00:00Z"
    not_so = {"status": "False", "observedGeneration": 3, "lastTransitionTime": at}
    assert build_status(shown(), NEW, NOW) == {
        "observedGeneration": 3,
        "sessionId": 7,
        "overallStatus": "running",
        "phase": "faceDetection",
        "progress": "62%",
        "eta": "1m",
        "images": 12_000,
        "faces": 8_311,
        "conditions": [
            {"type": "Complete", **not_so, "reason": "Running", "message": "The session is running."},
            {"type": "Failed", **not_so, "reason": "Running", "message": "The session is running."},
            {"type": "Suspended", **not_so, "reason": "NotSuspended", "message": "Nobody holds the session."},
            {"type": "Stalled", **not_so, "reason": "NotWaiting", "message": "The session waits for nothing."},
        ],
    }


def test_what_a_session_waits_for_is_told_with_its_sentence_and_since_when() -> None:
    status = build_status(shown(waiting=UNSCHEDULABLE), NEW, LATER)
    assert status["waiting"] == {
        "code": "Unschedulable",
        "message": "0/14 nodes are available: 14 Insufficient nvidia.com/gpu.",
        "since": "2026-01-01T12:00:00Z",
    }
    assert "eta" not in status


def test_attempts_that_failed_are_told_with_their_step_and_the_last_failure() -> None:
    status = build_status(shown(failing=Failing("detect", 2, ("CudaError", "The card fell off the bus."))), NEW, NOW)
    assert status == {
        **build_status(shown(), NEW, NOW),
        "failedStep": "detect",
        "failedAttempts": 2,
        "lastFailure": "CudaError: The card fell off the bus.",
    }


def test_a_failure_that_was_taken_back_leaves_the_count() -> None:
    status = build_status(shown(failing=Failing("detect", 1)), NEW, NOW)
    assert status["failedAttempts"] == 1
    assert "lastFailure" not in status


@pytest.mark.parametrize(
    ("of", "phase"),
    [
        ({}, "training"),
        (steps("running", "pending", "pending", "pending"), "training"),
        (steps("completed", "paused", "pending", "pending"), "training"),
        (steps("completed", "completed", "failed", "pending"), "faceDetection"),
        (steps("completed", "completed", "skipped", "pending"), "clustering"),
        (steps("completed", "completed", "completed", "completed"), "clustering"),
        (steps("completed", "completed", "skipped", "skipped"), "training"),
        (steps("running", "skipped", "pending", "pending"), "faceDetection"),
    ],
)
def test_the_phase_is_the_one_it_is_in_or_ended_in(of: dict[str, StepProgress], phase: str) -> None:
    assert build_status(shown(of=of), NEW, NOW)["phase"] == phase


@pytest.mark.parametrize(
    ("done", "status", "progress"), [(0, "running", "30%"), (199, "running", "94%"), (200, "completed", "100%")]
)
def test_progress_is_rounded_down(done: int, status: str, progress: str) -> None:
    of = steps("completed", "completed", "running", "pending", done=done)
    assert build_status(shown(status, of), NEW, NOW)["progress"] == progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None), (0, "1m"), (60, "1m"), (61, "2m"), (7_140, "119m"), (7_200, "2h"), (9_000, "2h"),
        (47 * 3600, "47h"), (48 * 3600, "2d"), (400 * 86_400, "400d"),
    ],
)  # fmt: skip
def test_the_time_left_is_coarse(seconds: float | None, text: str | None) -> None:
    assert eta_text(seconds) == text


@pytest.mark.parametrize(
    ("of", "type", "written"),
    [
        (shown("completed"), "Complete", ("True", "Completed", "Every phase is done.")),
        (shown("completed"), "Failed", ("False", "Completed", "The session is completed.")),
        (shown("failed", failure=("ModelMissing", "There is none.")), "Failed",
         ("True", "ModelMissing", "There is none.")),
        (shown("failed", failure=("ModelMissing", "There is none.")), "Complete",
         ("False", "Failed", "The session is failed.")),
        (shown("failed"), "Failed", ("True", "Failed", "The session failed.")),
        (shown("failed", failure=("no reason!", "But a sentence.")), "Failed", ("True", "Other", "But a sentence.")),
        (shown("cancelled"), "Complete", ("False", "Cancelled", "The session is cancelled.")),
        (shown("cancelled"), "Failed", ("False", "Cancelled", "The session is cancelled.")),
        (shown("cancelled", gone=True), "Complete", ("False", "ResourceGone", CANCELLED_FOR_GOOD)),
        (shown("completed", gone=True), "Complete", ("True", "Completed", "Every phase is done.")),
    ],
)  # fmt: skip
def test_complete_and_failed_say_how_it_ended(of: Shown, type: str, written: tuple[str, str, str]) -> None:
    assert condition(type, of) == written


@pytest.mark.parametrize(
    ("of", "status", "reason"),
    [
        (shown(), "False", "NotSuspended"),
        (shown(suspended=True), "False", "Stopping"),
        (shown(requested="pause"), "False", "Stopping"),
        (shown("paused", suspended=True), "True", "SuspendedByResource"),
        (shown("paused", requested="pause"), "True", "PauseRequested"),
        (shown("paused", requested="pause", suspended=True), "True", "SuspendedTwice"),
        (shown("paused"), "True", "Resuming"),
        (shown("paused", requested="cancel"), "True", "Cancelling"),
        (shown("completed", requested="pause", suspended=True), "False", "NotSuspended"),
    ],
)
def test_suspended_is_true_when_it_rests_and_says_who_holds_it(of: Shown, status: str, reason: str) -> None:
    assert condition("Suspended", of)[:2] == (status, reason)


@pytest.mark.parametrize(
    ("code", "stalled"),
    [
        ("Unschedulable", "True"), ("ImagePull", "True"), ("Quota", "True"), ("StorageUnavailable", "True"),
        ("Queued", "False"), ("Starting", "False"), ("Suspended", "False"),
    ],
)  # fmt: skip
def test_stalled_has_the_code_of_the_wait_and_is_true_when_somebody_must_act(code: str, stalled: str) -> None:
    waiting = Waiting(code, "It is so.", NOW)
    assert condition("Stalled", shown(waiting=waiting)) == (stalled, code, "It is so.")


def test_a_condition_keeps_the_time_at_which_it_last_changed() -> None:
    before = replace(NEW, status=build_status(shown(), NEW, NOW), generation=4)
    after = build_status(shown("paused", suspended=True), before, LATER)
    times = {each["type"]: each["lastTransitionTime"] for each in after["conditions"]}
    assert times == {
        "Complete": "2026-01-01T12:00:00Z",
        "Failed": "2026-01-01T12:00:00Z",
        "Suspended": "2026-01-01T13:00:00Z",
        "Stalled": "2026-01-01T12:00:00Z",
    }
    assert {each["observedGeneration"] for each in after["conditions"]} == {after["observedGeneration"]} == {4}


def test_times_are_utc_whatever_zone_the_database_speaks() -> None:
    waiting = replace(UNSCHEDULABLE, since=NOW.astimezone(timezone(timedelta(hours=9))))
    assert build_status(shown(waiting=waiting), NEW, NOW)["waiting"]["since"] == "2026-01-01T12:00:00Z"


def test_a_resource_without_a_session_says_what_to_do() -> None:
    status = status_of_lost(replace(NEW, status={"sessionId": 7}), NOW)
    assert status["overallStatus"] == "failed"
    failed = {each["type"]: each for each in status["conditions"]}["Failed"]
    assert (failed["status"], failed["reason"]) == ("True", "SessionLost")
    assert "session 7" in failed["message"]


def test_what_is_said_is_cut_to_what_the_schema_takes() -> None:
    failing = Failing("embed", 1, ("c" * 99, "m" * 40_000))
    status = build_status(shown(waiting=Waiting("c" * 99, "m" * 40_000, NOW), failing=failing), NEW, NOW)
    assert len(status["lastFailure"]) == FIELDS["lastFailure"]["maxLength"]
    waiting, message = FIELDS["waiting"]["properties"], FIELDS["conditions"]["items"]["properties"]["message"]
    assert {name: len(status["waiting"][name]) for name in ("code", "message")} == {
        name: waiting[name]["maxLength"] for name in ("code", "message")
    }
    assert len(status["conditions"][3]["message"]) == message["maxLength"]


def test_reasons_are_those_that_the_schema_takes() -> None:
    assert FIELDS["conditions"]["items"]["properties"]["reason"]["pattern"] == f"^{REASON.pattern}$"
