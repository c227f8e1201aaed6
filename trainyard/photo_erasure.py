"""Forgetting photos for good, with their faces, out of rows, vectors and thumbnails: one, or all in a folder."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from trainyard import thumbnail_files
from trainyard.active_sessions import check_idle, keep_idle
from trainyard.erasure import Erased, collections_of, tell_stores
from trainyard.erasure_rows import contents_of_none_else, delete_photos
from trainyard.folders import path_range
from trainyard.stores import Stores

PHOTOS_PER_COMMIT = 1_000


@dataclass(frozen=True)
class Photos:
    """Which photos are meant: a condition on assets `a`, and where a session would have to work to be in the way."""

    condition: str
    parameters: dict[str, Any]
    paths: tuple[bytes, ...]


Progress = Callable[[Erased], object]


def photos_below(path: bytes) -> Photos:
    """A photo, or all in a folder, by the path as it was known: neither need be there any more."""
    spelled = tuple(sorted({os.path.realpath(path), os.path.abspath(path)}))
    ranges = [range_ for each in spelled for range_ in ((each, each + b"\0"), path_range(each))]
    condition = """EXISTS (
        SELECT FROM unnest(CAST(:lows AS bytea[]), CAST(:highs AS bytea[])) AS r (low, high)
        WHERE a.path >= r.low AND a.path < r.high
    )"""
    return Photos(condition, {"lows": [low for low, _ in ranges], "highs": [high for _, high in ranges]}, spelled)


def one_photo(asset_id: int, path: bytes) -> Photos:
    return Photos("a.id = :asset_id", {"asset_id": asset_id}, (path,))


def count_photos(connection: sa.Connection, which: Photos) -> int:
    count = sa.text(f"SELECT count(*) FROM image_assets a WHERE {which.condition}")
    return int(connection.execute(count, which.parameters).scalar_one())


def erase_photos(stores: Stores, which: Photos, progress: Progress = lambda _: None) -> Erased:
    """Erase photos, a thousand a commit; `progress` is told what is gone so far.

    Raises SessionActive, with what was committed before gone for good.
    """
    transact = stores.database.transact
    transact(lambda connection: check_idle(connection, stores, which.paths))
    erased, after = Erased(), 0
    while page := transact(partial(_page, which=which, after=after)):
        erased += _erase_page(stores, which, page)
        after = page[-1]
        progress(erased)
    transact(lambda connection: _forget_found_files(connection, which))
    tell_stores(stores)
    return erased


def _page(connection: sa.Connection, which: Photos, after: int) -> list[int]:
    ids = sa.text(
        f"SELECT a.id FROM image_assets a WHERE {which.condition} AND a.id > :after ORDER BY a.id LIMIT :most"
    )
    return list(connection.scalars(ids, {**which.parameters, "after": after, "most": PHOTOS_PER_COMMIT}))


def _erase_page(stores: Stores, which: Photos, asset_ids: Sequence[int]) -> Erased:
    contents = stores.database.transact(
        lambda connection: contents_of_none_else(connection, asset_ids, which.condition, which.parameters)
    )
    vectors = sum(_delete_points_of(stores, collection, asset_ids) for collection in collections_of(stores))
    thumbnails = thumbnail_files.remove_of_photos(stores.thumbnails, contents)

    def work(connection: sa.Connection) -> tuple[int, int]:
        keep_idle(connection, stores, which.paths)
        return delete_photos(connection, asset_ids)

    photos, faces = stores.database.transact(work)
    return Erased(photos=photos, faces=faces, vectors=vectors, thumbnails=thumbnails)


def _delete_points_of(stores: Stores, collection: str, asset_ids: Sequence[int]) -> int:
    """By what the points say of themselves: those that a worker wrote and never committed go, too."""
    points = sorted(stores.vectors.ids_matching(collection, "asset_id", asset_ids))
    stores.vectors.delete(collection, points)
    return len(points)


def _forget_found_files(connection: sa.Connection, which: Photos) -> None:
    """Paths that a discovery which is paused has found so far."""
    if "lows" in which.parameters:
        connection.execute(sa.text(f"DELETE FROM discovered_files a WHERE {which.condition}"), which.parameters)
