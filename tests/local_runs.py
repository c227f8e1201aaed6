"""Whole runs on one machine in tests: a data directory, an installation on it, sessions begun and awaited."""

import atexit
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from local import sessions
from local.data_dir import postgres_data, remove_private_place
from local.installation import LocalInstallation
from local.postgres import EmbeddedPostgres
from tests.engines import FakeEngines
from trainyard.database import migrate
from trainyard.lifecycle import ENDED, request
from trainyard.sessions import NewSession
from trainyard.settings import Settings
from trainyard.summary import read_summary

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[1]
LONGEST_WAIT_SECONDS = 120.0  # of a machine with much else to do
LOOK_SECONDS = 0.005
BATCHES = {"embed_batch": 8, "detect_batch": 4}  # small, so that a small library has many


@contextmanager
def data_directory() -> Iterator[Path]:
    """A data directory that PostgreSQL's uid may enter under root, which pytest's own are not.

    Its empty database is a copy of one that is made once, as making one takes longer than a session here.
    """
    folder = _open_folder()
    try:
        data = _open_folder(folder / "data")
        subprocess.run(["cp", "-a", str(_empty_database()), str(data)], check=True)
        yield data
    finally:
        EmbeddedPostgres(folder / "data").stop()
        remove_private_place(folder / "data")
        shutil.rmtree(folder)


def _open_folder(folder: Path | None = None) -> Path:
    made = folder or Path(tempfile.mkdtemp(prefix="trainyard-test-"))
    made.mkdir(exist_ok=True)
    made.chmod(0o711)
    return made


@cache
def _empty_database() -> Path:
    """PostgreSQL's folder with the schema of this version and no rows."""
    folder = _open_folder()
    atexit.register(shutil.rmtree, folder)
    atexit.register(remove_private_place, folder)  # the last registered is called first
    server = EmbeddedPostgres(folder)
    try:
        migrate(server.start())
    finally:
        server.stop()
    return postgres_data(folder)


class Run(LocalInstallation):
    """An installation with fake networks, and what a test does with it."""

    engines: FakeEngines

    def __init__(self, data_dir: Path, clip_weights: str = "fake", **settings: Any) -> None:
        chosen = Settings(data_dir=data_dir, device="cpu", untrained=True, **{**BATCHES, **settings})
        super().__init__(chosen, FakeEngines(chosen, clip_weights))

    def begin(self, root: Path, **options: Any) -> int:
        """Begin (or take up) the session of this folder; returns its id."""
        wish = NewSession(os.path.realpath(root), [], None, {"faces": True, "untrained": True, **options})
        session_id, _ = self.database.transact(lambda connection: sessions.begin(connection, wish))
        self.controller.look.set()
        return session_id

    def ask(self, session_id: int, verb: str) -> None:
        self.database.transact(lambda connection: request(connection, session_id, verb))

    def wait_for(self, condition: Callable[[sa.Connection], T], what: str) -> T:
        """The condition's answer once it is true; an installation that died says so at once."""

        def look() -> T:
            self.check()
            return self.database.transact(condition)

        return wait_until(look, what)

    def ended(self, session_id: int) -> dict[str, Any]:
        """The summary of the session once it has ended."""

        def look(connection: sa.Connection) -> dict[str, Any] | None:
            summary = read_summary(connection, session_id)
            return summary if summary["overallStatus"] in ENDED else None

        summary = self.wait_for(look, f"session {session_id} to end")
        assert summary is not None
        return summary

    def run(self, root: Path, **options: Any) -> dict[str, Any]:
        """A session of this folder, from its beginning to its end; returns its summary."""
        return self.ended(self.begin(root, **options))

    def rows(self, statement: str, **parameters: Any) -> list[Any]:
        return self.database.transact(lambda connection: list(connection.execute(sa.text(statement), parameters)))

    def waiting_code(self, session_id: int, code: str) -> None:
        """Wait until the session says that it waits for this."""
        found = "SELECT 1 FROM training_sessions WHERE id = :id AND waiting_code = :code"
        self.wait_for(
            lambda connection: connection.execute(sa.text(found), {"id": session_id, "code": code}).first(),
            f"session {session_id} to wait for {code}",
        )


@contextmanager
def running(data_dir: Path, **settings: Any) -> Iterator[Run]:
    with Run(data_dir, **settings) as run:
        run.start()
        yield run


def wait_until(condition: Callable[[], T], what: str, longest_seconds: float = LONGEST_WAIT_SECONDS) -> T:
    """The condition's answer once it is true. Raises TimeoutError, saying what was waited for."""
    deadline = time.monotonic() + longest_seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {longest_seconds:.0f} s for {what}")
        threading.Event().wait(LOOK_SECONDS)
    return answer
