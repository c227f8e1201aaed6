"""HDBSCAN* on a neighbour graph: mutual reachability, spanning tree, condensed tree, excess of mass.

Campello, Moulavi and Sander 2013. The tree is cut by the functions of the package `hdbscan`, so the result is
that package's wherever the graph holds the links its spanning tree would use, but for the choice among equal
distances, which the order of the faces decides in either.
"""

import numpy as np
from hdbscan._hdbscan_linkage import label
from hdbscan._hdbscan_tree import compute_stability, condense_tree, get_clusters
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from jobs.face_links import Links
from jobs.neighbours import Neighbours

MIN_CLUSTER_SIZE = 3
MIN_SAMPLES = 2  # as `hdbscan` counts: the second nearest other face (others count the face itself too)
_FARTHEST = 2.0  # the largest cosine distance
_NEAREST = 1e-6  # one step of the rounding: copies have a distance of zero, and density is 1 / distance


def density_groups(neighbours: Neighbours, links: Links) -> NDArray[np.int64]:
    """(n,) group of each face, -1 for noise; `links` must join all faces (n >= 3) into one part."""
    tree = condense_tree(label(spanning_tree(neighbours, links)), MIN_CLUSTER_SIZE)
    labels, _, _ = get_clusters(tree, compute_stability(tree), "eom")
    return np.asarray(labels, np.int64)


def spanning_tree(neighbours: Neighbours, links: Links) -> NDArray[np.float64]:
    """(n - 1, 3) rows (face, face, mutual reachability distance), nearest first.

    The tree is built on ranks: many distances are equal, and ranks leave no choice (nor any zero, which scipy
    takes for no link at all).
    """
    distance = np.maximum(_reachability(neighbours, links), _NEAREST)
    order = np.argsort(distance, kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    graph = coo_array((rank, (links.first, links.second)), shape=(links.faces, links.faces))
    tree = minimum_spanning_tree(graph.tocsr())
    edges = order[np.sort(tree.data).astype(np.int64) - 1]
    return np.column_stack((links.first[edges], links.second[edges], distance[edges])).astype(np.float64)


def _reachability(neighbours: Neighbours, links: Links) -> NDArray[np.float64]:
    """(m,) mutual reachability distance of each link."""
    core = np.full(links.faces, _FARTHEST)
    if neighbours.index.shape[1] >= MIN_SAMPLES:
        core = np.minimum(_distance(neighbours.similarity[:, MIN_SAMPLES - 1]), _FARTHEST)
    return np.maximum.reduce([_distance(links.similarity), core[links.first], core[links.second]])


def _distance(similarity: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.maximum(np.round(1.0 - similarity.astype(np.float64), 6), 0.0)
