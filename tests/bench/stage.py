"""Real stores for the bench, and single steps of a session run on them without a controller."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.context import Context
from jobs.engines.loading import Engines
from jobs.worker import run_shard
from local.data_dir import remove_private_place
from local.postgres import EmbeddedPostgres
from tests.conftest import TEMPLATE, ensure_template, execute, passable_dir, url_of
from trainyard import shards
from trainyard.database import Database
from trainyard.shards import ShardKey
from trainyard.steps import SHARDED_STEPS
from trainyard.tables import steps, training_sessions
from trainyard.vectors import Payload, Vectors

T = TypeVar("T")


@dataclass
class Spent:
    """Seconds inside calls, by the wall and by this thread's processor time."""

    wall_seconds: float = 0.0
    thread_seconds: float = 0.0

    @contextmanager
    def counting(self) -> Iterator[None]:
        wall, thread = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.wall_seconds += time.perf_counter() - wall
            self.thread_seconds += time.thread_time() - thread


class TimedDatabase(Database):
    """A database that counts the time of its transactions, reads and commits included."""

    spent: Spent

    def transact(self, work: Callable[[sa.Connection], T]) -> T:
        with self.spent.counting():
            return super().transact(work)


class TimedVectors(Vectors):
    """Vectors that count the time of their writes."""

    spent: Spent

    def upsert(
        self, collection: str, ids: Sequence[UUID], vectors: NDArray[np.float32], payloads: Sequence[Payload]
    ) -> None:
        with self.spent.counting():
            super().upsert(collection, ids, vectors, payloads)

    def delete(self, collection: str, ids: Sequence[UUID]) -> None:
        with self.spent.counting():
            super().delete(collection, ids)


@dataclass
class Stage:
    """An empty installation's stores: `context` for workers, and what its writes have cost so far."""

    context: Context
    spent: Spent = field(default_factory=Spent)

    @property
    def database(self) -> Database:
        return self.context.database

    def begin_session(self, root: Path, options: Mapping[str, Any]) -> int:
        statement = sa.insert(training_sessions).values(root_path=str(root), options=dict(options))
        return self.database.transact(
            lambda c: int(c.execute(statement.returning(training_sessions.c.id)).scalar_one())
        )

    def discover(self, root: Path, **options: Any) -> int:
        """A session of the photos in `root`, discovered, with the work of its later steps listed."""
        session_id = self.begin_session(root, options)
        self.run(self.prepare(session_id, "discover"))
        return session_id

    def prepare(self, session_id: int, step: str) -> ShardKey:
        """The first attempt of a step, cut into one shard."""
        self.database.transact(lambda connection: begin_step(connection, session_id, step))
        return ShardKey(session_id, step, 1, 0)

    def run(self, key: ShardKey) -> None:
        run_shard(self.context, key)


def begin_step(connection: sa.Connection, session_id: int, step: str) -> None:
    connection.execute(sa.insert(steps).values(session_id=session_id, step=step, status="running", attempt=1))
    if step in SHARDED_STEPS:
        shards.cut(connection, session_id, step, 1, 1)
    else:
        shards.cut_whole(connection, session_id, step, 1)


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder that PostgreSQL's uid may pass through, deleted afterwards."""
    folder = passable_dir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """URL of a server of its own, with the current schema in a template database."""
    server = EmbeddedPostgres(folder / "data")
    (folder / "data").mkdir(mode=0o711)
    url = server.start()
    try:
        ensure_template(url)
        yield url
    finally:
        server.stop()
        remove_private_place(folder / "data")


@contextmanager
def fresh_stage(url: str, folder: Path, engines: Engines) -> Iterator[Stage]:
    """Empty rows and vectors; the networks in `engines` stay loaded from one stage to the next."""
    name, qdrant = f"bench_{uuid4().hex}", folder / f"qdrant-{uuid4().hex}"
    execute(url, "CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE)
    spent = Spent()
    database, vectors = TimedDatabase(url_of(url, name)), TimedVectors.local(qdrant)
    database.spent = vectors.spent = spent
    context = Context(database, vectors, engines.settings, engines, threading.Event(), "bench")
    try:
        yield Stage(context, spent)
    finally:
        vectors.close()
        database.close()
        execute(url, "DROP DATABASE {} WITH (FORCE)", name)
        shutil.rmtree(qdrant)
