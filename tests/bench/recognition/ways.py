"""Ways of grouping beside ours, each as published, on the same faces: (n,) labels.

Distances are Euclidean ones of normalised vectors where the original has those, and cosine ones (1 - cosine) where
it has those. A label below 0 is no group.
"""

import hdbscan
import numpy as np
from numpy.typing import NDArray

from tests.bench.recognition.synthetic import Library

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]

HDBSCAN_LIMIT = 10_000  # faces that the first system clustered; further ones stayed in no group
_FARTHEST_ACCEPTED = 1.4  # PhotoPrism's AcceptDistMax


def plain_hdbscan(
    faces: Library, min_cluster_size: int = 3, min_samples: int | None = None, epsilon: float = 0.0
) -> Labels:
    """HDBSCAN with Euclidean distances, the first system's way. `min_samples` None: as `min_cluster_size`.

    The distances are computed beforehand: by itself the package takes six times as long for the same groups.
    """
    labels = np.full(len(faces), -1, np.int64)
    squared = np.maximum(2 - 2 * faces.similar[:HDBSCAN_LIMIT, :HDBSCAN_LIMIT].astype(np.float64), 0)
    np.fill_diagonal(squared, 0)
    clusterer = hdbscan.HDBSCAN(
        min_cluster_size=min_cluster_size,
        min_samples=min_samples,
        metric="precomputed",
        cluster_selection_epsilon=epsilon,
    )
    labels[:HDBSCAN_LIMIT] = clusterer.fit_predict(np.sqrt(squared, out=squared))
    return labels


def photoprism(
    faces: Library, core: int = 4, distance: float = 0.64, match: float = 0.46, radius: float = 0.42
) -> Labels:
    """DBSCAN, then faces left over go to the nearest group whose centre they are near enough to.

    The defaults are those of PhotoPrism's documentation, for FaceNet (developer guide, "Face Recognition":
    cluster core 4, cluster distance 0.64, match distance 0.46; internal/ai/face: radius at most 0.42). For ArcFace
    R50 its registry (internal/ai/face/models.go, 2026) has 1.07, 0.55 and 0.67, and core 5. `match` 0: DBSCAN alone.
    """
    labels = dbscan(faces, core, distance)
    return _matched(faces.vectors, labels, match, radius) if match > 0 else labels


def dbscan(faces: Library, core: int, distance: float) -> Labels:
    """DBSCAN; a face counts among its own neighbours, as in PhotoPrism's pkg/clusters."""
    least = np.float32(1 - distance**2 / 2)
    is_core = np.array([np.count_nonzero(row >= least) >= core for row in faces.similar])
    labels = np.full(len(faces), -1, np.int64)
    count = 0
    for seed in np.flatnonzero(is_core).tolist():
        if labels[seed] < 0:
            _flood(faces.similar, labels, seed, count, is_core, least)
            count += 1
    return labels


def immich(faces: Library, max_distance: float = 0.5, min_faces: int = 3) -> Labels:
    """One face after the other joins the person of the nearest face that has one (Immich's handleRecognizeFaces).

    A core face, with `min_faces` within the distance, itself counted, founds a person where none is near; others
    wait until all have been seen. The defaults are Immich's (server/src/config.ts: maxDistance 0.5, cosine,
    minFaces 3).
    """
    least = np.float32(1 - max_distance)
    labels = np.full(len(faces), -1, np.int64)
    waiting: list[int] = []
    for face, row in enumerate(faces.similar):
        if np.count_nonzero(row >= least) < min_faces:
            waiting.append(face)
        elif not _joined(labels, face, row, least):
            labels[face] = labels.max() + 1
    for face in waiting:
        _joined(labels, face, faces.similar[face], least)
    return labels


def _joined(labels: Labels, face: int, row: NDArray[np.float32], least: np.float32) -> bool:
    near = np.flatnonzero((row >= least) & (labels >= 0))
    if len(near):
        labels[face] = labels[near[np.argmax(row[near])]]
    return bool(len(near))


def _flood(
    similar: Vectors, labels: Labels, seed: int, number: int, core: NDArray[np.bool_], least: np.float32
) -> None:
    """Give the number to all that are reached from `seed` over core faces."""
    labels[seed] = number
    frontier = np.array([seed])
    while len(frontier):
        reached = np.zeros(len(labels), bool)
        for face in frontier:
            reached |= similar[face] >= least
        reached &= labels < 0
        labels[reached] = number
        frontier = np.flatnonzero(reached & core)


def _matched(vectors: Vectors, labels: Labels, match: float, radius: float, margin: float = 0.01) -> Labels:
    """A face left over goes to the nearest centre within that group's radius + match, unless another is as near."""
    if labels.max(initial=-1) < 0:
        return labels
    centres, reach = _centres(vectors, labels, radius)
    far = np.sqrt(np.maximum(2 - 2 * (vectors[labels < 0] @ centres.T), 0))
    nearest = np.argmin(far, axis=1)
    distance = np.take_along_axis(far, nearest[:, None], axis=1)[:, 0]
    accepted = distance < np.minimum(reach[nearest] + match, _FARTHEST_ACCEPTED)
    if far.shape[1] > 1:
        accepted &= np.partition(far, 1, axis=1)[:, 1] - distance >= margin
    matched = labels.copy()
    matched[labels < 0] = np.where(accepted, nearest, -1)
    return matched


def _centres(vectors: Vectors, labels: Labels, radius: float) -> tuple[Vectors, NDArray[np.float64]]:
    """(groups, d) normalised centres, and (groups,) how far 95 % of each group's faces are from it, capped."""
    centres, reach = [], []
    for number in range(labels.max() + 1):
        faces = vectors[labels == number]
        centre = faces.mean(axis=0)
        centre /= np.linalg.norm(centre)
        centres.append(centre)
        reach.append(min(radius, float(np.percentile(np.linalg.norm(faces - centre, axis=1), 95))))
    return np.stack(centres), np.array(reach)
