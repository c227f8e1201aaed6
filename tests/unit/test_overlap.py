"""Which face of a photo is which, when it is searched again."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainyard.people.boxes import in_rank, known_before
from trainyard.people.known_faces import NOTHING, Box, KnownFace, Said, as_shares
from trainyard.people.overlap import match_boxes

YESTERDAY = datetime(2026, 1, 1, tzinfo=UTC)


def boxes(*given: Box) -> NDArray[np.float64]:
    return np.array(given, np.float64).reshape(-1, 4)


def known(number: int, box: Box, model_id: int = 1, asset_id: int = 1, said: Said = NOTHING) -> KnownFace:
    return KnownFace(UUID(int=number), asset_id, model_id, b"", box, b"", None, None, said)


LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)


def test_equal_boxes_are_one_face_in_whatever_order_they_come() -> None:
    assert match_boxes(boxes(LEFT, RIGHT), boxes(RIGHT, LEFT)) == [(0, 1), (1, 0)]


@pytest.mark.parametrize(("shift", "matched"), [(3.3, True), (3.4, False)])
def test_boxes_match_from_half_of_what_they_cover_together(shift: float, matched: bool) -> None:
    """Shifted by a third of its side, a box shares exactly half: (1 - s) / (1 + s)."""
    left, top, right, bottom = LEFT
    assert bool(match_boxes(boxes(LEFT), boxes((left + shift, top, right + shift, bottom)))) == matched


def test_those_that_overlap_most_are_matched_first_and_each_once() -> None:
    wide, exact = (0.0, 0.0, 15.0, 10.0), LEFT
    assert match_boxes(boxes(LEFT), boxes(wide, exact)) == [(0, 1)]
    assert match_boxes(boxes(wide, exact), boxes(LEFT)) == [(1, 0)]


def test_among_equals_the_first_are_matched() -> None:
    assert match_boxes(boxes(LEFT, LEFT), boxes(LEFT, LEFT)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.0, 5.0), (9.0, 9.0, 1.0, 1.0)])
def test_a_box_without_area_matches_nothing(box: Box) -> None:
    assert match_boxes(boxes(box), boxes(box)) == []


def test_no_boxes_match_no_boxes() -> None:
    assert match_boxes(boxes(), boxes(LEFT)) == match_boxes(boxes(LEFT), boxes()) == []


SIDES = st.floats(0, 100, allow_nan=False)
SOME = st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])), max_size=8)


@given(SOME, SOME)
def test_a_match_is_one_to_one_and_the_same_from_either_side(old: list[Box], new: list[Box]) -> None:
    matched = match_boxes(boxes(*old), boxes(*new))
    assert len({i for i, _ in matched}) == len({j for _, j in matched}) == len(matched)
    for i, j in matched:
        assert match_boxes(boxes(old[i]), boxes(new[j])) == [(0, 0)]
    unmatched = [j for j in range(len(new)) if j not in {j for _, j in matched}]
    left = [i for i in range(len(old)) if i not in {i for i, _ in matched}]
    assert match_boxes(boxes(*(old[i] for i in left)), boxes(*(new[j] for j in unmatched))) == []


def test_a_photo_saved_smaller_keeps_its_faces_where_they_are() -> None:
    assert as_shares((400.0, 300.0, 800.0, 900.0), 4000, 3000) == as_shares((40.0, 30.0, 80.0, 90.0), 400, 300)


def test_faces_of_one_photo_are_never_those_of_another() -> None:
    found = [known(1, LEFT, asset_id=1), known(2, LEFT, asset_id=2)]
    before = known_before(found, [known(3, LEFT, asset_id=2)], [1])
    assert {face.int: source.id.int for face, source in before.items()} == {2: 3}


def test_the_first_network_that_knew_a_face_says_which_it_is() -> None:
    found = [known(1, LEFT), known(2, RIGHT)]
    others = [known(3, LEFT, model_id=2), known(4, LEFT, model_id=3), known(5, RIGHT, model_id=3)]
    before = known_before(found, others, [2, 3])
    assert {face.int: source.id.int for face, source in before.items()} == {1: 3, 2: 5}


def test_the_active_networks_faces_come_first_then_its_own_then_the_newest() -> None:
    faces = [known(number, LEFT, model_id=number) for number in (1, 2, 3, 4)]
    assert in_rank(faces, model_id=3, active_id=2) == [2, 3, 4, 1]
    assert in_rank(faces, model_id=3, active_id=3) == [3, 4, 2, 1]
    assert in_rank(faces, model_id=3, active_id=None) == [3, 4, 2, 1]


# What is said of a face that was known

BY_PERSON = Said(1, "person")
BY_ENGINE = Said(1, "engine", 0.8)
NEW_DECISION = Said(2, "engine", 0.9)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (BY_PERSON, BY_PERSON),
        (BY_ENGINE, BY_ENGINE),
        (NOTHING, NEW_DECISION),
        (Said(ignored_at=YESTERDAY), Said(ignored_at=YESTERDAY)),
        (Said(refused={2: 0.7}), Said(refused={2: 0.7})),
        (Said(refused={3: 0.7}), replace(NEW_DECISION, refused={3: 0.7})),
        (replace(BY_PERSON, refused={2: 0.7}), replace(BY_PERSON, refused={2: 0.7})),
    ],
    ids=["named", "assigned", "unknown", "ignored", "refused", "another refused", "named and another refused"],
)
def test_what_was_said_of_a_face_outdoes_what_the_engine_makes_of_it_now(before: Said, expected: Said) -> None:
    assert NEW_DECISION.after(before) == expected


def test_a_name_that_people_took_back_meanwhile_is_not_kept() -> None:
    assert BY_PERSON.after(NOTHING) == NOTHING
    assert BY_ENGINE.after(Said(refused={1: 0.8})) == Said(refused={1: 0.8})
    assert Said(ignored_at=YESTERDAY).after(NOTHING) == NOTHING
