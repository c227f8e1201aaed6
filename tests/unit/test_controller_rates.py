"""Images per second, out of what passes see."""

from datetime import UTC, datetime

from controller.observe import SessionView, Snapshot, StepView
from controller.rates import WINDOW_SECONDS, History, followed, units_per_second
from trainyard.shards import AttemptTotals
from trainyard.steps import STEPS

NOTHING = dict.fromkeys(STEPS, 0.0)
OPENED = datetime(2026, 1, 1, tzinfo=UTC)


def running(name: str, done: int, *, before: int = 0, attempt: int = 1) -> StepView:
    """So many units done by the attempt, and so many before it."""
    totals = AttemptTotals(shards=1, claimed=1, finished=0, total=100, done=done, failed=0, seconds=1.0)
    return StepView(name, "running", attempt, done=before, shards=totals)


def seen(**steps: StepView) -> Snapshot:
    """Sessions `s1`, `s2`, each with one step."""
    sessions = [
        SessionView(int(name[1:]), "/photos", "run", "running", True, True, True, 100, steps={step.name: step})
        for name, step in steps.items()
    ]
    return Snapshot(OPENED, sessions, [])


def history(*samples: tuple[float, Snapshot]) -> History:
    kept = History()
    for at, snapshot in samples:
        kept = followed(kept, snapshot, at)
    return kept


def test_nothing_is_known_before_the_second_look() -> None:
    assert units_per_second(History(), 0) == NOTHING
    assert units_per_second(history((0, seen(s1=running("embed", 50)))), 0) == NOTHING


def test_what_was_done_between_looks_is_divided_by_the_time_between_them() -> None:
    kept = history((0, seen(s1=running("embed", 50))), (5, seen(s1=running("embed", 60))))
    assert units_per_second(kept, 5) == NOTHING | {"embed": 2.0}


def test_sessions_add_up_and_steps_do_not() -> None:
    kept = history(
        (0, seen(s1=running("embed", 0), s2=running("embed", 10), s3=running("detect", 0))),
        (10, seen(s1=running("embed", 20), s2=running("embed", 20), s3=running("detect", 5))),
    )
    assert units_per_second(kept, 10) == NOTHING | {"embed": 3.0, "detect": 0.5}


def test_what_was_done_before_anybody_looked_is_not_counted() -> None:
    kept = history((0, seen()), (10, seen(s1=running("embed", 5_000))), (20, seen(s1=running("embed", 5_010))))
    assert units_per_second(kept, 20) == NOTHING | {"embed": 0.5}


def test_a_step_that_begins_anew_is_never_negative() -> None:
    kept = history(
        (0, seen(s1=running("discover", 80))),
        (10, seen(s1=running("discover", 0, attempt=2))),
        (20, seen(s1=running("discover", 40, attempt=2))),
    )
    assert units_per_second(kept, 20) == NOTHING | {"discover": 2.0}


def test_a_new_attempt_goes_on_where_the_last_one_ended() -> None:
    kept = history(
        (0, seen(s1=running("embed", 10))),
        (10, seen(s1=running("embed", 0, before=20, attempt=2))),
        (20, seen(s1=running("embed", 10, before=20, attempt=2))),
    )
    assert units_per_second(kept, 20) == NOTHING | {"embed": 1.0}


def test_a_step_that_has_ended_is_at_0_at_once() -> None:
    ended = StepView("embed", "completed", done=100)
    kept = history((0, seen(s1=running("embed", 0))), (5, seen(s1=running("embed", 90))), (6, seen(s1=ended)))
    assert units_per_second(kept, 6) == NOTHING


def test_only_the_last_half_minute_counts() -> None:
    looks = [(5.0 * n, seen(s1=running("embed", 1_000 if n else 0))) for n in range(20)]
    kept = history(*looks)
    assert units_per_second(kept, 95) == NOTHING
    assert kept.samples[0].at == 95 - WINDOW_SECONDS


def test_a_pass_that_took_longer_than_the_window_still_gives_a_rate() -> None:
    kept = history((0, seen(s1=running("embed", 0))), (100, seen(s1=running("embed", 50))))
    assert units_per_second(kept, 100) == NOTHING | {"embed": 0.5}


def test_two_looks_at_one_moment_give_no_rate() -> None:
    kept = history((0, seen(s1=running("embed", 0))), (0, seen(s1=running("embed", 50))))
    assert units_per_second(kept, 0) == NOTHING


def test_nothing_is_claimed_when_nobody_has_looked_for_long() -> None:
    kept = history((0, seen(s1=running("embed", 0))), (5, seen(s1=running("embed", 50))))
    assert units_per_second(kept, 5 + WINDOW_SECONDS) == NOTHING | {"embed": 10.0}
    assert units_per_second(kept, 6 + WINDOW_SECONDS) == NOTHING
