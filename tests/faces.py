"""Synthetic people: directions drawn at random, and photos of them scattered around each.

Like ArcFace's, vectors of different people are nearly orthogonal (512-d: cosines within 0.2). Two photos of one
person have a cosine near 1 / (1 + spread²): 0.61 at a spread of 0.8, 0.5 at 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIMENSION = 512
_CHUNK = 4096
VERIFICATION = 0.4  # a cosine no two strangers reach here, as the thresholds of engines are meant


@dataclass(frozen=True)
class People:
    vectors: NDArray[np.float32]  # (n, d), L2-normalised, people in random order
    person: NDArray[np.int64]  # (n,)
    photo: NDArray[np.int64]  # (n,), all different


def people(photo_counts: Sequence[int], spread: float = 0.8, seed: int = 0, dimension: int = DIMENSION) -> People:
    """One person for each count, with so many photos; the same arguments give the same faces."""
    rng = np.random.default_rng(seed)
    person = rng.permutation(np.repeat(np.arange(len(photo_counts)), photo_counts))
    directions = unit(rng.standard_normal((len(photo_counts), dimension), dtype=np.float32))
    vectors = np.empty((len(person), dimension), np.float32)
    for at in range(0, len(person), _CHUNK):  # so that 100,000 faces leave no second copy in the peak memory
        scatter = unit(rng.standard_normal(vectors[at : at + _CHUNK].shape, dtype=np.float32))
        vectors[at : at + _CHUNK] = unit(directions[person[at : at + _CHUNK]] + np.float32(spread) * scatter)
    return People(vectors, person, np.arange(len(person)))


def counts(faces: int, least: int, most: int, seed: int = 0) -> list[int]:
    """Photo counts between `least` and `most`, drawn until there are `faces` of them in all (or just over)."""
    rng = np.random.default_rng(seed)
    drawn: list[int] = []
    while sum(drawn) < faces:
        drawn.append(int(rng.integers(least, most + 1)))
    return drawn


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
