"""What `trainyard doctor` finds of the data directory, PostgreSQL and Qdrant."""

import threading
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cli.findings import INSTALL, Finding, version_of
from trainyard.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

POOLER = (
    "A pooler lends its connections a transaction at a time: requests and changes are not told at once but found by "
    "looking every few seconds. Name the server's own port, or a pool in session mode, in TRAINYARD_DATABASE_URL."
)
POOLER_SECONDS = 2.0
QDRANT_SECONDS = 5
ROUNDS = 5

Process = tuple[int, datetime]


def database_findings(settings: Settings) -> Iterable[Finding]:
    """The data directory is only looked at; one that is not there yet is not made."""
    folder = settings.data_dir
    if folder.is_dir():
        yield _holder(folder)
    else:
        yield Finding("Data", f"{folder} is not there yet; the first `run` makes it")
    if settings.database_url:
        yield _database(settings.database_url, "TRAINYARD_DATABASE_URL", "trainyard migrate")
    else:
        yield _embedded_postgres(folder)
    yield _qdrant(settings)


def _holder(folder: Path) -> Finding:
    from local.data_dir import DataDir, DataDirBusy, DataDirUnusable

    try:
        DataDir(folder).close()
    except DataDirBusy as error:
        return Finding("Data", str(error), "note")
    except DataDirUnusable as error:
        return Finding("Data", str(error), "missing")
    return Finding("Data", f"{folder}, held by nobody")


def _embedded_postgres(folder: Path) -> Finding:
    try:
        from local.postgres import EmbeddedPostgres, PostgresFailed

        installed = version("embedded-postgres")
    except ModuleNotFoundError:  # also of psutil, where the extra `local` is not installed
        return Finding("PostgreSQL", "its programs are not installed", "missing", INSTALL)
    try:
        url = EmbeddedPostgres.url_of_running(folder)
    except PostgresFailed as error:
        return Finding("PostgreSQL", str(error), "missing")
    if url is None:
        return Finding("PostgreSQL", f"{installed}, not running; `run` starts it and stops it again")
    return _database(url, f"{installed}, running for this data directory", None)


def _database(url: str, what: str, migrate: str | None) -> Finding:
    import sqlalchemy as sa

    from trainyard.database import Database, SchemaMismatch, check_schema, first_line

    try:
        database = Database(url)
        database.transact(check_schema)
        database.close()
    except SchemaMismatch as error:
        return Finding("PostgreSQL", f"{what}. {error}", "missing" if migrate else "note", migrate)
    except sa.exc.SQLAlchemyError as error:
        return Finding("PostgreSQL", f"{what}: {first_line(error)}", "missing")
    if _lends_connections(url):
        return Finding("PostgreSQL", f"{what}, schema up to date. {POOLER}", "note")
    return Finding("PostgreSQL", f"{what}, schema up to date")


def _lends_connections(url: str) -> bool:
    """Whether a pooler is in between that lends the server's connections for a transaction at a time.

    The look at it is given up after two seconds: such a pooler makes clients wait when all it has are lent.
    """
    seen: list[bool] = []
    look = threading.Thread(target=lambda: seen.append(_is_lent(url)), name="doctor-pooler", daemon=True)
    look.start()
    look.join(POOLER_SECONDS)
    return any(seen)


def _is_lent(url: str) -> bool:
    """Whether two clients meet the same server process, or one of them several: each has its own without a pooler.

    The first asks again while the second's transaction keeps it from being lent the same one. LISTEN comes first,
    as a pooler that understands it keeps such a client's connection for it. What cannot be asked is not held
    against a server.
    """
    import sqlalchemy as sa

    options = {"connect_timeout": 2, "prepare_threshold": None}
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=options)
    ours: set[Process] = set()
    others: set[Process] = set()
    try:
        with engine.connect() as listening, engine.connect() as other:
            listening.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("LISTEN trainyard_doctor")
            for _ in range(ROUNDS):
                ours.add(_process(listening))
                others.add(_process(other))  # in a transaction from here on
                if ours & others:
                    return True
                ours.add(_process(listening))
                other.rollback()
    except sa.exc.SQLAlchemyError:
        return False
    return len(ours) > 1 or len(others) > 1


def _process(connection: "sa.Connection") -> Process:
    """Of the server, for this connection; its id alone could come again, or be another host's."""
    pid, started = connection.exec_driver_sql(
        "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    ).one()
    return pid, started


def _qdrant(settings: Settings) -> Finding:
    if settings.qdrant_url is None:
        folder = settings.data_dir / "qdrant"
        held = f"{_megabytes(folder)} in {folder}" if folder.is_dir() else "made by the first `run`"
        return Finding("Qdrant", f"{version_of('qdrant-client')}, embedded: {held}")
    from trainyard.vectors import Vectors, VectorsUnavailable, VectorsUnusable

    key = settings.qdrant_api_key
    vectors = Vectors.server(settings.qdrant_url, key.get_secret_value() if key else None, QDRANT_SECONDS)
    try:
        names = vectors.collections()
    except (VectorsUnavailable, VectorsUnusable) as error:
        return Finding("Qdrant", f"TRAINYARD_QDRANT_URL={settings.qdrant_url}: {error}", "missing")
    finally:
        vectors.close()
    return Finding("Qdrant", f"{settings.qdrant_url}: {', '.join(names) or 'no collection yet'}")


def _megabytes(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e6:,.0f} MB"
