"""Whose face it is: assigned, suggested or left alone, from similarities to each person's prototypes."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.assignment import Decision, Prototypes, best_by_person, decide
from jobs.engines import FaceThresholds

# Powers of two apart, so that similarities at a threshold are exact in float32.
THRESHOLDS = FaceThresholds(assign=0.5, margin=0.125, suggestion=0.25, verification=0.5, source="made up for this test")
ANNA, BELA, CARL = 1, 2, 3
FACE = np.array([1, 0, 0, 0], np.float32)


def at(similarity: float) -> NDArray[np.float32]:
    """A prototype of this cosine similarity to FACE."""
    return np.array([similarity, math.sqrt(1 - similarity**2), 0, 0], np.float32)


def prototypes(*people: tuple[int, float]) -> Prototypes:
    embeddings = [at(similarity) for _, similarity in people]
    stacked = np.stack(embeddings) if embeddings else np.empty((0, 4), np.float32)
    return Prototypes(stacked, np.array([person for person, _ in people], np.int64))


@pytest.mark.parametrize(
    ("people", "decision"),
    [
        ([], Decision()),
        ([(ANNA, 0.75)], Decision(person_id=ANNA, similarity=0.75)),
        ([(ANNA, 0.5)], Decision(person_id=ANNA, similarity=0.5)),  # at the threshold
        ([(ANNA, 0.4375)], Decision(suggested_person_id=ANNA, similarity=0.4375)),
        ([(ANNA, 0.25)], Decision(suggested_person_id=ANNA, similarity=0.25)),  # at the threshold
        ([(ANNA, 0.1875)], Decision()),
        ([(ANNA, -0.5)], Decision()),
        ([(ANNA, 0.75), (BELA, 0.625)], Decision(person_id=ANNA, similarity=0.75)),  # exactly the margin
        ([(ANNA, 0.75), (BELA, 0.6875)], Decision(suggested_person_id=ANNA, similarity=0.75)),
        ([(ANNA, 0.6875), (BELA, 0.75)], Decision(suggested_person_id=BELA, similarity=0.75)),
        ([(ANNA, 0.75), (BELA, 0.75)], Decision(suggested_person_id=ANNA, similarity=0.75)),
        ([(ANNA, 0.25), (BELA, 0.75)], Decision(person_id=BELA, similarity=0.75)),
    ],
)
def test_a_face_is_assigned_suggested_or_left_alone(people: list[tuple[int, float]], decision: Decision) -> None:
    assert decide(FACE, prototypes(*people), THRESHOLDS) == decision


def test_a_persons_nearest_prototype_counts() -> None:
    several = prototypes((ANNA, 0.125), (BELA, 0.25), (ANNA, 0.75), (ANNA, 0.5))
    assert best_by_person(FACE, several) == [(ANNA, 0.75), (BELA, 0.25)]
    assert decide(FACE, several, THRESHOLDS) == Decision(person_id=ANNA, similarity=0.75)


def test_the_margin_is_over_the_second_person_not_the_second_prototype() -> None:
    assert decide(FACE, prototypes((ANNA, 0.75), (ANNA, 0.6875)), THRESHOLDS).person_id == ANNA


def test_a_rejected_person_is_neither_assigned_nor_suggested_again() -> None:
    people = prototypes((ANNA, 0.75), (BELA, 0.25))
    assert decide(FACE, people, THRESHOLDS, rejected={ANNA}) == Decision(suggested_person_id=BELA, similarity=0.25)
    assert decide(FACE, people, THRESHOLDS, rejected={ANNA, BELA}) == Decision()


def test_a_rejected_person_takes_no_margin_from_another() -> None:
    people = prototypes((ANNA, 0.75), (BELA, 0.6875))
    assert decide(FACE, people, THRESHOLDS).person_id is None
    assert decide(FACE, people, THRESHOLDS, rejected={ANNA}) == Decision(person_id=BELA, similarity=0.6875)


def test_equally_near_people_come_in_the_order_of_their_ids() -> None:
    assert best_by_person(FACE, prototypes((CARL, 0.5), (ANNA, 0.5), (BELA, 0.5))) == [
        (ANNA, 0.5),
        (BELA, 0.5),
        (CARL, 0.5),
    ]


def test_the_order_of_prototypes_changes_nothing() -> None:
    people = [(ANNA, 0.5), (BELA, 0.75), (CARL, 0.25), (ANNA, 0.625)]
    decisions = {decide(FACE, prototypes(*people[i:], *people[:i]), THRESHOLDS) for i in range(len(people))}
    assert len(decisions) == 1
