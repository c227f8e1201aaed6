"""Statuses: the one module that changes them, and that refuses an impossible step by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from trainyard.database import notify
from trainyard.steps import PHASES, Phase
from trainyard.tables import steps as steps_table
from trainyard.tables import training_sessions

ENDED = frozenset({"completed", "failed", "cancelled"})
SETTLED = frozenset({"completed", "skipped"})
ACTIVE = frozenset({"pending", "running", "paused"})

# From a step's status, where it may go. `completed` and `failed` reopen by retry alone.
TRANSITIONS: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"running", "paused", "completed", "failed", "cancelled", "skipped"}),
    "running": frozenset({"pending", "paused", "completed", "failed", "cancelled"}),
    "paused": frozenset({"pending", "cancelled"}),
    "completed": frozenset({"pending"}),
    "failed": frozenset({"pending"}),
    "cancelled": frozenset(),
    "skipped": frozenset({"pending"}),
}


class ImpossibleTransition(Exception):
    """A step was to go where its status does not lead."""


class NoSuchSession(Exception):
    """There is no session of that id."""


@dataclass(frozen=True)
class Answer:
    """What became of a request: an HTTP status (200 nothing to do, 202 accepted, 409 refused), code, sentence."""

    status: int
    code: str
    message: str


def phase_status(statuses: list[str]) -> str:
    """A phase's status from those of its steps, in their order."""
    for decisive in ("failed", "cancelled"):
        if decisive in statuses:
            return decisive
    if set(statuses) <= {"skipped"}:
        return "skipped"
    if set(statuses) <= SETTLED:
        return "completed"
    if "paused" in statuses:
        return "paused"
    return "running" if {"running", "completed"} & set(statuses) else "pending"


def phase_statuses(by_step: Mapping[str, str]) -> dict[str, str]:
    """Every phase's status. One whose counting steps are all skipped is skipped, whatever discover does for others."""
    return {phase.name: _phase_status(phase, by_step) for phase in PHASES}


def _phase_status(phase: Phase, by_step: Mapping[str, str]) -> str:
    if {by_step[step] for step in phase.counting_steps if step in by_step} == {"skipped"}:
        return "skipped"
    return phase_status([by_step[step] for step in phase.steps if step in by_step])


def overall_status(by_step: Mapping[str, str], *, started: bool) -> str:
    """The session's status from its steps'; `started` is whether any worker has begun."""
    found = set(by_step.values())
    for decisive in ("failed", "cancelled"):
        if decisive in found:
            return decisive
    if found and found <= SETTLED:
        return "completed"
    if "paused" in found:
        return "paused"
    return "running" if started and found else "pending"


def set_step(connection: sa.Connection, session_id: int, step: str, status: str, **columns: Any) -> None:
    """Move a step to `status`, and the session to what follows from that, in this transaction.

    Raises ImpossibleTransition, naming session, step and both statuses.
    """
    key = (steps_table.c.session_id == session_id) & (steps_table.c.step == step)
    now_status = connection.execute(sa.select(steps_table.c.status).where(key).with_for_update()).scalar_one_or_none()
    if status != now_status and (now_status is None or status not in TRANSITIONS[now_status]):
        raise ImpossibleTransition(f"session {session_id}, step {step}: {now_status} cannot become {status}")
    connection.execute(sa.update(steps_table).where(key).values(status=status, **columns))
    settle_session(connection, session_id)


def settle_session(connection: sa.Connection, session_id: int) -> str:
    """Store the session's status as it follows from its steps; returns it. Tells listeners if it changed."""
    rows = connection.execute(
        sa.select(steps_table.c.step, steps_table.c.status).where(steps_table.c.session_id == session_id)
    )
    by_step = {row.step: row.status for row in rows}
    session = connection.execute(
        sa.select(training_sessions.c.status, training_sessions.c.started_at).where(
            training_sessions.c.id == session_id
        )
    ).one()
    status = overall_status(by_step, started=session.started_at is not None)
    if status != session.status:
        connection.execute(
            sa.update(training_sessions)
            .where(training_sessions.c.id == session_id)
            .values(status=status, completed_at=sa.func.now() if status in ENDED else None)
        )
        notify(connection)
    return status


def answer(status: str, requested: str, *, failed_images: int, verb: str) -> Answer:
    """What a request is worth in a session of this status: the table of requests, cell by cell."""
    if verb == "retry":
        return _answer_retry(status, failed_images)
    if status in ENDED:
        if verb == "cancel" and status == "cancelled":
            return Answer(200, "AlreadyCancelled", "The session is cancelled already.")
        return Answer(409, "SessionEnded", f"The session is {status}; it cannot {verb} any more.")
    if requested == "cancel":
        if verb == "cancel":
            return Answer(200, "AlreadyCancelled", "The session is being cancelled already.")
        return Answer(409, "SessionEnded", f"The session is being cancelled; it cannot {verb} any more.")
    wanted = {"pause": "pause", "resume": "run", "cancel": "cancel"}[verb]
    if requested == wanted:
        return Answer(200, "NothingToDo", _nothing_to_do(status, verb))
    return Answer(202, "Accepted", f"The session will {verb}.")


def _nothing_to_do(status: str, verb: str) -> str:
    """Why a pause or resume that was asked for already changes nothing: it is done, or on its way."""
    if verb == "pause":
        if status == "paused":
            return "The session is paused already."
        return "A pause has been asked for already; it takes effect at the next batch."
    if status == "paused":
        return "The session has been asked to go on already, and is about to."
    return f"The session is {status}; there is nothing to resume."


def _answer_retry(status: str, failed_images: int) -> Answer:
    if status == "failed" or (status == "completed" and failed_images):
        return Answer(202, "Accepted", "What failed is tried again, in a new attempt.")
    if status == "completed":
        return Answer(409, "NothingToRetry", "Nothing failed in this session, so there is nothing to retry.")
    return Answer(409, "NotEnded", f"The session is {status}; only what has failed can be retried.")


def answer_of_resource(verb: str, name: str, *, gone: bool, suspended: bool, paused: bool) -> Answer | None:
    """What the session's TrainingSession resource rules out; None: it rules nothing out.

    `paused` is whether a pause is requested beside its spec.suspend: then both have to go.
    """
    if verb == "retry" and gone:
        return Answer(
            409,
            "ResourceGone",
            f"The session ended for good when its resource {name} was deleted. Make another session of the same "
            "folders: the photos that are done are found unchanged.",
        )
    if verb == "resume" and suspended:
        lift = f"""kubectl patch trainingsession {name} --type=merge --patch='{{"spec":{{"suspend":false}}}}'"""
        then = ", then resume again" if paused else ""
        return Answer(
            409, "SuspendedByResource", f"Its resource {name} holds the session by spec.suspend. Run `{lift}`{then}."
        )
    return None


def request(connection: sa.Connection, session_id: int, verb: str) -> Answer:
    """Ask a session to pause, resume, cancel or retry; the controller does it. Raises NoSuchSession."""
    sessions = training_sessions
    row = connection.execute(
        sa.select(sessions).where(sessions.c.id == session_id, sessions.c.deleted_at.is_(None)).with_for_update()
    ).one_or_none()
    if row is None:
        raise NoSuchSession(f"There is no session {session_id}.")
    result = _answer_row(row, verb)
    if result.status == 202:
        wanted: dict[str, Any] = {"requested": {"pause": "pause", "cancel": "cancel"}.get(verb, "run")}
        if verb == "retry":
            wanted["retry_requested_at"] = sa.func.clock_timestamp()
        connection.execute(sa.update(sessions).where(sessions.c.id == session_id).values(**wanted))
        notify(connection)
    return result


def _answer_row(row: sa.Row[Any], verb: str) -> Answer:
    gone, active = row.resource_gone_at is not None, row.status in ACTIVE and row.requested != "cancel"
    ruled_out = answer_of_resource(
        verb, row.resource_name, gone=gone, suspended=row.suspended and active, paused=row.requested == "pause"
    )
    if ruled_out is not None:
        return ruled_out
    if verb == "retry" and retry_under_way(row):
        return Answer(200, "NothingToDo", "A retry was requested already and is about to begin.")
    return answer(row.status, row.requested, failed_images=row.failed, verb=verb)


def retry_due() -> sa.ColumnElement[bool]:
    """The condition that a retry was requested and the controller has not taken it up yet."""
    s = training_sessions.c
    return sa.and_(
        s.retry_requested_at.is_not(None),
        sa.or_(s.retry_seen_at.is_(None), s.retry_seen_at < s.retry_requested_at),
    )


def retry_under_way(row: sa.Row[Any]) -> bool:
    """The same of a session's row."""
    seen, asked = row.retry_seen_at, row.retry_requested_at
    return asked is not None and (seen is None or seen < asked)
