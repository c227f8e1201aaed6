"""What prototypes and the engine's thresholds make of faces, where some persons have been named.

Half of the persons with enough faces are named, by half of their faces. The other faces of all persons, strangers
included, are then decided as the step detect decides them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.assignment import Prototypes, decide
from jobs.engines import FaceThresholds
from tests.bench.recognition.synthetic import Library
from trainyard.people.prototypes import choose

LEAST_FACES = 4  # of a person who may be named
MOST_NAMED = 50  # faces a user names of one person


@dataclass(frozen=True)
class Assigned:
    """Counts of faces; those of named persons are `to_find`."""

    to_find: int
    assigned: int
    assigned_right: int
    suggested: int
    suggested_right: int

    @property
    def precision(self) -> float:
        return _share(self.assigned_right, self.assigned)

    @property
    def recall(self) -> float:
        return _share(self.assigned_right, self.to_find)

    @property
    def suggestion_precision(self) -> float:
        return _share(self.suggested_right, self.suggested)

    @property
    def suggestion_recall(self) -> float:
        """Of the named persons' faces that were not assigned to them."""
        return _share(self.suggested_right, self.to_find - self.assigned_right)


def assigned(faces: Library, thresholds: FaceThresholds, seed: int = 0) -> Assigned:
    named = _named(faces.person, np.random.default_rng(seed))
    prototypes = prototypes_of(faces, named, thresholds)
    left = np.setdiff1d(np.arange(len(faces)), np.concatenate(list(named.values())))
    counts = dict.fromkeys(("to_find", "assigned", "assigned_right", "suggested", "suggested_right"), 0)
    for face, person in zip(left.tolist(), faces.person[left].tolist(), strict=True):
        decision = decide(faces.vectors[face], prototypes, thresholds)
        counts["to_find"] += person in named
        counts["assigned"] += decision.person_id is not None
        counts["assigned_right"] += decision.person_id == person
        counts["suggested"] += decision.suggested_person_id is not None
        counts["suggested_right"] += decision.suggested_person_id == person
    return Assigned(**counts)


def prototypes_of(faces: Library, named: dict[int, NDArray[np.int64]], thresholds: FaceThresholds) -> Prototypes:
    """As the product keeps them of the faces (by index) that a person named."""
    chosen = {person: chosen_of(faces, which, thresholds) for person, which in sorted(named.items())}
    persons = np.repeat(np.array(list(chosen)), [len(which) for which in chosen.values()])
    return Prototypes(faces.vectors[np.concatenate(list(chosen.values()))], persons)


def chosen_of(faces: Library, which: NDArray[np.int64], thresholds: FaceThresholds) -> NDArray[np.int64]:
    """Which of one person's faces become prototypes."""
    return which[choose(faces.vectors[which], faces.quality[which], covered(thresholds))]


def covered(thresholds: FaceThresholds) -> float:
    """The cosine at which a prototype stands for another face: what trainyard.people.prototypes takes."""
    return (1 + thresholds.assign) / 2


def _named(person: NDArray[np.int64], rng: np.random.Generator) -> dict[int, NDArray[np.int64]]:
    numbers, counts = np.unique(person, return_counts=True)
    enough = numbers[counts >= LEAST_FACES]
    named = np.sort(rng.permutation(enough)[: max(1, len(enough) // 2)])
    return {int(who): _half(np.flatnonzero(person == who), rng) for who in named}


def _half(faces: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.permutation(faces)[: min(MOST_NAMED, len(faces) // 2)])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
