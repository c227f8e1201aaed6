"""Whether Qdrant has a network's points."""

from collections.abc import Iterable
from typing import NamedTuple

from trainyard.vectors import Vectors, WrongCollection


class PointsOf(NamedTuple):
    """A collection, and the network whose vectors it is to hold: their dimension, and the hash of its weights."""

    collection: str
    dimension: int
    weights_sha256: str


def present(vectors: Vectors, wanted: Iterable[PointsOf]) -> set[PointsOf]:
    """Those that are there; a missing collection, or one with another network's vectors, is none and is left alone."""
    there = set(vectors.collections())
    return {points for points in set(wanted) if points.collection in there and _holds(vectors, points)}


def _holds(vectors: Vectors, points: PointsOf) -> bool:
    try:
        vectors.ensure_collection(*points)
    except WrongCollection:
        return False
    return True
