"""Which faces stand for a person."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tests.faces import people, unit
from trainyard.people.coverage import COVERED, LEAST_QUALITY, MOST, WORTH, choose

Vectors = NDArray[np.float32]


def around(directions: int, each: int, spread: float = 0.1) -> Vectors:
    """So many faces around each of so many directions, one after the other: very alike ones."""
    found = people([each] * directions, spread=spread)
    return found.vectors[np.argsort(found.person, kind="stable")]


def good(count: int) -> NDArray[np.float64]:
    return np.full(count, 0.8)


def coverage(embeddings: Vectors, chosen: list[int]) -> float:
    """The least similarity of a face to the chosen one nearest to it."""
    return float((embeddings @ embeddings[chosen].T).max(axis=1).min())


def test_nobody_has_none() -> None:
    assert choose(np.empty((0, 512), np.float32), np.empty(0)) == []


def test_one_face_stands_for_itself_however_poor() -> None:
    assert choose(around(1, 1), np.array([0.0])) == [0]


def test_shots_of_one_afternoon_have_one_prototype() -> None:
    assert len(choose(around(1, 30), good(30))) == 1


def test_every_look_has_its_own() -> None:
    embeddings = around(5, 20)
    chosen = choose(embeddings, good(100))
    assert sorted(index // 20 for index in chosen) == [0, 1, 2, 3, 4]


def test_every_face_is_near_a_prototype_unless_there_are_too_many_looks() -> None:
    few, many = around(10, 5), around(MOST + 10, 2)
    assert coverage(few, choose(few, good(len(few)))) >= COVERED - WORTH * (1 - COVERED)
    assert len(choose(many, good(len(many)))) == MOST


def test_the_first_is_the_most_typical_of_the_good_ones() -> None:
    embeddings = np.concatenate([around(2, 10)[:13]])  # ten of one look, three of another
    qualities = good(13)
    typical = choose(embeddings, qualities)[0]
    assert typical < 10
    qualities[typical] = LEAST_QUALITY
    assert choose(embeddings, qualities)[0] not in (typical, 10, 11, 12)


def test_poor_faces_stand_for_nobody_who_has_good_ones() -> None:
    embeddings, qualities = around(4, 1), np.array([0.8, LEAST_QUALITY - 0.01, 0.9, 0.1])
    assert sorted(choose(embeddings, qualities)) == [0, 2]
    assert len(choose(embeddings, np.full(4, 0.1))) == 4


def test_of_looks_equally_far_the_better_picture_comes_first() -> None:
    embeddings = unit(np.eye(8, dtype=np.float32) + np.float32(0.05))
    qualities = np.array([0.9, 0.4, 0.8, 0.5, 0.7, 0.6, 0.45, 0.35])
    assert choose(embeddings, qualities) == [0, 2, 4, 5, 3, 6, 1, 7]


@pytest.mark.parametrize("covered", [0.0, 0.9725, 1.0])
def test_how_near_is_near_depends_on_the_network(covered: float) -> None:
    embeddings = around(1, 12, spread=0.4)  # cosines of some 0.86
    assert len(choose(embeddings, good(12), covered)) == (1 if covered == 0 else 12)


def test_a_stranger_named_by_mistake_stands_for_nobody_who_has_many_looks() -> None:
    found = people([5] * (MOST + 4) + [1], spread=0.1)
    stranger = int(np.flatnonzero(found.person == MOST + 4)[0])
    assert stranger not in choose(found.vectors, good(len(found.vectors)))


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(6)), elements=st.floats(-1, 1, width=32)),
    st.data(),
)
def test_whatever_the_faces_the_choice_is_sound(drawn: Vectors, data: st.DataObject) -> None:
    embeddings = unit(drawn + np.float32(1e-3))
    qualities = np.array(data.draw(st.lists(st.floats(0, 1), min_size=len(drawn), max_size=len(drawn))))
    chosen = choose(embeddings, qualities)
    assert 1 <= len(chosen) <= min(MOST, len(drawn))
    assert len(set(chosen)) == len(chosen)
    assert choose(embeddings, qualities) == chosen
    usable = np.flatnonzero(qualities >= LEAST_QUALITY)
    assert len(usable) == 0 or set(chosen) <= set(usable.tolist())
    candidates = embeddings[usable] if len(usable) else embeddings
    near = (candidates @ embeddings[chosen].T).max(axis=1)
    assert len(chosen) == MOST or near.min() >= COVERED - WORTH * (1 - COVERED) - 1e-6
