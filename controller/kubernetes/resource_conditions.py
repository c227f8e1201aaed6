"""The conditions of a TrainingSession: Complete, Failed, Suspended, Stalled. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_views import Shown
from trainyard.lifecycle import ACTIVE

# Waits that end by themselves; in any other, nothing can happen before somebody does something.
PASSING = frozenset({"Queued", "Starting", "Suspended"})
LONGEST_MESSAGE = 32_768  # characters that the schema takes
REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")


@dataclass(frozen=True)
class Condition:
    type: str
    is_true: bool
    reason: str
    message: str


NOT_SUSPENDED = Condition("Suspended", False, "NotSuspended", "Nobody holds the session.")
NOT_STALLED = Condition("Stalled", False, "NotWaiting", "The session waits for nothing.")

RESOURCE_GONE = "ResourceGone"
CANCELLED_FOR_GOOD = (
    "The session is cancelled for good: this resource was taken to be deleted, as by a controller that looked at "
    "another namespace. Delete it and apply it again: photos that are done are found unchanged."
)

# Why a session rests that its resource does not hold: reason and message, by what was requested.
BY_REQUEST = {
    "pause": ("PauseRequested", "A pause was requested through the API."),
    "cancel": ("Cancelling", "A cancel was requested through the API."),
    "run": ("Resuming", "It goes on."),
}


def conditions_of(shown: Shown) -> tuple[Condition, ...]:
    return (_complete(shown), _failed(shown), _suspended(shown), _stalled(shown))


def conditions_of_failure(code: str, message: str) -> tuple[Condition, ...]:
    """Of a resource that has no session."""
    complete = Condition("Complete", False, "Failed", "There is no session.")
    return (complete, Condition("Failed", True, code, message), NOT_SUSPENDED, NOT_STALLED)


def written(conditions: Iterable[Condition], resource: Resource, now: datetime) -> list[dict[str, Any]]:
    """As the resource has them; each keeps the time at which its status last changed."""
    before = {each["type"]: each for each in resource.status.get("conditions", [])}
    return [_written(condition, before.get(condition.type, {}), resource, now) for condition in conditions]


def time_text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _complete(shown: Shown) -> Condition:
    if shown.progress.overall_status == "completed":
        return Condition("Complete", True, "Completed", "Every phase is done.")
    if shown.gone and shown.progress.overall_status == "cancelled":
        return Condition("Complete", False, RESOURCE_GONE, CANCELLED_FOR_GOOD)
    return _not_so("Complete", shown)


def _failed(shown: Shown) -> Condition:
    if shown.progress.overall_status == "failed":
        return Condition("Failed", True, *(shown.failure or ("Failed", "The session failed.")))
    return _not_so("Failed", shown)


def _not_so(type: str, shown: Shown) -> Condition:
    status = shown.progress.overall_status
    return Condition(type, False, status.capitalize(), f"The session is {status}.")


def _suspended(shown: Shown) -> Condition:
    by_request = shown.progress.requested == "pause"
    held = shown.suspended or by_request
    if shown.progress.overall_status == "paused":
        return Condition("Suspended", True, *_holder(shown.suspended, shown.progress.requested))
    if held and shown.progress.overall_status in ACTIVE:
        return Condition("Suspended", False, "Stopping", "The workers stop at their batch.")
    return NOT_SUSPENDED


def _holder(by_resource: bool, requested: str) -> tuple[str, str]:
    if by_resource and requested == "pause":
        return "SuspendedTwice", "spec.suspend is true, and a pause was requested through the API."
    return ("SuspendedByResource", "spec.suspend is true.") if by_resource else BY_REQUEST[requested]


def _stalled(shown: Shown) -> Condition:
    waiting = shown.progress.waiting
    if waiting is None:
        return NOT_STALLED
    return Condition("Stalled", waiting.code not in PASSING, waiting.code, waiting.message)


def _written(condition: Condition, before: Mapping[str, Any], resource: Resource, now: datetime) -> dict[str, Any]:
    status = str(condition.is_true)
    unchanged = before.get("status") == status
    return {
        "type": condition.type,
        "status": status,
        "observedGeneration": resource.generation,
        "lastTransitionTime": before["lastTransitionTime"] if unchanged else time_text(now),
        "reason": condition.reason if REASON.fullmatch(condition.reason) else "Other",
        "message": condition.message[:LONGEST_MESSAGE],
    }
