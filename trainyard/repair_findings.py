"""What a repair finds, and what its parts are given."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import sqlalchemy as sa

from trainyard.stores import Stores
from trainyard.tables import models

PER_LOOK = 1_000  # rows, and points, that are read and compared at a time

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """`done` is what mends it, in the past; null where it is only told: no drift, or not a repair's to mend."""

    count: int
    what: str
    done: str | None


@dataclass(frozen=True)
class Repair:
    """`mend` is false where it is only to be told; `watch(what, done, total)` hears how far a long look has come."""

    stores: Stores
    mend: bool
    watch: Callable[[str, int, int], object] = lambda what, done, total: None

    def transact(self, work: Callable[[sa.Connection], T]) -> T:
        return self.stores.database.transact(work)


@dataclass(frozen=True)
class Collection:
    """Points in Qdrant and the networks they are from: of other preprocessing, but of the same weights."""

    name: str
    kind: str  # "clip" or "face"
    dimension: int
    weights_sha256: str
    model_ids: tuple[int, ...]


def read_collections(connection: sa.Connection) -> list[Collection]:
    m = models.c
    rows = connection.execute(
        sa.select(m.collection, m.kind, m.dimension, m.weights_sha256, sa.func.array_agg(m.id).label("ids"))
        .group_by(m.collection, m.kind, m.dimension, m.weights_sha256)
        .order_by(m.kind, m.collection, m.weights_sha256)
    )
    return [Collection(row.collection, row.kind, row.dimension, row.weights_sha256, tuple(row.ids)) for row in rows]


def parts(items: Iterable[T], size: int = PER_LOOK) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def found(count: int, what: str, done: str | None) -> Iterator[Finding]:
    """The finding, if there is anything to tell."""
    if count:
        yield Finding(count, what, done)
