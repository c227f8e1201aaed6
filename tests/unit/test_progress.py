"""The numbers people see: what share is done, when it may say 100, and when there is no estimate."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.lifecycle import overall_status
from trainyard.progress import Progress, StepProgress, Waiting, compute, floor_percentage
from trainyard.settings import DEFAULT_WEIGHTS

ORDER = ("discover", "embed", "detect", "cluster")
WAITING = Waiting("StorageUnavailable", "The folder is gone.", datetime(2026, 1, 1, tzinfo=UTC))


def step(name: str, status: str, done: int = 0, total: int | None = None, **columns: Any) -> StepProgress:
    return StepProgress(name, status, attempt=1, total=total, done=done, **{"failed": 0, **columns})


def completed(name: str, total: int = 200, **columns: Any) -> StepProgress:
    return step(name, "completed", total, total, **columns)


def progress(
    *steps: StepProgress,
    weights: Mapping[str, float] | None = DEFAULT_WEIGHTS,
    requested: str = "run",
    waiting: Waiting | None = None,
) -> Progress:
    """Progress of a session with these steps; those not given are completed before, and pending after, them."""
    current = {one.step: one for one in steps}
    first = min(ORDER.index(name) for name in current)
    others = {name: completed(name) if i < first else step(name, "pending") for i, name in enumerate(ORDER)}
    by_name = {**others, **current}
    statuses = {name: one.status for name, one in by_name.items()}
    return compute(1, overall_status(statuses, started=True), requested, waiting, weights, by_name)


def test_training_done_and_detection_half_way_is_62_5() -> None:
    seen = progress(step("detect", "running", 100, 200))
    assert seen.percentage == 62.5
    assert {name: phase.percentage for name, phase in seen.phases.items()} == {
        "training": 100.0,
        "faceDetection": 50.0,
        "clustering": 0.0,
    }
    assert {name: phase.weight for name, phase in seen.phases.items()} == DEFAULT_WEIGHTS


def test_training_done_alone_never_shows_100() -> None:
    assert progress(step("detect", "pending", 0, 200)).percentage == 30.0


def test_while_discovering_there_is_nothing_but_the_files_found() -> None:
    seen = progress(step("discover", "running", 5000, done_in_attempt=5000, seconds_in_attempt=9.0), weights=None)
    assert (seen.percentage, seen.eta_seconds, seen.files_found) == (0.0, None, 5000)
    assert seen.phases["training"].status == "running"
    assert all((phase.total, phase.weight, phase.percentage) == (None, None, 0.0) for phase in seen.phases.values())


def test_a_session_not_admitted_yet_is_pending_throughout() -> None:
    seen = compute(1, "pending", "run", None, None, {})
    assert (seen.percentage, seen.eta_seconds, seen.files_found, seen.active) == (0.0, None, 0, True)
    assert {phase.status for phase in seen.phases.values()} == {"pending"}


@pytest.mark.parametrize(
    ("exact", "shown"),
    [(0.0, 0.0), (0.09, 0.0), (0.1, 0.1), (33.3333, 33.3), (62.5, 62.5), (99.8999, 99.8), (99.99, 99.9), (100.0, 99.9)],
)
def test_percentages_are_floored_to_one_decimal_and_stay_below_100(exact: float, shown: float) -> None:
    assert floor_percentage(exact) == shown


@pytest.mark.parametrize("tenths", range(0, 1000, 7))
def test_a_tenth_that_is_reached_is_shown_whatever_the_rounding_of_the_machine(tenths: int) -> None:
    assert progress(step("detect", "running", tenths, 1000)).phases["faceDetection"].percentage == tenths / 10


def test_every_unit_done_is_not_100_before_the_status_says_so() -> None:
    almost = progress(step("cluster", "running", 50, 50))
    assert almost.percentage == 99.9
    assert almost.phases["clustering"].percentage == 99.9
    done = progress(completed("cluster", 50))
    assert done.percentage == 100.0
    assert done.phases["clustering"].percentage == 100.0
    assert not done.active


@pytest.mark.parametrize("status", ["failed", "cancelled", "paused"])
def test_100_is_never_shown_of_what_did_not_complete(status: str) -> None:
    seen = progress(step("cluster", status, 50, 50))
    assert seen.percentage == 99.9
    assert seen.phases["clustering"].percentage == 99.9


def test_nothing_to_embed_is_completed_0_of_0_and_100() -> None:
    training = progress(completed("embed", 0), step("detect", "running", 0, 200)).phases["training"]
    assert (training.status, training.current, training.total, training.percentage) == ("completed", 0, 0, 100.0)


def test_skipped_phases_give_their_weight_to_the_others() -> None:
    seen = progress(step("embed", "running", 100, 200), step("detect", "skipped"), step("cluster", "skipped"))
    assert seen.percentage == 50.0
    assert {name: phase.weight for name, phase in seen.phases.items()} == {
        "training": 100.0,
        "faceDetection": 0.0,
        "clustering": 0.0,
    }
    assert {seen.phases[name].percentage for name in ("faceDetection", "clustering")} == {0.0}


def test_a_skipped_clustering_never_takes_percent_back() -> None:
    """Detection runs and ends; then clustering has nothing to do after all."""
    running = [progress(step("detect", "running", done, 200)).percentage for done in (0, 100, 200)]
    between = progress(completed("detect")).percentage
    after = progress(completed("detect"), step("cluster", "skipped"))
    assert [*running, between, after.percentage] == [30.0, 62.5, 95.0, 95.0, 100.0]
    assert after.overall_status == "completed"


def test_weights_measured_for_two_phases_stay_as_they_are() -> None:
    weights = {"training": 40.0, "clustering": 60.0}
    seen = progress(completed("embed"), step("detect", "skipped"), step("cluster", "running", 5, 10), weights=weights)
    assert seen.percentage == 70.0


def test_failed_photos_count_as_done_and_are_shown() -> None:
    phase = progress(step("embed", "running", 100, 200, failed=3)).phases["training"]
    assert (phase.current, phase.failed, phase.percentage) == (100, 3, 50.0)


def test_more_done_than_there_is_shows_no_more_than_all() -> None:
    assert progress(step("embed", "running", 250, 200)).percentage == 30.0


# How long it still takes

AT_WORK = step("detect", "running", 100, 200, seconds=50.0, seconds_in_attempt=50.0, done_in_attempt=100)


def test_the_estimate_is_the_running_rate_and_the_later_phases_by_weight() -> None:
    """Embedding took a second a point of weight, so detection is expected to take 65 s; that counts as 30 photos
    beside the 100 that took 50 s. The 62.5 points so far took 80 s, and 5 remain."""
    seen = progress(completed("embed", seconds=30.0), AT_WORK)
    seconds_per_photo = (0.15 * 65 + 50) / (0.15 * 200 + 100)
    assert seen.eta_seconds == pytest.approx(100 * seconds_per_photo + 5 * (30 + 50) / 62.5)


def test_a_step_that_has_nothing_to_show_yet_is_estimated_from_finished_phases() -> None:
    begun = step("detect", "running", 0, 200, seconds=1.0, seconds_in_attempt=1.0, done_in_attempt=0)
    seen = progress(completed("embed", seconds=30.0), begun)
    assert seen.eta_seconds == pytest.approx(65 + 5 * (30 + 1) / 30)


def test_the_first_phase_is_estimated_by_its_own_rate_alone() -> None:
    begun = step("embed", "running", 50, 200, seconds=10.0, seconds_in_attempt=10.0, done_in_attempt=50)
    assert progress(begun).eta_seconds == pytest.approx(150 * 10 / 50 + 70 * 10 / 7.5)


def test_the_time_since_the_last_commit_has_passed_already() -> None:
    begun = step("embed", "running", 50, 200, seconds=10.0, seconds_in_attempt=10.0, done_in_attempt=50)
    later = progress(replace(begun, seconds_since_commit=2.0))
    assert later.eta_seconds == pytest.approx((progress(begun).eta_seconds or 0) - 2)


def test_the_rate_is_that_of_the_running_attempt() -> None:
    again = replace(AT_WORK, seconds=900.0, seconds_in_attempt=10.0, done_in_attempt=20)
    assert progress(again, step("cluster", "skipped")).eta_seconds == pytest.approx(100 * 10 / 20)


@pytest.mark.parametrize(
    ("why", "seen"),
    [
        ("paused", progress(replace(AT_WORK, status="paused"), requested="pause")),
        ("about to pause", progress(AT_WORK, requested="pause")),
        ("about to be cancelled", progress(AT_WORK, requested="cancel")),
        ("waiting", progress(AT_WORK, waiting=WAITING)),
        ("between two steps", progress(replace(AT_WORK, status="pending"))),
        ("no unit done in this attempt", progress(replace(AT_WORK, done_in_attempt=0))),
        ("no total yet", progress(replace(AT_WORK, total=None))),
        ("total of a clustering not known yet", progress(step("cluster", "running", 0, 0, seconds_in_attempt=1.0))),
        ("failed", progress(replace(AT_WORK, status="failed"))),
        ("cancelled", progress(replace(AT_WORK, status="cancelled"))),
        ("completed", progress(completed("cluster"))),
    ],
)
def test_there_is_no_estimate_without_evidence(why: str, seen: Progress) -> None:
    assert seen.eta_seconds is None, why


# Whatever the numbers

TOTALS = st.integers(1, 10_000_000)
WEIGHTS = st.lists(st.floats(0.1, 100), min_size=3, max_size=3).map(
    lambda parts: {name: 100 * part / sum(parts) for name, part in zip(DEFAULT_WEIGHTS, parts, strict=True)}
)
MEASURED = st.sampled_from(["embed", "detect", "cluster"])


@given(MEASURED, TOTALS, st.data(), WEIGHTS)
def test_progress_never_falls_as_units_are_done(
    name: str, total: int, data: st.DataObject, weights: dict[str, float]
) -> None:
    fewer = data.draw(st.integers(0, total))
    more = data.draw(st.integers(fewer, total))
    before = progress(step(name, "running", fewer, total), weights=weights)
    after = progress(step(name, "running", more, total), weights=weights)
    assert before.percentage <= after.percentage
    assert all(before.phases[phase].percentage <= after.phases[phase].percentage for phase in before.phases)


@given(MEASURED, TOTALS, st.integers(0, 20_000_000), WEIGHTS, st.sampled_from(["running", "paused", "failed"]))
def test_progress_is_between_0_and_100_and_below_100_until_completed(
    name: str, total: int, done: int, weights: dict[str, float], status: str
) -> None:
    seen = progress(step(name, status, done, total), weights=weights)
    assert 0 <= seen.percentage < 100
    assert all(
        0 <= phase.percentage <= 100 and (phase.percentage == 100) is (phase.status == "completed")
        for phase in seen.phases.values()
    )


@given(TOTALS, WEIGHTS, st.booleans(), st.booleans())
def test_progress_never_falls_from_one_phase_to_the_next(
    total: int, weights: dict[str, float], detects: bool, clusters: bool
) -> None:
    """From the last unit of one step to the first of the next, whatever turns out to be skipped."""
    faces = (
        [step("detect", "running", 0, total), completed("detect", total)] if detects else [step("detect", "skipped")]
    )
    stages = [progress(step("embed", "running", total, total), weights=weights)]
    stages += [progress(completed("embed", total), face, weights=weights) for face in faces]
    last = step("cluster", "running", 0, total) if clusters else step("cluster", "skipped")
    stages.append(progress(completed("embed", total), faces[-1], last, weights=weights))
    shown = [stage.percentage for stage in stages]
    assert shown == sorted(shown)


@given(MEASURED, TOTALS, st.data(), st.floats(0.001, 1e6))
def test_an_estimate_is_never_negative(name: str, total: int, data: st.DataObject, seconds: float) -> None:
    done = data.draw(st.integers(1, total))
    seen = progress(
        step(name, "running", done, total, seconds=seconds, seconds_in_attempt=seconds, done_in_attempt=done)
    )
    assert seen.eta_seconds is not None
    assert seen.eta_seconds >= 0
