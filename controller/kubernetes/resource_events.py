"""What becomes of a TrainingSession, as an operator is told it: from the status it had and the one it gets. Pure.

Numbers that change are no event, nor is a wait that passes within moments.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from controller.kubernetes.resource_conditions import RESOURCE_GONE
from trainyard.lifecycle import ENDED

Status = Mapping[str, Any]

# Who holds a session, as its condition Suspended has it, and what is said once that is over.
LIFTED = {
    "SuspendedByResource": "spec.suspend is false again.",
    "PauseRequested": "A resume was requested through the API.",
    "SuspendedTwice": "spec.suspend is false again, and a resume was requested through the API.",
}
NO_CONDITION = {"status": "False", "reason": "", "message": ""}


@dataclass(frozen=True)
class Event:
    """`place` is where it stands in a story that takes no time.

    `recurs`: it may come and go without anybody doing anything. `which` tells two of one reason apart that may follow
    the same status: when a wait began, by its row, or which attempt failed.
    """

    place: int
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    recurs: bool = False
    which: str = ""


def events_of(before: Status, after: Status) -> list[Event]:
    """Those of one write of the status, in the order in which they are told."""
    told = (_of_session, _of_brakes, _of_phases, _of_attempts, _of_waits, _of_end)
    return [event for tell in told for event in tell(before, after)]


def _of_session(before: Status, after: Status) -> Iterator[Event]:
    session_id = after.get("sessionId")
    if session_id is not None and session_id != before.get("sessionId"):
        yield Event(0, "Normal", "SessionCreated", f"This is session {session_id} in the database and the API.")
    elif _has_ended(before) and not _has_ended(after):
        yield Event(0, "Normal", "Retried", "A retry was requested through the API: what failed is done again.")


def _of_brakes(before: Status, after: Status) -> Iterator[Event]:
    earlier, holder = _holder(before), _holder(after)
    if holder and holder != earlier:
        yield Event(1, "Normal", "Suspended", _condition(after, "Suspended")["message"])
    elif earlier and not holder and not _is_ending(after):
        yield Event(2, "Normal", "Resumed", LIFTED[earlier])


def _of_phases(before: Status, after: Status) -> Iterator[Event]:
    phase = after.get("phase")
    if after["overallStatus"] == "running" and phase and phase != _begun_phase(before):
        message = f"Phase {phase} has begun; {after['progress']} of the session is done."
        yield Event(3, "Normal", f"{phase[0].upper()}{phase[1:]}Started", message)


def _of_attempts(before: Status, after: Status) -> Iterator[Event]:
    """The latest that failed; the one that ends the session is told as its failure."""
    attempts, step = after.get("failedAttempts", 0), after.get("failedStep")
    if attempts > _attempts_told(before, after):
        why = f", {after['lastFailure'].rstrip().rstrip('.')}" if "lastFailure" in after else ""
        message = f"Attempt {attempts} of {step} failed{why}. It is tried again."
        yield Event(4, "Warning", "AttemptFailed", message, recurs=True, which=f"{step} {attempts}")


def _attempts_told(before: Status, after: Status) -> int:
    """Of the same step of the same session."""
    same = all(before.get(name) == after.get(name) for name in ("sessionId", "failedStep"))
    return int(before.get("failedAttempts", 0)) if same else 0


def _of_waits(before: Status, after: Status) -> Iterator[Event]:
    earlier, wait = _wait(before), _wait(after)
    if wait and wait.reason != (earlier and earlier.reason):
        yield wait
    elif earlier and not wait and not _is_ending(after) and _condition(after, "Suspended")["reason"] == "NotSuspended":
        yield Event(6, "Normal", "Progressing", f"The session waits no more: {earlier.reason} is over.", recurs=True)


def _of_end(before: Status, after: Status) -> Iterator[Event]:
    failed = _condition(after, "Failed")
    if _became_true(before, after, "Complete"):
        message = f"Every phase is done; images: {after['images']:,}, faces: {after['faces']:,}."
        yield Event(7, "Normal", "Completed", message)
    elif _became_true(before, after, "Failed"):
        lost = failed["reason"] == "SessionLost"
        message = failed["message"] if lost else f"{failed['reason']}: {failed['message']}"
        yield Event(7, "Warning", "SessionLost" if lost else "Failed", message)
    elif after["overallStatus"] == "cancelled" != before.get("overallStatus"):
        complete = _condition(after, "Complete")
        gone = complete["reason"] == RESOURCE_GONE
        message = complete["message"] if gone else "A cancel was requested through the API."
        yield Event(7, "Normal", "Cancelled", message)


def _wait(status: Status) -> Event | None:
    """For somebody, or for another session; not for a worker that is being started."""
    stalled, since = _condition(status, "Stalled"), status.get("waiting", {}).get("since", "")
    if stalled["status"] == "True":
        return Event(5, "Warning", stalled["reason"], stalled["message"], recurs=True, which=since)
    if stalled["reason"] == "Queued":
        return Event(5, "Normal", "Queued", stalled["message"], recurs=True, which=since)
    return None


def _holder(status: Status) -> str | None:
    """Who has brought it to rest; None while it works, and when it is about to."""
    suspended = _condition(status, "Suspended")
    return suspended["reason"] if suspended["status"] == "True" and suspended["reason"] in LIFTED else None


def _begun_phase(status: Status) -> str | None:
    return status.get("phase") if status.get("overallStatus") in {"running", "paused"} else None


def _is_ending(status: Status) -> bool:
    return _has_ended(status) or _condition(status, "Suspended")["reason"] == "Cancelling"


def _has_ended(status: Status) -> bool:
    return status.get("overallStatus") in ENDED


def _became_true(before: Status, after: Status, type: str) -> bool:
    return _condition(after, type)["status"] == "True" != _condition(before, type)["status"]


def _condition(status: Status, type: str) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions", []) if each["type"] == type), NO_CONDITION)
