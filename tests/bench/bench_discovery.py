"""Listing a million paths: from a stream of files to assets and work, against a bare COPY of the same rows."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from jobs import discover
from jobs.context import read_session
from jobs.engines.loading import Engines
from jobs.moved import find_moves
from jobs.networks import Resolved
from jobs.subdirectories import SubdirectoryCounts
from jobs.walk import FoundFile, Walk, display_text
from tests.bench.results import Row
from tests.bench.stage import Stage, fresh_stage, postgres_server, workplace
from trainyard import shards
from trainyard.settings import load_settings
from trainyard.tables import models

PATHS = 1_000_000
FILES_A_FOLDER = 1_000
ROOT = Path("/photos")


@dataclass
class MadeUpWalk:
    """What a walk over a million files yields, without the files."""

    roots: tuple[bytes, ...] = (bytes(ROOT),)
    skipped: int = 0
    unreadable: tuple[bytes, ...] = ()
    fruitful: frozenset[bytes] = frozenset({bytes(ROOT)})

    def __iter__(self) -> Iterator[FoundFile]:
        for index in range(PATHS):
            folder, name = divmod(index, FILES_A_FOLDER)
            path = f"{ROOT}/album-{folder:04}/IMG_{name:05}.jpg"
            yield FoundFile(path.encode(), 3_000_000 + index, 1_700_000_000_000_000_000 + index)


def measure() -> list[Row]:
    with workplace() as folder, postgres_server(folder) as url:
        engines = Engines(load_settings(data_dir=folder / "ours", device="cpu", untrained=True))
        with fresh_stage(url, folder, engines) as stage:
            copy_seconds = _bare_copy(stage)
            collect_seconds = _collect(stage)
            settle_seconds = _settle(stage)
    ours = collect_seconds + settle_seconds
    note = (
        f"{collect_seconds:.1f} s to collect, {settle_seconds:.1f} s to settle (assets, work of two steps, missing "
        f"photos); bare COPY {copy_seconds:.1f} s"
    )
    figures = {"collect": collect_seconds, "settle": settle_seconds, "copy": copy_seconds}
    measured = f"{ours:.1f} s, {ours / copy_seconds:.1f} × bare COPY"
    return [Row(f"discover {PATHS:,} paths", measured, note=note, figures=figures)]


def _bare_copy(stage: Stage) -> float:
    """The same rows, written the same way, into a table without index or session, in one transaction."""

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE bare AS SELECT * FROM discovered_files"))
        cursor = cast(Any, connection.connection.cursor())
        with cursor.copy("COPY bare FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "bytea", "text", "int8", "int8"])
            for found in MadeUpWalk():
                copy.write_row((1, found.path, display_text(found.path), found.size_bytes, found.mtime_ns))

    begun = time.perf_counter()
    stage.database.transact(work)
    seconds = time.perf_counter() - begun
    stage.database.transact(lambda connection: connection.execute(sa.text("DROP TABLE bare")))
    return seconds


def _collect(stage: Stage) -> float:
    key = stage.prepare(stage.begin_session(ROOT, {}), "discover")
    shard = stage.database.transact(lambda connection: shards.claim(connection, key, "bench"))
    session = stage.database.transact(lambda connection: read_session(connection, key.session_id))
    walk, subdirectories = cast(Walk, MadeUpWalk()), SubdirectoryCounts(session)
    begun = time.perf_counter()
    discover._collect(stage.context, session, shard, walk, Future(), subdirectories)
    return time.perf_counter() - begun


def _settle(stage: Stage) -> float:
    session_id = stage.database.transact(
        lambda c: c.execute(sa.text("SELECT max(id) FROM training_sessions")).scalar_one()
    )
    session = stage.database.transact(lambda connection: read_session(connection, session_id))
    shard = stage.database.transact(lambda c: shards.claim(c, shards.ShardKey(session_id, "discover", 1, 0), "bench"))
    resolved = Resolved(_model(stage, "clip"), _model(stage, "face"), "cpu")
    walk = cast(Walk, MadeUpWalk())
    begun = time.perf_counter()
    moves = find_moves(stage.context, session_id, shard, walk)
    stage.database.transact(lambda c: discover._write_assets(c, session, shard, moves))
    stage.database.transact(lambda c: discover._settle(c, session, shard, resolved, walk, moves))
    return time.perf_counter() - begun


def _model(stage: Stage, kind: str) -> dict[str, Any]:
    """A row of `models`; nothing is loaded for it."""
    columns: dict[str, Any] = {
        "kind": kind,
        "engine": "none",
        "name": "made up",
        "weights_sha256": "00",
        "preprocess_version": 1,
        "dimension": 512,
        "collection": kind,
        "trained": False,
    }
    statement = sa.insert(models).values(**columns).returning(models.c.id)
    return {**columns, "id": stage.database.transact(lambda connection: connection.execute(statement).scalar_one())}
