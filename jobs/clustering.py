"""Faces without a name, put into groups of one person each.

Stage one finds dense groups (HDBSCAN) on the graph of nearest neighbours; a group is then cut wherever it hangs
together by links weaker than the engine's verification threshold alone, since density by itself also finds
"groups" among strangers. Stage two joins what is left over (single faces, pairs, a library of one person, which
HDBSCAN calls noise) to each other and to the groups by average linkage at that threshold.

Two faces of one photo never join on their own likeness: stage one has no link between them, stage two counts it
as zero. They may meet in a group through faces of other photos (a mirror, a collage seen elsewhere too).

The same vectors and photos in the same order give the same labels, byte for byte, on every run, process and
number of threads of one machine. Nothing is compiled first.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from jobs.average_linkage import join_alike
from jobs.density_groups import MIN_CLUSTER_SIZE, density_groups
from jobs.face_links import Links, bridged, linked
from jobs.neighbour_cells import cell_neighbours
from jobs.neighbours import Neighbours, Progress, exact_neighbours

NEIGHBOURS = 32  # kept for each face: on 10,000 synthetic ones as good as comparing all with all (ARI 1.0)
EXACT_UP_TO = 50_000  # faces; comparing all with all grows with the square of their number
_SEARCH_SHARE = 0.8  # of the time, where there are many faces


def group_faces(
    vectors: NDArray[np.float32],
    photo: NDArray[np.integer],
    verification_similarity: float,
    seed: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """(n,) the group of each face, numbered from 0 in order of each group's first face; -1 belongs to none.

    `vectors` is (n, d) float32, L2-normalised, in an order that itself is always the same; `photo` is (n,)
    integers, equal for faces of one photo. `verification_similarity` is the cosine, above 0, at or above which
    the engine takes two faces for one person. `seed` matters above 50,000 faces only. `progress` hears
    fractions, never falling, the last one 1. Raises ValueError for input of another shape, length or norm.
    """
    _check(vectors, photo, verification_similarity)
    report = progress or _unheard
    group = np.arange(len(vectors), dtype=np.int64)
    if len(vectors) > 1:
        apart = _in_order_of_appearance(photo)
        neighbours = _neighbours(vectors, apart, seed, lambda share: report(share * _SEARCH_SHARE))
        links = linked(neighbours)
        group = _dense(vectors, apart, neighbours, links, verification_similarity)
        report((1 + _SEARCH_SHARE) / 2)
        group = join_alike(vectors, apart, group, links, verification_similarity)
    report(1.0)
    return _numbered(group)


def match_groups(old: Mapping[int, set[int]], new: Mapping[int, set[int]]) -> dict[int, int]:
    """{new id: old id} of groups (id → faces, each face in one group of each side) that are the same person's.

    Two match if they share at least half of the faces of the smaller; pairs are taken greedily, those that
    share most first, then the lower old id, then the lower new id. Groups without a match are not in the result.
    """
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for _, old_id, new_id in sorted(_eligible(old, new)):
        if new_id not in matched and old_id not in taken:
            matched[new_id] = old_id
            taken.add(old_id)
    return matched


def _eligible(old: Mapping[int, set[int]], new: Mapping[int, set[int]]) -> list[tuple[int, int, int]]:
    """(-shared faces, old id, new id) of each pair that shares enough."""
    owner = {face: old_id for old_id, faces in old.items() for face in faces}
    pairs = {(owner[face], new_id) for new_id, faces in new.items() for face in faces if face in owner}
    counted = ((len(old[old_id] & new[new_id]), old_id, new_id) for old_id, new_id in pairs)
    return [(-shared, o, n) for shared, o, n in counted if 2 * shared >= min(len(old[o]), len(new[n]))]


def _neighbours(vectors: NDArray[np.float32], apart: NDArray[np.int32], seed: int, progress: Progress) -> Neighbours:
    if len(vectors) > EXACT_UP_TO:
        return cell_neighbours(vectors, apart, NEIGHBOURS, seed, progress)
    return exact_neighbours(vectors, apart, NEIGHBOURS, progress)


def _dense(
    vectors: NDArray[np.float32],
    apart: NDArray[np.int32],
    neighbours: Neighbours,
    links: Links,
    verification_similarity: float,
) -> NDArray[np.int64]:
    """(n,) groups to go on with: verified dense ones, and each other face by itself."""
    if len(vectors) < MIN_CLUSTER_SIZE:
        return np.arange(len(vectors))
    whole = bridged(links, vectors, apart)
    labels = density_groups(neighbours, whole)
    verified = (whole.similarity >= verification_similarity) & (labels[whole.first] >= 0)
    return _parts(whole.chosen(verified & (labels[whole.first] == labels[whole.second])))


def _parts(links: Links) -> NDArray[np.int64]:
    """Parts of enough faces stay groups; the faces of smaller ones go on alone."""
    _, part = links.parts()
    small = np.bincount(part)[part] < MIN_CLUSTER_SIZE
    return np.unique(np.where(small, links.faces + np.arange(links.faces), part), return_inverse=True)[1]


def _in_order_of_appearance(values: NDArray[np.integer]) -> NDArray[np.int32]:
    """(n,) equal for equal values, numbered from 0: what the values are (ids, drawn anew each time) is nothing."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int32)


def _numbered(group: NDArray[np.int64]) -> NDArray[np.int64]:
    labels = np.full(len(group), -1, np.int64)
    grouped = np.bincount(group, minlength=1)[group] > 1
    labels[grouped] = _in_order_of_appearance(group[grouped])
    return labels


def _check(vectors: NDArray[np.float32], photo: NDArray[np.integer], verification_similarity: float) -> None:
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise ValueError(f"vectors must be (n, d) float32, not {vectors.shape} {vectors.dtype}")
    if photo.shape != (len(vectors),) or photo.dtype.kind not in "iu":
        raise ValueError(f"photo must be one integer for each of {len(vectors)} faces, not {photo.shape} {photo.dtype}")
    if not 0 < verification_similarity <= 1:
        raise ValueError(f"verification_similarity must be a cosine above 0, up to 1, not {verification_similarity}")
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    wrong = np.flatnonzero(~(np.abs(length - 1) < 1e-3))
    if len(wrong):
        raise ValueError(f"face {wrong[0]} has length {length[wrong[0]]:.3g}, not 1: normalise vectors first (L2)")


def _unheard(_: float) -> None:
    pass
