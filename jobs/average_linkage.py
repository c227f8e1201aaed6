"""Groups joined while the faces of one are, on average, as like those of the other as one person's.

The mean similarity of all pairs between two groups is the product of the groups' vector sums over their sizes,
so joining needs no matrix of distances. Average linkage and not single: a chain of lookalikes does not join two
people. A pair on one photo counts as similarity zero: its likeness is no evidence (twins, siblings), yet
a person standing beside their mirror image joins through other photos.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

from jobs.face_links import Links
from jobs.neighbour_cells import grouped_sums

_CHUNK = 4096  # pairs of sums multiplied at once


def join_alike(
    vectors: NDArray[np.float32],
    photo: NDArray[np.int32],
    group: NDArray[np.int64],
    links: Links,
    threshold: float,
) -> NDArray[np.int64]:
    """(n,) the group of each face after joining, best pair first, while a mean reaches `threshold`.

    `vectors` is (n, d) float32, L2-normalised; `group` (n,) numbers the groups to begin with from 0, single
    faces included; only groups with a link of `threshold` or more between them are tried.
    """
    strong = links.chosen((links.similarity >= threshold) & (group[links.first] != group[links.second]))
    pairs = np.sort(np.column_stack((group[strong.first], group[strong.second])), axis=1)
    pairs = np.unique(pairs, axis=0)
    active = np.unique(pairs)
    units = _Units(vectors, photo, np.where(np.isin(group, active), np.searchsorted(active, group), -1))
    pairs = np.searchsorted(active, pairs)
    while units.join_best(pairs, threshold):
        pass
    result = np.arange(int(group.max()) + 1)
    result[active] = active[units.roots()]
    return result[group]


class _Units:
    """Groups while they are joined: the lowest number of those joined is the root, and keeps sum, size, photos."""

    def __init__(self, vectors: NDArray[np.float32], photo: NDArray[np.int32], unit: NDArray[np.int64]) -> None:
        """`unit` is (n,): faces at -1 belong to no unit."""
        faces = np.flatnonzero(unit >= 0)
        count = int(unit.max(initial=-1)) + 1
        self._vectors = vectors
        self._root = list(range(count))
        self._sizes = np.bincount(unit[faces], minlength=count).astype(np.float64)
        self._sums = grouped_sums(vectors[faces], unit[faces], count).astype(np.float64)
        self._photos: list[dict[int, list[int]]] = [{} for _ in range(count)]
        for face in faces.tolist():
            self._photos[unit[face]].setdefault(int(photo[face]), []).append(face)

    def join_best(self, pairs: NDArray[np.int64], threshold: float) -> bool:
        """One sweep over linked units, best first; whether any were joined."""
        joined = False
        waiting = self._waiting(pairs, threshold)
        while waiting:
            expected, first, second = heapq.heappop(waiting)
            first, second = sorted((self._find(first), self._find(second)))
            if first == second:
                continue
            similarity = self._similarity(first, second)
            if similarity >= max(threshold, -expected):
                self._join(first, second)
                joined = True
            elif similarity >= threshold:  # a join made it less than expected: its turn comes later
                heapq.heappush(waiting, (-similarity, first, second))
        return joined

    def roots(self) -> NDArray[np.int64]:
        return np.array([self._find(unit) for unit in range(len(self._root))], np.int64)

    def _find(self, unit: int) -> int:
        while self._root[unit] != unit:
            self._root[unit] = unit = self._root[self._root[unit]]
        return unit

    def _waiting(self, pairs: NDArray[np.int64], threshold: float) -> list[tuple[float, int, int]]:
        """A heap of (-mean similarity, unit, unit), pairs on one photo not yet taken out."""
        roots = self.roots()[pairs]
        roots = np.unique(np.sort(roots[roots[:, 0] != roots[:, 1]], axis=1), axis=0)
        means = [self._means(roots[at : at + _CHUNK]) for at in range(0, len(roots), _CHUNK)]
        mean = np.concatenate([np.empty(0), *means])
        hopeful = mean >= threshold
        waiting = list(zip((-mean[hopeful]).tolist(), *roots[hopeful].T.tolist(), strict=True))
        heapq.heapify(waiting)
        return waiting

    def _means(self, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        first, second = pairs.T
        products = np.einsum("ij,ij->i", self._sums[first], self._sums[second])
        return products / (self._sizes[first] * self._sizes[second])

    def _similarity(self, first: int, second: int) -> float:
        total = float(self._sums[first] @ self._sums[second]) - self._on_shared_photos(first, second)
        return round(total / float(self._sizes[first] * self._sizes[second]), 6)

    def _on_shared_photos(self, first: int, second: int) -> float:
        mine, theirs = self._photos[first], self._photos[second]
        shared = sorted(mine.keys() & theirs.keys())
        return sum(float(self._sum(mine[photo]) @ self._sum(theirs[photo])) for photo in shared)

    def _sum(self, faces: list[int]) -> NDArray[np.float64]:
        return self._vectors[faces].sum(axis=0, dtype=np.float64)

    def _join(self, first: int, second: int) -> None:
        self._root[second] = first
        self._sums[first] += self._sums[second]
        self._sizes[first] += self._sizes[second]
        for photo, faces in self._photos[second].items():
            self._photos[first].setdefault(photo, []).extend(faces)
        self._photos[second] = {}
