"""When a controller is alive, and when it is ready."""

from functools import reduce

import pytest

from controller.events import Acted, Asked, Event, Leads, Passed
from controller.health import AWAY, LATE_SECONDS, RECENT_SECONDS, State, after, not_alive, not_ready
from controller.lease import LEASE_SECONDS, Lease

LEASE = Lease("me", 3)
OK = Passed("ok", 0.1)
START = State(came_round_at=0.0)


def having(*events: tuple[float, Event]) -> State:
    return reduced(START, *events)


def reduced(state: State, *events: tuple[float, Event]) -> State:
    return reduce(lambda state, told: after(state, told[1], told[0]), events, state)


def test_at_the_start_it_is_alive_and_not_ready() -> None:
    assert not_alive(START, 1) is None
    assert not_ready(START, 1) == "The first try for the lease has not ended yet."


def test_a_standby_whom_the_database_answers_is_ready() -> None:
    state = having((1, Asked(answered=True)))
    assert (not_alive(state, 2), not_ready(state, 2)) == (None, None)


def test_a_standby_without_a_database_is_alive_and_says_why_it_is_not_ready() -> None:
    state = having((1, Asked(answered=True)), (2, Asked(answered=False)))
    assert (not_alive(state, 3), not_ready(state, 3)) == (None, AWAY["database_away"])


def test_a_wait_for_the_lease_that_stands_still_is_not_alive() -> None:
    state = having((1, Asked(answered=True)))
    assert not_alive(state, 1 + LATE_SECONDS) is None
    assert not_alive(state, 2 + LATE_SECONDS) == "The wait for the lease has not come round for 301 s."


def test_a_new_leader_is_ready_after_its_first_pass() -> None:
    leads = having((1, Asked(answered=True)), (2, Leads(LEASE, 2)))
    assert not_ready(leads, 3) == "The first pass has not ended yet."
    assert not_ready(after(leads, OK, 3), 3) is None


@pytest.mark.parametrize("outcome", ["database_away", "backend_away"])
def test_a_leader_in_an_outage_is_alive_for_as_long_as_passes_end(outcome: str) -> None:
    begun = [(1.0, Leads(LEASE, 1)), (2.0, OK)]
    state = having(*begun, *((10.0 * n, Passed(outcome, 5.0)) for n in range(1, 1_000)))  # type: ignore[arg-type]
    assert not_alive(state, 10_000) is None
    assert not_ready(state, 10_000) == AWAY[outcome]  # type: ignore[index]
    assert not_ready(reduced(state, (10_001, Leads(LEASE, 10_001)), (10_001, OK)), 10_001) is None


def test_a_leader_whose_lease_has_run_out_is_not_ready_whatever_its_last_pass_was() -> None:
    state = having((0, Leads(LEASE, 0)), (LEASE_SECONDS - 1, OK))
    assert not_ready(state, LEASE_SECONDS - 1) is None
    assert not_ready(state, LEASE_SECONDS) == "Its lease has run out; PostgreSQL does not answer in time."


def test_a_long_pass_makes_a_leader_unready_but_leaves_it_alive_while_actions_are_done() -> None:
    state = having((0, Leads(LEASE, 0)), (1, OK), (60, Leads(LEASE, 60)), (250, Acted()))
    assert not_ready(state, 1 + RECENT_SECONDS) is None
    state = after(state, Leads(LEASE, 500), 500)
    assert not_ready(state, 500) == "The last pass ended 499 s ago."
    assert not_alive(state, 500) is None
    assert not_alive(state, 551) == "The loop has not come round for 301 s."


def test_renewing_the_lease_is_no_sign_of_the_loop() -> None:
    state = having((0, Leads(LEASE, 0)), (1, OK), (400, Leads(LEASE, 400)))
    assert not_alive(state, 400) == "The loop has not come round for 399 s."


def test_a_new_term_has_its_first_pass_before_it() -> None:
    state = having((0, Leads(LEASE, 0)), (1, OK), (2, Leads(Lease("me", 4), 2)))
    assert not_ready(state, 3) == "The first pass has not ended yet."


def test_the_lease_runs_down_from_when_it_was_asked_for() -> None:
    assert START.lease_seconds(0) == 0
    state = having((12, Leads(LEASE, 10)))
    assert state.lease_seconds(12) == LEASE_SECONDS - 2
    assert state.lease_seconds(100) == 0
