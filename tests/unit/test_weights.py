"""Weights of the phases: measured, assumed or pinned, and always 100 together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.settings import DEFAULT_WEIGHTS
from trainyard.weights import Rate, phase_weights, scale

UNITS = {"training": 1000.0, "faceDetection": 1000.0, "clustering": 500.0}
RATES: dict[str, Rate | None] = {
    "training": Rate(0.02),
    "faceDetection": Rate(0.17, faces_per_unit=0.5),
    "clustering": Rate(0.02),
}


def test_nothing_measured_yet_means_the_assumed_weights() -> None:
    assert phase_weights(UNITS, {}) == pytest.approx({"training": 30, "faceDetection": 65, "clustering": 5})


def test_measured_seconds_decide_once_every_phase_was_measured() -> None:
    assert phase_weights(UNITS, RATES) == pytest.approx({"training": 10, "faceDetection": 85, "clustering": 5})


@pytest.mark.parametrize("missing", list(UNITS))
def test_one_phase_never_measured_means_the_assumed_weights(missing: str) -> None:
    assert phase_weights(UNITS, {**RATES, missing: None}) == pytest.approx(DEFAULT_WEIGHTS)


def test_a_phase_with_nothing_to_do_need_not_be_measured() -> None:
    units = {"training": 100.0, "faceDetection": 100.0}
    assert phase_weights(units, {**RATES, "clustering": None}) == pytest.approx(
        {"training": 100 * 2 / 19, "faceDetection": 100 * 17 / 19}
    )


def test_the_weights_that_remain_are_scaled_to_100() -> None:
    assert phase_weights({"training": 5.0}, {}) == {"training": 100.0}
    assert phase_weights({"training": 5.0, "clustering": 1.0}, {}) == pytest.approx(
        {"training": 100 * 30 / 35, "clustering": 100 * 5 / 35}
    )


def test_without_training_the_faces_share_it_all() -> None:
    faces = {"faceDetection": 1000.0, "clustering": 500.0}
    assert phase_weights(faces, {}) == pytest.approx({"faceDetection": 100 * 65 / 70, "clustering": 100 * 5 / 70})
    assert phase_weights(faces, RATES) == pytest.approx({"faceDetection": 100 * 17 / 18, "clustering": 100 / 18})
    assert phase_weights({}, RATES) == {}


def test_pinned_weights_override_what_was_measured() -> None:
    pinned = {"training": 50.0, "faceDetection": 40.0, "clustering": 10.0}
    assert phase_weights(UNITS, RATES, pinned) == pytest.approx(pinned)
    assert phase_weights({"training": 1.0, "faceDetection": 1.0}, RATES, pinned) == pytest.approx(
        {"training": 100 * 5 / 9, "faceDetection": 100 * 4 / 9}
    )


def test_a_training_phase_that_is_done_already_weighs_nothing_beside_measured_work() -> None:
    assert phase_weights({**UNITS, "training": 0.0}, RATES)["training"] == 0


def test_phases_without_any_weight_share_alike() -> None:
    assert phase_weights({"training": 0.0}, RATES) == {"training": 100.0}
    assert scale({"faceDetection": 0.0, "clustering": 0.0}) == {"faceDetection": 50.0, "clustering": 50.0}


@given(
    st.dictionaries(st.sampled_from(list(UNITS)), st.floats(0, 1e10), min_size=1),
    st.dictionaries(st.sampled_from(list(UNITS)), st.builds(Rate, st.floats(1e-6, 1e4))),
)
def test_weights_are_positive_and_100_together(units: dict[str, float], rates: dict[str, Rate]) -> None:
    weights = phase_weights(units, rates)
    assert set(weights) == set(units)
    assert all(weight >= 0 for weight in weights.values())
    assert sum(weights.values()) == pytest.approx(100)
