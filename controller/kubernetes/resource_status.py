"""The status of a TrainingSession resource, whole, from what the rows say of its session. Pure."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_conditions import (
    LONGEST_MESSAGE,
    conditions_of,
    conditions_of_failure,
    time_text,
    written,
)
from controller.kubernetes.resource_views import Failing, Shown
from trainyard.lifecycle import SETTLED
from trainyard.progress import Progress, Waiting

Status = dict[str, Any]

LONGEST_CODE, LONGEST_FAILURE = 64, 900  # characters that the schema takes; a failure has to fit in an event


def build_status(shown: Shown, resource: Resource, now: datetime) -> Status:
    """All of it; the conditions keep the time at which they last changed."""
    progress = shown.progress
    status = {
        "observedGeneration": resource.generation,
        "sessionId": progress.session_id,
        "overallStatus": progress.overall_status,
        "phase": _phase(progress),
        "progress": f"{math.floor(progress.percentage)}%",
        "waiting": _waiting(progress.waiting),
        "eta": eta_text(progress.eta_seconds),
        "images": shown.images,
        "faces": shown.faces,
        **_failed_attempts(shown.failing),
        "conditions": written(conditions_of(shown), resource, now),
    }
    return {name: value for name, value in status.items() if value is not None}


def status_of_lost(resource: Resource, now: datetime) -> Status:
    """Of a resource whose row was there once."""
    message = (
        f"The database knows no session {resource.status.get('sessionId')} of this resource any more, as after a "
        "restore from a backup. Delete the resource, and make the session again."
    )
    return {
        "observedGeneration": resource.generation,
        "overallStatus": "failed",
        "conditions": written(conditions_of_failure("SessionLost", message), resource, now),
    }


def differs_at_once(status: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether more than numbers and sentences has changed: this is written without delay."""
    return _words(status) != _words(before)


def eta_text(seconds: float | None) -> str | None:
    """Coarse: 4m, 3h, 2d; never less than a minute."""
    if seconds is None:
        return None
    minutes = max(math.ceil(seconds / 60), 1)
    if minutes < 120:
        return f"{minutes}m"
    return f"{round(minutes / 60)}h" if minutes < 48 * 60 else f"{round(minutes / 1440)}d"


def _words(status: Mapping[str, Any]) -> list[Any]:
    names = ("observedGeneration", "sessionId", "overallStatus", "phase", "failedStep", "failedAttempts")
    conditions = [(each["type"], each["status"], each["reason"]) for each in status.get("conditions", [])]
    return [*(status.get(name) for name in names), status.get("waiting", {}).get("code"), conditions]


def _phase(progress: Progress) -> str:
    """The first that is not done with, or the last that had anything to do."""
    statuses = {name: phase.status for name, phase in progress.phases.items()}
    unsettled = [name for name, status in statuses.items() if status not in SETTLED]
    done = [name for name, status in statuses.items() if status == "completed"]
    return unsettled[0] if unsettled else [*statuses, *done][-1]


def _waiting(waiting: Waiting | None) -> dict[str, str] | None:
    if waiting is None:
        return None
    said = {"code": waiting.code[:LONGEST_CODE], "message": waiting.message[:LONGEST_MESSAGE]}
    return {**said, "since": time_text(waiting.since)} if waiting.since else said


def _failed_attempts(failing: Failing | None) -> Status:
    if failing is None:
        return {}
    said = {"failedStep": failing.step, "failedAttempts": failing.attempts}
    if failing.failure is None:  # as after an attempt that was stopped by a pause
        return said
    return {**said, "lastFailure": ": ".join(filter(None, failing.failure))[:LONGEST_FAILURE]}
