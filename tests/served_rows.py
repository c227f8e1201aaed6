"""The API alone over HTTP, on a test's own rows: no controller is there, so nothing changes them but the test."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from api.app import create_app
from api.server import listen, open_services, serving
from api.services import Services
from tests.conftest import execute
from tests.local_runs import LONGEST_WAIT_SECONDS
from tests.rows import add_session
from trainyard.database import Database
from trainyard.settings import Settings
from trainyard.tables import training_sessions
from trainyard.vectors import Vectors


@dataclass
class ServedRows:
    url: str
    services: Services
    client: httpx.Client

    def add(self, **columns: Any) -> int:
        """A session's row; its id."""
        with self.services.database.engine.begin() as connection:
            return add_session(connection, **columns)

    def change(self, session_id: int, **columns: Any) -> None:
        changed = sa.update(training_sessions).where(training_sessions.c.id == session_id).values(**columns)
        with self.services.database.engine.begin() as connection:
            connection.execute(changed)

    def progress(self, session_id: int) -> httpx.Response:
        return self.client.get(f"/api/v1/training/sessions/{session_id}/progress-unified")


@contextmanager
def served_rows(database_url: str, folder: Path, **settings_given: Any) -> Iterator[ServedRows]:
    """Serve this database, with empty vectors in `folder`."""
    settings = Settings(data_dir=folder, **settings_given)
    with (
        closing(Vectors.local(folder / "qdrant")) as vectors,
        listen("127.0.0.1", 0, settings) as bound,
        open_services(settings, database_url, vectors) as services,
        serving(create_app(services), bound) as serves,
        httpx.Client(base_url=serves.url, timeout=LONGEST_WAIT_SECONDS) as client,
    ):
        yield ServedRows(serves.url, services, client)


@contextmanager
def unreachable(postgres_url: str, database: Database) -> Iterator[None]:
    """The database takes no connections and has lost those it had."""
    name = str(sa.make_url(database.url).database)
    execute(postgres_url, "ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
    try:
        administrator = sa.create_engine(postgres_url)
        with administrator.begin() as connection:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
            connection.execute(sa.text(ended), {"name": name})
        administrator.dispose()
        yield
    finally:
        execute(postgres_url, "ALTER DATABASE {} ALLOW_CONNECTIONS true", name)
