"""Nearest faces of very many: searched within overlapping cells instead of among all.

Cells are the Voronoi cells of a few rounds of spherical k-means, and every face belongs to several of them, so
faces of one person meet in at least one. An inverted file (Jégou et al. 2011, IVF) built from matrix products:
nothing is compiled first, and one seed decides everything.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from jobs.neighbours import (
    ABSENT,
    Neighbours,
    Progress,
    exact_neighbours_on_one_core,
    in_parallel,
    largest,
)

_CELLS_PER_ROOT = 4  # cells for n faces: this × √n, where finding a face's cells and searching them cost alike
_MEMBERSHIPS = 8  # cells a face belongs to
_ROUNDS = 3  # of k-means
_BLOCK_ROWS = 2048


def cell_neighbours(
    vectors: NDArray[np.float32],
    apart: NDArray[np.int32],
    count: int,
    seed: int,
    progress: Progress | None = None,
) -> Neighbours:
    """Most of the `count` nearest faces of each face.

    Arguments as for `exact_neighbours`; `seed` draws the first centres. Rows hold ABSENT where a face shares
    its cells with fewer than `count` others.
    """
    members = _memberships(vectors, _centres(vectors, seed), _MEMBERSHIPS)
    found = _Found.empty(len(vectors), count)
    cells = _Cells(vectors, apart, members, found)
    for _ in in_parallel(cells.search, range(int(members.max()) + 1), progress):
        pass
    return found.merged(count)


def _centres(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """(cells, d) centres of unit length: seeded faces, moved to the mean of their cell in each round."""
    cells = round(_CELLS_PER_ROOT * len(vectors) ** 0.5)
    drawn = np.random.default_rng(seed).choice(len(vectors), cells, replace=False)
    centres = vectors[np.sort(drawn)]
    for _ in range(_ROUNDS):
        centres = _moved(centres, vectors, _memberships(vectors, centres, 1)[:, 0])
    return centres


def _moved(centres: NDArray[np.float32], vectors: NDArray[np.float32], cell: NDArray[np.int32]) -> NDArray[np.float32]:
    sums = grouped_sums(vectors, cell, len(centres))
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(length > 0, sums / np.maximum(length, 1e-12), centres).astype(np.float32)


def grouped_sums(vectors: NDArray[np.float32], group: NDArray[np.integer], groups: int) -> NDArray[np.float32]:
    """(groups, d) sums of the vectors of each group, added in order of index, without a copy of the vectors."""
    ones = np.ones(len(vectors), np.float32)
    starts = np.concatenate(([0], np.cumsum(np.bincount(group, minlength=groups))))
    one_hot = csr_array((ones, np.argsort(group, kind="stable"), starts), shape=(groups, len(vectors)))
    return np.asarray(one_hot @ vectors, np.float32)


def _memberships(vectors: NDArray[np.float32], centres: NDArray[np.float32], count: int) -> NDArray[np.int32]:
    """(n, count) cells whose centres are nearest to each face."""

    def nearest(start: int) -> NDArray[np.int32]:
        return largest(vectors[start : start + _BLOCK_ROWS] @ centres.T, count)[0]

    return np.concatenate(list(in_parallel(nearest, range(0, len(vectors), _BLOCK_ROWS))))


@dataclass(frozen=True)
class _Found:
    """What each face's cells gave, one slot a cell: two slots may name the same neighbour."""

    index: NDArray[np.int32]  # (n, memberships, count)
    similarity: NDArray[np.float32]  # the same shape

    @classmethod
    def empty(cls, faces: int, count: int) -> "_Found":
        shape = (faces, _MEMBERSHIPS, count)
        return cls(np.zeros(shape, np.int32), np.full(shape, ABSENT, np.float32))

    def merged(self, count: int) -> Neighbours:
        blocks = in_parallel(lambda start: self._merged_block(start, count), range(0, len(self.index), _BLOCK_ROWS))
        indexes, similarities = zip(*blocks, strict=True)
        return Neighbours(np.concatenate(indexes), np.concatenate(similarities))

    def _merged_block(self, start: int, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        rows = slice(start, start + _BLOCK_ROWS)
        index = self.index[rows].reshape(-1, _MEMBERSHIPS * count)
        similarity = self.similarity[rows].reshape(index.shape)
        order = np.lexsort((-similarity, index))
        index, similarity = np.take_along_axis(index, order, 1), np.take_along_axis(similarity, order, 1)
        similarity[:, 1:][index[:, 1:] == index[:, :-1]] = ABSENT
        columns, similarity = largest(similarity, count)
        return np.take_along_axis(index, columns, 1), similarity


class _Cells:
    """Searches one cell at a time; each writes slots of its own, so cells may be searched side by side."""

    def __init__(
        self,
        vectors: NDArray[np.float32],
        apart: NDArray[np.int32],
        members: NDArray[np.int32],
        found: _Found,
    ) -> None:
        self._vectors, self._apart, self._found = vectors, apart, found
        flat = members.ravel()
        self._by_cell = np.argsort(flat, kind="stable")
        self._ends = np.concatenate(([0], np.cumsum(np.bincount(flat))))

    def search(self, cell: int) -> None:
        faces, slots = np.divmod(self._by_cell[self._ends[cell] : self._ends[cell + 1]], _MEMBERSHIPS)
        if len(faces) < 2:
            return
        wanted = self._found.index.shape[2]
        near = exact_neighbours_on_one_core(self._vectors[faces], self._apart[faces], wanted)
        width = near.index.shape[1]
        self._found.index[faces, slots, :width] = faces[near.index]
        self._found.similarity[faces, slots, :width] = near.similarity
