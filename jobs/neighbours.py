"""The nearest faces of every face by cosine similarity, exact, in blocks of one fixed shape.

Each block is one matrix product on one BLAS thread, and blocks are shared out among the cores. So the bits of a
similarity depend on the number of faces alone, never on how many cores or threads computed it. (Apple's
Accelerate takes no such limit; there the fixed shapes are all that is promised.)
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from trainyard.cores import cpu_count

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[float], None]

ABSENT = -2.0  # below every cosine: no such neighbour
_DECIMALS = 6  # float32 products of 512 terms are good to about 1e-7: nearer than this is equal
_FOLD = 32  # columns compared at once before any row is sorted
_BLOCK_BYTES = 24 << 20  # of similarities held by one core
_MAX_BLOCK_ROWS = 512


@dataclass(frozen=True)
class Neighbours:
    """The k nearest of each of n faces, nearest first, equal ones in order of index."""

    index: NDArray[np.int32]  # (n, k)
    similarity: NDArray[np.float32]  # (n, k) cosines to six decimals, ABSENT where fewer than k are eligible


def exact_neighbours(
    vectors: NDArray[np.float32], apart: NDArray[np.int32], count: int, progress: Progress | None = None
) -> Neighbours:
    """The `count` nearest faces of each, found by comparing all with all.

    `vectors` is (n, d) float32, L2-normalised; `apart` is (n,): faces with equal values (each face and itself,
    two faces of one photo) are never neighbours. Fewer columns come back when n is `count` or less.
    """
    search = _Search(vectors, apart, count)
    return _stacked(list(in_parallel(search.block, search.starts, progress)))


def exact_neighbours_on_one_core(vectors: NDArray[np.float32], apart: NDArray[np.int32], count: int) -> Neighbours:
    """The same for few faces, by a caller that already shares work out among the cores."""
    search = _Search(vectors, apart, count)
    return _stacked([search.block(start) for start in search.starts])


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], progress: Progress | None = None
) -> Iterator[Result]:
    """Results of `work` in the order of `items`, computed on all cores with one BLAS thread each."""
    with _one_blas_thread(), ThreadPoolExecutor(cpu_count()) as pool:
        for done, result in enumerate(pool.map(work, items), start=1):
            if progress is not None:
                progress(done / len(items))
            yield result


def largest(similarity: NDArray[np.float32], count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Columns and rounded values, both (rows, count), of each row's largest, ties in order of column."""
    columns = _candidates(similarity, count)
    values = np.round(np.take_along_axis(similarity, columns, axis=1), _DECIMALS)
    best = np.argpartition(values, values.shape[1] - count, axis=1)[:, -count:]
    columns, values = _reordered(best, columns, values)
    columns, values = _reordered(np.argsort(columns, axis=1), columns, values)
    columns, values = _reordered(np.argsort(-values, axis=1, kind="stable"), columns, values)
    return columns.astype(np.int32), values


class _Search:
    """One comparison of all with all, cut into blocks of rows."""

    def __init__(self, vectors: NDArray[np.float32], apart: NDArray[np.int32], count: int) -> None:
        self._faces = len(vectors)
        self._count = min(count, self._faces - 1)
        padding = -self._faces % _FOLD
        self._vectors = np.pad(vectors, ((0, padding), (0, 0))) if padding else vectors
        self._apart = apart
        self._rows = max(1, min(_MAX_BLOCK_ROWS, _BLOCK_BYTES // (4 * len(self._vectors))))
        self.starts = range(0, self._faces, self._rows)

    def block(self, start: int) -> Neighbours:
        rows = slice(start, min(start + self._rows, self._faces))
        similarity = self._vectors[rows] @ self._vectors.T
        similarity[:, self._faces :] = ABSENT
        together = self._apart[rows, None] == self._apart[None, :]
        np.copyto(similarity[:, : self._faces], np.float32(ABSENT), where=together)
        return Neighbours(*largest(similarity, self._count))


def _candidates(similarity: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Columns that surely hold each row's largest: a tenth of the time of sorting out whole rows.

    The row is folded into 32 layers; its `count` largest lie in the `count` positions with the largest maxima.
    """
    rows, columns = similarity.shape
    width = columns // _FOLD
    if columns % _FOLD or width <= count:
        return np.broadcast_to(np.arange(columns), similarity.shape)
    maxima = similarity.reshape(rows, _FOLD, width).max(axis=1)
    positions = np.argpartition(maxima, width - count, axis=1)[:, width - count :]
    layers = width * np.arange(_FOLD)
    return (positions[:, None, :] + layers[None, :, None]).reshape(rows, -1)


def _reordered(
    order: NDArray[np.intp], columns: NDArray[np.intp], values: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _stacked(blocks: list[Neighbours]) -> Neighbours:
    return Neighbours(
        np.concatenate([block.index for block in blocks]),
        np.concatenate([block.similarity for block in blocks]),
    )


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    with threadpool_limits(limits=1, user_api="blas"):
        yield
