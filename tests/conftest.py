"""Real stores for tests: one PostgreSQL server for the whole session, a fresh database for each test."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from local.data_dir import remove_private_place
from local.postgres import EmbeddedPostgres

TEMPLATE = "template_trainyard"
AWKWARD_NAME = 'Meine Fotos "ü" $HOME'  # as data directories are called


@pytest.fixture(scope="session")
def session_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder all xdist workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def postgres_url(session_dir: Path) -> Iterator[str]:
    """URL of the session's server; the last worker that leaves stops it."""
    users, record = session_dir / "postgres-users", session_dir / "postgres-data"
    me = users / str(os.getpid())
    with locked(session_dir):
        users.mkdir(exist_ok=True)
        me.touch()
        if not record.exists():
            record.write_text(str(passable_dir()))
        server = EmbeddedPostgres(Path(record.read_text()))
        url = server.start()
    yield url
    with locked(session_dir):
        me.unlink()
        if not any(users.iterdir()):
            server.stop()
            remove_private_place(Path(record.read_text()))
            shutil.rmtree(record.read_text())
            record.unlink()


@pytest.fixture
def database_url(postgres_url: str, session_dir: Path) -> Iterator[str]:
    """URL of an empty database with this version's schema."""
    with fresh_database(postgres_url, session_dir) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(postgres_url: str, session_dir: Path) -> Iterator[str]:
    """The same, shared by a module's tests: for those that do not see each other's rows, nor crash the server.

    So commits need not wait for the disk.
    """
    with fresh_database(postgres_url, session_dir) as url:
        execute(postgres_url, "ALTER DATABASE {} SET synchronous_commit = off", str(sa.make_url(url).database))
        yield url


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[sa.Engine]:
    """Of that database."""
    engine = sa.create_engine(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def qdrant_dir(tmp_path: Path) -> Path:
    return tmp_path / "qdrant"


@pytest.fixture
def server_dir() -> Iterator[Path]:
    """A data directory for a PostgreSQL server of a test's own, stopped afterwards whoever started it."""
    folder = passable_dir()
    yield folder / AWKWARD_NAME
    EmbeddedPostgres(folder / AWKWARD_NAME).stop()
    remove_private_place(folder / AWKWARD_NAME)
    shutil.rmtree(folder)


def passable_dir() -> Path:
    """Under root, pytest's own folders are closed to PostgreSQL's uid; this one is not."""
    folder = Path(tempfile.mkdtemp(prefix="trainyard-test-"))
    folder.chmod(0o711)
    return folder


@contextmanager
def fresh_database(postgres_url: str, session_dir: Path) -> Iterator[str]:
    """A database copied from a template, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    with locked(session_dir):
        ensure_template(postgres_url)
    execute(postgres_url, "CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE)
    yield url_of(postgres_url, name)
    execute(postgres_url, "DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with (folder / "postgres-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure_template(url: str) -> None:
    from trainyard.database import migrate

    if not execute(url, "SELECT FROM pg_database WHERE datname = {}", sql.Literal(TEMPLATE)):
        draft = f"draft_{uuid4().hex}"
        execute(url, "CREATE DATABASE {}", draft)
        migrate(url_of(url, draft))
        execute(url, "ALTER DATABASE {} RENAME TO {}", draft, TEMPLATE)


def execute(url: str, statement: LiteralString, *parts: str | sql.Literal) -> int:
    names = [sql.Identifier(part) if isinstance(part, str) else part for part in parts]
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        return connection.execute(sql.SQL(statement).format(*names)).rowcount


def url_of(url: str, database: str) -> str:
    return sa.make_url(url).set(database=database).render_as_string(hide_password=False)
