"""Whether the process gets on (else a restart is due), and whether it could drive sessions just now."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from controller.events import Acted, Asked, Event, Leads, Outcome, Passed
from controller.lease import LEASE_SECONDS, Lease

LATE_SECONDS = 300.0  # one action may cut millions of rows; and in an outage each look ends within seconds
RECENT_SECONDS = 60.0

# Said in place of an error's own words: those may name addresses and users, and go to the log.
AWAY: Mapping[Outcome, str] = {
    "database_away": "PostgreSQL does not answer; the log has its words.",
    "backend_away": "What runs the Jobs does not answer as it should; the log has its words.",
}

Check = Callable[[], str | None]  # what keeps the process from being ready, in one sentence; None: nothing does


@dataclass(frozen=True)
class State:
    """What the process did last. Times are of one monotonic clock."""

    came_round_at: float  # the loop, or before it leads the wait for the lease; at first the start
    outcome: Outcome | None = None  # of the last pass, or of the last try for the lease; None before the first
    succeeded_at: float = 0.0  # with the outcome "ok"; only of use after one
    lease: Lease | None = None
    lease_asked_at: float = 0.0

    def lease_seconds(self, now: float) -> float:
        """Left of its lease at least; 0 for one that does not lead, or leads no more."""
        return max(0.0, self.lease_asked_at + LEASE_SECONDS - now) if self.lease else 0.0


def after(state: State, event: Event, now: float) -> State:
    match event:
        case Asked(answered):
            return _came_round(state, "ok" if answered else "database_away", now)
        case Leads(lease, asked_at):
            return _leading(state, lease, asked_at, now)
        case Acted():
            return replace(state, came_round_at=now)
        case Passed(outcome):
            return _came_round(state, outcome, now)
    return state


def _came_round(state: State, outcome: Outcome, now: float) -> State:
    succeeded_at = now if outcome == "ok" else state.succeeded_at
    return replace(state, came_round_at=now, outcome=outcome, succeeded_at=succeeded_at)


def _leading(state: State, lease: Lease, asked_at: float, now: float) -> State:
    """A renewal says nothing of the loop: another thread renews. A new term begins with nothing done."""
    if state.lease == lease:
        return replace(state, lease_asked_at=asked_at)
    return State(came_round_at=now, lease=lease, lease_asked_at=asked_at)


def not_alive(state: State, now: float) -> str | None:
    """Why the process should be restarted; None: it should not."""
    seconds = now - state.came_round_at
    what = "loop" if state.lease else "wait for the lease"
    return f"The {what} has not come round for {seconds:.0f} s." if seconds > LATE_SECONDS else None


def not_ready(state: State, now: float) -> str | None:
    """Why it cannot do its part; None: a leader's last pass, or a standby's last try for the lease, was good."""
    what = "pass" if state.lease else "try for the lease"
    if state.outcome is None:
        return f"The first {what} has not ended yet."
    if state.outcome != "ok":
        return AWAY[state.outcome]
    if state.lease and not state.lease_seconds(now):
        return "Its lease has run out; PostgreSQL does not answer in time."
    seconds = now - state.succeeded_at
    return f"The last {what} ended {seconds:.0f} s ago." if seconds > RECENT_SECONDS else None


class Health:
    """The state, kept by the events it is told; it may be told and asked from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state = State(came_round_at=clock())

    def tell(self, event: Event) -> None:
        with self._lock:
            self._state = after(self._state, event, self._clock())

    @property
    def state(self) -> State:
        return self._state

    def not_alive(self) -> str | None:
        return not_alive(self._state, self._clock())

    def not_ready(self) -> str | None:
        return not_ready(self._state, self._clock())

    @property
    def lease_seconds(self) -> float:
        return self._state.lease_seconds(self._clock())
