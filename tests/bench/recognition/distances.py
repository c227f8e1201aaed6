"""How alike faces are, within and between persons: of real faces, of the synthetic ones, and what was published.

python -m tests.bench.recognition.distances FILE.svg: prints the quantiles and draws both populations.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench.recognition.real_faces import SCRAP_SHOTS, NotHad, real_faces
from tests.bench.recognition.svg import Curve, Mark, Panel, drawing
from tests.bench.recognition.sweep import THRESHOLDS
from tests.bench.recognition.synthetic import ARCFACE, DLIB, TUNING_SEED, Library, Population, drawn

PERCENTS = (1, 5, 25, 50, 75, 95, 99)
LIBRARIES = 20  # synthetic ones, each with the persons and numbers of photos of the real set
# Labeled Faces in the Wild, persons by number of photos; the 143 with more than ten have 25 here (in truth 11 to 530).
LFW = {1: 4069, 2: 779, 3: 291, 4: 187, 5: 112, 6: 55, 7: 39, 8: 33, 9: 26, 10: 15, 25: 143}
PUBLISHED_DEGREES = (28.05, 66.55)  # ArcFace paper, table 3: to the own centre, between nearest centres
_BINS = 60


@dataclass(frozen=True)
class Cosines:
    within: NDArray[np.float32]
    between: NDArray[np.float32]
    nearest_own: NDArray[np.float32]
    nearest_other: NDArray[np.float32]

    def quantiles(self) -> str:
        named = (("within", self.within), ("between", self.between))
        nearest = (("nearest own", self.nearest_own), ("nearest other", self.nearest_other))
        return "; ".join(f"{name} {_percentiles(values)}" for name, values in (*named, *nearest))


def cosines(libraries: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]) -> Cosines:
    """Of all pairs of faces (vectors, person) inside each library."""
    parts = [_of_one(vectors, person) for vectors, person in libraries]
    return Cosines(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def like(real: Library, population: Population, seed: int = TUNING_SEED) -> Cosines:
    """The synthetic ones of libraries with as many persons and photos as the real set."""
    rng = np.random.default_rng((seed, 3))
    _, person = np.unique(real.person, return_inverse=True)
    return cosines([(drawn(population, person, rng)[0], person) for _ in range(LIBRARIES)])


def lfw_degrees(population: Population, seed: int = TUNING_SEED) -> tuple[float, float]:
    """Mean angles as in `PUBLISHED_DEGREES`, of synthetic faces with LFW's persons (those with two photos or more)."""
    person = np.repeat(np.arange(sum(LFW.values())), np.repeat(list(LFW), list(LFW.values())))
    vectors, _ = drawn(population, person, np.random.default_rng((seed, 4)))
    centres = np.zeros((person[-1] + 1, vectors.shape[1]), np.float32)
    np.add.at(centres, person, vectors)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    several = np.bincount(person)[person] > 1
    own = _degrees(np.einsum("ij,ij->i", vectors, centres[person])[several])
    near = centres @ centres.T
    np.fill_diagonal(near, -1)
    return float(own.mean()), float(_degrees(near.max(axis=1)).mean())


def plot(path: Path, real: Library | None) -> None:
    """Both populations, with the real faces' curves where they are to be had, and the engine's thresholds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(drawing([_dlib_panel(real), _arcface_panel()]))


def _dlib_panel(real: Library | None) -> Panel:
    curves = []
    if real is not None:
        found, drawn_ones = cosines([(real.vectors, real.person)]), like(real, DLIB)
        curves = [
            *_curves("CSU Scrap Shots", found, (0.78, 1.0), dashed=False),
            *_curves("synthetic", drawn_ones, (0.78, 1.0), dashed=True),
        ]
    return Panel("dlib, 128-d: 132 real faces of 30 people, and synthetic ones", (0.78, 1.0), curves, _marks(DLIB.name))


def _arcface_panel() -> Panel:
    rng = np.random.default_rng((TUNING_SEED, 5))
    person = np.repeat(np.arange(150), 10)
    found = cosines([(drawn(ARCFACE, person, rng)[0], person)])
    own, other = lfw_degrees(ARCFACE)
    title = (
        f"ArcFace-like, 512-d: synthetic, to the own centre {own:.1f}° (LFW {PUBLISHED_DEGREES[0]}°), "
        f"nearest centres {other:.1f}° ({PUBLISHED_DEGREES[1]}°)"
    )
    return Panel(title, (-0.4, 1.0), _curves("synthetic", found, (-0.4, 1.0), dashed=True), _marks(ARCFACE.name))


def _curves(name: str, of: Cosines, span: tuple[float, float], dashed: bool) -> list[Curve]:
    pairs = (("within", of.within, "#2a7"), ("between", of.between, "#c53"))
    return [Curve(f"{name}, {kind}", *_density(values, span), colour, dashed) for kind, values, colour in pairs]


def _marks(population: str) -> list[Mark]:
    thresholds = THRESHOLDS[population]
    return [Mark("verification", thresholds.verification), Mark("assign", thresholds.assign)]


def _density(values: NDArray[np.float32], span: tuple[float, float]) -> tuple[list[float], list[float]]:
    heights, edges = np.histogram(values, _BINS, span, density=True)
    return ((edges[:-1] + edges[1:]) / 2).tolist(), (heights / max(heights.max(), 1e-9)).tolist()


def _of_one(vectors: NDArray[np.float32], person: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
    similar = vectors @ vectors.T
    same = person[:, None] == person[None, :]
    upper = np.triu_indices(len(person), 1)
    itself = np.eye(len(person), dtype=bool)
    own = np.where(same & ~itself, similar, -2).max(axis=1)
    other = np.where(same, -2, similar).max(axis=1)
    return similar[upper][same[upper]], similar[upper][~same[upper]], own[own > -2], other[other > -2]


def _percentiles(values: NDArray[np.float32]) -> str:
    return " ".join(f"{value:.3f}" for value in np.percentile(values, PERCENTS))


def _degrees(cosine: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def main(path: Path) -> None:
    try:
        real = real_faces(SCRAP_SHOTS).library
        print("percentiles", PERCENTS)
        print(SCRAP_SHOTS.name, cosines([(real.vectors, real.person)]).quantiles())
        print("synthetic", like(real, DLIB).quantiles())
    except NotHad as error:
        real = None
        print(error)
    print("ArcFace-like, degrees to the own and between nearest centres", lfw_degrees(ARCFACE), PUBLISHED_DEGREES)
    plot(path, real)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
