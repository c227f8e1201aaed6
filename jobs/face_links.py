"""The neighbour graph: which faces are linked, how alike they are, and bridges where the graph falls apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from jobs.neighbours import ABSENT, Neighbours, exact_neighbours

OPPOSITE = -1.0  # the least cosine; also given to two faces of one photo that a bridge must join
_BRIDGE_FACES = 4096  # faces that stand for all parts together when bridges are sought
_BRIDGES = 4  # nearest faces of other parts taken for each of them


@dataclass(frozen=True)
class Links:
    """Undirected links, each once, ordered by (first, second), first < second."""

    faces: int
    first: NDArray[np.int64]  # (m,)
    second: NDArray[np.int64]  # (m,)
    similarity: NDArray[np.float32]  # (m,) cosines to six decimals

    def chosen(self, which: NDArray[np.bool_]) -> "Links":
        return Links(self.faces, self.first[which], self.second[which], self.similarity[which])

    def parts(self) -> tuple[int, NDArray[np.int32]]:
        """How many parts the links leave, and each face's part, (faces,)."""
        ones = np.ones(len(self.first), np.int8)
        graph = coo_array((ones, (self.first, self.second)), shape=(self.faces, self.faces))
        count, part = connected_components(graph, directed=False)
        return int(count), part


def linked(neighbours: Neighbours) -> Links:
    """Each face with its neighbours; a pair is linked if either is a neighbour of the other."""
    faces, width = neighbours.index.shape
    here = np.repeat(np.arange(faces, dtype=np.int64), width)
    similarity = neighbours.similarity.ravel()
    present = similarity > ABSENT
    return _unique(faces, here[present], neighbours.index.ravel()[present], similarity[present])


def bridged(links: Links, vectors: NDArray[np.float32], photo: NDArray[np.int32]) -> Links:
    """The links plus those that make one part of all.

    A person with more faces than neighbours are kept for is a part of its own. Its distance to the others is
    measured from some of its faces, evenly spaced: never less than the true one, and true enough to cut at.
    """
    while True:
        count, part = links.parts()
        if count == 1:
            return links
        links = _joined(links, _bridges(vectors, photo, count, part))


def _bridges(vectors: NDArray[np.float32], photo: NDArray[np.int32], count: int, part: NDArray[np.int32]) -> Links:
    chosen = _representatives(count, part)
    near = exact_neighbours(vectors[chosen], part[chosen], _BRIDGES)
    bridges = linked(near)
    first, second = chosen[bridges.first], chosen[bridges.second]
    alike = np.where(photo[first] == photo[second], np.float32(OPPOSITE), bridges.similarity)
    return Links(len(vectors), first, second, alike)


def _representatives(count: int, part: NDArray[np.int32]) -> NDArray[np.int64]:
    """Indices, ascending, of up to 4,096 faces, as many of each part, evenly spaced; of each part at least one."""
    each = max(1, _BRIDGE_FACES // count)
    order = np.argsort(part, kind="stable")
    sizes = np.bincount(part, minlength=count)
    rank = np.arange(len(part)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    spacing = np.repeat(-(-sizes // each), sizes)
    return np.sort(order[rank % spacing == 0])


def _joined(some: Links, more: Links) -> Links:
    return _unique(
        some.faces,
        np.concatenate((some.first, more.first)),
        np.concatenate((some.second, more.second)),
        np.concatenate((some.similarity, more.similarity)),
    )


def _unique(
    faces: int, here: NDArray[np.integer], there: NDArray[np.integer], similarity: NDArray[np.float32]
) -> Links:
    pair = np.minimum(here, there).astype(np.int64) * faces + np.maximum(here, there)
    pair, at = np.unique(pair, return_index=True)
    return Links(faces, pair // faces, pair % faces, similarity[at])
