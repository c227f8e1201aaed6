"""The settings each way is tried at, and which of them is best on the tuning seed.

python -m tests.bench.recognition.sweep: tries all (minutes) and writes chosen.json, which the bench reads.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.clustering import group_faces
from jobs.engines import FaceThresholds, dlib, insightface
from tests.bench.recognition import bcubed, ways
from tests.bench.recognition.synthetic import ARCFACE, DLIB, POPULATIONS, TUNING_SEED, Library, library

SIZES = (500, 2_000, 10_000)  # faces; settings are chosen for each by itself
CHOSEN = Path(__file__).with_name("chosen.json")
OURS, HDBSCAN = "ours", "HDBSCAN"
PHOTOPRISM, IMMICH = "DBSCAN, PhotoPrism's way", "incremental, Immich's way"

THRESHOLDS: Mapping[str, FaceThresholds] = {DLIB.name: dlib.THRESHOLDS, ARCFACE.name: insightface.THRESHOLDS}
# Cosines from which two faces are taken for one person; the distances of every way are made of the same ones.
COSINES: Mapping[str, Sequence[float]] = {
    DLIB.name: (0.925, 0.93, 0.935, 0.94, 0.945, 0.95, 0.955, 0.96, 0.965, 0.97, 0.975),
    ARCFACE.name: (0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70),
}

Figures = Mapping[str, float]


def ours(faces: Library, verification: float) -> NDArray[np.int64]:
    return group_faces(faces.vectors, faces.photo, verification)


@dataclass(frozen=True)
class Way:
    name: str
    group: Callable[..., NDArray[np.int64]]
    published: Figures
    tried: Sequence[Figures]
    remark: str = ""  # on what is published


def ways_for(population: str) -> list[Way]:
    """Ours first."""
    cosines = COSINES[population]
    distances = [math.sqrt(2 - 2 * cosine) for cosine in cosines]
    default = {"verification": THRESHOLDS[population].verification}
    return [
        Way(OURS, ours, default, _grid(verification=cosines)),
        Way(HDBSCAN, ways.plain_hdbscan, {"min_cluster_size": 3}, _hdbscans(distances)),
        Way(PHOTOPRISM, ways.photoprism, *_photoprism(population, distances)),
        Way(
            IMMICH,
            ways.immich,
            {"max_distance": 0.5, "min_faces": 3},
            _grid(max_distance=[1 - cosine for cosine in cosines], min_faces=(1, 2, 3)),
            "" if population == ARCFACE.name else "for buffalo_l: there is none for dlib",
        ),
    ]


def _photoprism(population: str, distances: Sequence[float]) -> tuple[Figures, Sequence[Figures], str]:
    grid = [
        {"core": core, "distance": far, "match": share * far, "radius": far}
        for core, far, share in product((2, 3, 4, 5), distances, (0.0, 0.5))
    ]
    if population == ARCFACE.name:
        return {"core": 5, "distance": 1.07, "match": 0.55, "radius": 0.67}, grid, "its setting for ArcFace R50"
    facenet = {"core": 4, "distance": 0.64, "match": 0.46, "radius": 0.42}
    return facenet, grid, "for FaceNet: there is none for dlib"


def _hdbscans(distances: Sequence[float]) -> Sequence[Figures]:
    """Few, as one takes ten seconds with 10,000 faces."""
    plain = _grid(min_cluster_size=(2, 3), min_samples=(1, 2))
    return [*plain, *_grid(min_cluster_size=(2,), min_samples=(1,), epsilon=distances[2:7])]


def _grid(**figures: Sequence[float]) -> list[Figures]:
    return [dict(zip(figures, values, strict=True)) for values in product(*figures.values())]


def words(figures: Figures) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in figures.items())


def best(way: Way, faces: Library) -> dict[str, Any]:
    """{figures, f} of the setting with the highest F, the first of equal ones."""
    found = [(bcubed.mean_f(faces.person, way.group(faces, **figures)), figures) for figures in way.tried]
    f, figures = max(found, key=lambda one: one[0])
    return {"figures": {name: round(value, 6) for name, value in figures.items()}, "f": round(f, 4)}


def chosen(population: str, size: int, way: str) -> Figures:
    """The figures that were best for this way on the tuning seed's library of the nearest size."""
    by_size = json.loads(CHOSEN.read_text())[population]
    nearest = min(by_size, key=lambda of: abs(math.log(int(of) / size)))
    figures: Figures = by_size[nearest][way]["figures"]
    return figures


def main() -> None:
    found: dict[str, Any] = {}
    for population, size in product(POPULATIONS, SIZES):
        faces = library(population, size, TUNING_SEED)
        at = {way.name: best(way, faces) for way in ways_for(population.name)}
        found.setdefault(population.name, {})[str(size)] = at
        print(population.name, size, json.dumps(at), flush=True)
    CHOSEN.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
