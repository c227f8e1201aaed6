"""The mirror of resources and rows as a table of situations: what both say, and what is to be done then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_plan import (
    STATUS_SECONDS,
    Adopt,
    DeleteResource,
    EndWithResource,
    MakeResource,
    MakeSession,
    Mirrored,
    ResourceAction,
    SetSuspended,
    WriteStatus,
    plan_resources,
)
from controller.kubernetes.resource_status import build_status, status_of_lost
from controller.kubernetes.resource_views import Failing, SessionRow, Shown
from trainyard.progress import StepProgress, Waiting, compute
from trainyard.settings import DEFAULT_WEIGHTS

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MAKER = (1, "2026-01-01T11:00:00+00:00")
OF_LOST_TIME = (1, "2025-12-31T11:00:00+00:00")  # the same id, before the database was restored


def resource(uid: str = "a", **columns: Any) -> Resource:
    known = {"name": "holiday", "generation": 1, "terminating": False, "spec": {"rootPath": "/photos"}}
    return Resource(uid=uid, **{**known, **columns})


def shown(done: int = 0, status: str = "running", waiting: Waiting | None = None, suspended: bool = False) -> Shown:
    steps = {"discover": step("discover", "completed", 200), "embed": step("embed", "running", done)}
    return Shown(compute(1, status, "run", waiting, DEFAULT_WEIGHTS, steps), suspended, images=200, faces=0)


def step(name: str, status: str, done: int) -> StepProgress:
    return StepProgress(name, status, attempt=1, total=200, done=done, failed=0)


def session(uid: str | None = "a", **columns: Any) -> SessionRow:
    return SessionRow(**{"maker": MAKER, "status": "running", "name": uid and "holiday", "uid": uid, **columns})


def said(of: Shown, before: Resource) -> dict[str, Any]:
    return build_status(of, before, NOW - timedelta(hours=1))


@dataclass(frozen=True)
class Situation:
    name: str
    resources: Sequence[Resource]
    sessions: Sequence[SessionRow]
    expected: Sequence[ResourceAction]
    written_at: Mapping[str, datetime] = field(default_factory=dict)


def situation(
    name: str,
    resources: Sequence[Resource],
    sessions: Sequence[SessionRow],
    *expected: ResourceAction,
    written_at: Mapping[str, datetime] | None = None,
) -> Situation:
    return Situation(name, resources, sessions, expected, written_at or {})


def check(case: Situation) -> None:
    assert plan_resources(Mirrored(NOW, case.resources, case.sessions, case.written_at)) == list(case.expected)


def table(*situations: Situation) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", situations, ids=lambda case: case.name.replace(" ", "-"))


APPLIED, MADE = resource(), resource(name="session-1", made_for=MAKER)
AGAIN = resource("b")
COMPLETED = {"overallStatus": "completed", "sessionId": 1}


@table(
    situation("one that somebody applied", [APPLIED], [], MakeSession(APPLIED)),
    situation("one whose row is made", [APPLIED], [session()]),
    situation("one of a deleted row, gone before", [APPLIED], [session(deleted=True, gone=True)]),
    situation("one that is about to go", [resource(terminating=True)], []),
    situation(
        "the same name applied again",
        [AGAIN],
        [session("a", status="completed", gone=True)],
        MakeSession(AGAIN),
    ),
    situation(
        "the same name applied again before anybody looked",
        [AGAIN],
        [session("a")],
        MakeSession(AGAIN),
        EndWithResource(1, "holiday", "a"),
    ),
    situation("two at once", [APPLIED, AGAIN], [], MakeSession(APPLIED), MakeSession(AGAIN)),
    situation("a finished one of a database that forgot it", [resource(status=COMPLETED)], []),
    situation(
        "an unfinished one of a database that forgot it",
        [resource(status={**COMPLETED, "overallStatus": "running"})],
        [],
        MakeSession(APPLIED),
    ),
)
def test_a_resource_makes_a_session_once(case: Situation) -> None:
    check(case)


FORGOTTEN = resource(made_for=OF_LOST_TIME, status={"sessionId": 1, "overallStatus": "running"})
COPY = resource("b", name="copy", made_for=MAKER)


@table(
    situation("a session of the API", [], [session(None)], MakeResource(1)),
    situation("one that was deleted before it had one", [], [session(None, deleted=True)]),
    situation("one whose resource is gone", [], [session(gone=True)]),
    situation("one whose controller died too early", [MADE], [session(None)], Adopt(1, "session-1", "a")),
    situation("the same, deleted since", [MADE], [session(None, deleted=True)], Adopt(1, "session-1", "a")),
    situation("the same, its resource deleted since", [replace(MADE, terminating=True)], [session(None)],
              Adopt(1, "session-1", "a")),
    situation("a copy of its resource", [MADE, COPY], [session()], MakeSession(COPY)),
    situation("a stranger of its id", [resource(made_for=OF_LOST_TIME)], [session(None)],
              MakeSession(resource(made_for=OF_LOST_TIME)), MakeResource(1)),
    situation("a resource whose row is lost", [FORGOTTEN], [session("b", gone=True)],
              WriteStatus(FORGOTTEN, status_of_lost(FORGOTTEN, NOW))),
    situation("the same, which says so already", [replace(FORGOTTEN, status=status_of_lost(FORGOTTEN, NOW))], []),
)  # fmt: skip
def test_a_session_of_the_api_makes_a_resource_once(case: Situation) -> None:
    check(case)


@table(
    situation("one that stands", [APPLIED], [session()]),
    situation("one that is not there", [], [session()], EndWithResource(1, "holiday", "a")),
    situation("one that waits for a finalizer", [resource(terminating=True)], [session()],
              EndWithResource(1, "holiday", "a")),
    situation("one that is gone, of a session that ended", [], [session(status="failed")],
              EndWithResource(1, "holiday", "a")),
    situation("one of a session deleted through the API", [APPLIED], [session(status="failed", deleted=True)],
              DeleteResource(1, "holiday", "a")),
    situation("one of a deleted session, not there", [], [session(status="failed", deleted=True)],
              EndWithResource(1, "holiday", "a")),
    situation("one that a late watch still shows", [APPLIED], [session(gone=True)]),
)  # fmt: skip
def test_what_becomes_of_a_resource_or_its_session_becomes_of_the_other(case: Situation) -> None:
    check(case)


HELD = resource(spec={"rootPath": "/photos", "suspend": True})
CANCELLED, PENDING = shown(status="cancelled"), resource(status=said(shown(status="pending"), APPLIED))
WRONGLY_GONE = session(gone=True, status="cancelled", shown=CANCELLED)


@table(
    situation("one that stands", [PENDING], [WRONGLY_GONE],
              WriteStatus(PENDING, build_status(CANCELLED, PENDING, NOW))),
    situation("one that says so already", [replace(PENDING, status=said(CANCELLED, APPLIED))], [WRONGLY_GONE]),
    situation("one with spec.suspend", [replace(HELD, status=said(CANCELLED, HELD))], [WRONGLY_GONE]),
    situation("one that is about to go", [replace(PENDING, terminating=True)], [WRONGLY_GONE]),
    situation("one whose session was deleted", [PENDING], [replace(WRONGLY_GONE, deleted=True, shown=None)]),
)  # fmt: skip
def test_a_resource_that_stands_although_its_row_says_it_is_gone_is_told_the_row_and_nothing_else(
    case: Situation,
) -> None:
    check(case)


@table(
    situation("spec.suspend", [HELD], [session()], SetSuspended(1, True)),
    situation("spec.suspend that is known", [HELD], [session(suspended=True)]),
    situation("spec.suspend lifted", [APPLIED], [session(suspended=True)], SetSuspended(1, False)),
    situation("spec.suspend of a session that ended", [HELD], [session(status="failed")], SetSuspended(1, True)),
)
def test_a_row_is_told_of_spec_suspend(case: Situation) -> None:
    check(case)


def mirrored(status: Mapping[str, Any], now: Shown, seconds: float | None = None, ended: bool = False) -> list[Any]:
    """The statuses written of a session with this to show, whose resource says `status`, written so long ago."""
    written_at = {} if seconds is None else {"a": NOW - timedelta(seconds=seconds)}
    row = session(shown=now, suspended=now.suspended, status="completed" if ended else "running")
    actions = plan_resources(Mirrored(NOW, [resource(status=status)], [row], written_at))
    return [action.status for action in actions if isinstance(action, WriteStatus)]


BEFORE = said(shown(50), APPLIED)


def test_a_status_that_says_it_all_is_not_written_again() -> None:
    assert mirrored(BEFORE, shown(50)) == []


def test_a_first_status_is_written_at_once() -> None:
    (status,) = mirrored({}, shown(50), seconds=0)
    assert status == build_status(shown(50), APPLIED, NOW)


def test_numbers_alone_wait_for_their_time() -> None:
    assert mirrored(BEFORE, shown(60), seconds=STATUS_SECONDS - 1) == []
    assert mirrored(BEFORE, shown(60), seconds=STATUS_SECONDS) == [said(shown(60), APPLIED)]
    assert mirrored(BEFORE, shown(60)) == [said(shown(60), APPLIED)]  # written by a controller before this one


@pytest.mark.parametrize(
    "now",
    [
        shown(50, "completed"),
        shown(50, waiting=Waiting("Unschedulable", "0/14 nodes are available.", NOW)),
        shown(50, suspended=True),
        replace(shown(50), failing=Failing("embed", 1)),
    ],
    ids=["status", "waiting", "condition", "failed-attempt"],
)
def test_words_do_not_wait(now: Shown) -> None:
    assert len(mirrored(BEFORE, now, seconds=0)) == 1


def test_a_sentence_that_changes_within_its_wait_waits_as_numbers_do() -> None:
    one, other = (Waiting("Unschedulable", f"0/{nodes} nodes are available.", NOW) for nodes in (14, 15))
    before = said(shown(50, waiting=one), APPLIED)
    assert mirrored(before, shown(50, waiting=other), seconds=0) == []
    assert len(mirrored(before, shown(50, waiting=other), seconds=STATUS_SECONDS)) == 1


def test_the_last_numbers_of_a_session_do_not_wait() -> None:
    before = said(shown(200, "completed"), APPLIED)
    assert len(mirrored(before, replace(shown(200, "completed"), faces=9), seconds=0, ended=True)) == 1
