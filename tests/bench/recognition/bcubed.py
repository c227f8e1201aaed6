"""BCubed (Bagga and Baldwin 1998; Amigó et al. 2009): how pure a face's group is, how much of its person it holds.

A face's precision is the share of its group that is of its person, its recall the share of its person's faces that
are in its group, itself counted in both. Both are averaged over faces. A face in no group is a group of one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 1_000
INTERVAL = (2.5, 97.5)  # percent


@dataclass(frozen=True)
class Score:
    precision: float
    recall: float
    f: float
    low: float  # of F: the interval in which 95 % of libraries with other people of this kind would lie
    high: float

    def __str__(self) -> str:
        return f"{self.f:.3f} [{self.low:.3f}, {self.high:.3f}]"


def score(person: NDArray[np.integer], group: NDArray[np.integer], seed: int = 0) -> Score:
    """Of faces (n,) with their true `person`, and the `group` each was put into (below 0: none)."""
    precision, recall = of_faces(person, group)
    low, high = np.percentile(_resampled_f(person, precision, recall, seed), INTERVAL)
    p, r = float(precision.mean()), float(recall.mean())
    return Score(p, r, _f(p, r), float(low), float(high))


def mean_f(person: NDArray[np.integer], group: NDArray[np.integer]) -> float:
    precision, recall = of_faces(person, group)
    return float(_f(precision.mean(), recall.mean()))


def of_faces(
    person: NDArray[np.integer], group: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) precision and (n,) recall of each face."""
    alone = np.where(group < 0, group.max(initial=-1) + 1 + np.arange(len(group)), group)
    _, person_of, person_sizes = np.unique(person, return_inverse=True, return_counts=True)
    _, group_of, group_sizes = np.unique(alone, return_inverse=True, return_counts=True)
    _, cell, cell_sizes = np.unique(group_of * len(person_sizes) + person_of, return_inverse=True, return_counts=True)
    together = cell_sizes[cell]
    return together / group_sizes[group_of], together / person_sizes[person_of]


def _resampled_f(
    person: NDArray[np.integer], precision: NDArray[np.float64], recall: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """(ROUNDS,) F where persons, with all of their faces, are drawn again with replacement (a bootstrap)."""
    _, person_of, sizes = np.unique(person, return_inverse=True, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), ROUNDS)
    faces = drawn @ sizes
    return _f(drawn @ np.bincount(person_of, precision) / faces, drawn @ np.bincount(person_of, recall) / faces)


def _f(precision, recall):  # type: ignore[no-untyped-def]  # floats or arrays of them
    return 2 * precision * recall / (precision + recall)
