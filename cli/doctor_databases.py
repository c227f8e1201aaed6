"""What `trainyard doctor` finds of the data directory, PostgreSQL and Qdrant."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cli.findings import INSTALL, Finding, version_of
from trainyard.settings import Settings


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
    from local.postgres import EmbeddedPostgres, PostgresFailed

    try:
        installed = version("embedded-postgres")
        url = EmbeddedPostgres.url_of_running(folder)
    except PackageNotFoundError:
        return Finding("PostgreSQL", "its programs are not installed", "missing", INSTALL)
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
    return Finding("PostgreSQL", f"{what}, schema up to date")


def _qdrant(settings: Settings) -> Finding:
    if settings.qdrant_url is None:
        folder = settings.data_dir / "qdrant"
        held = f"{_megabytes(folder)} in {folder}" if folder.is_dir() else "made by the first `run`"
        return Finding("Qdrant", f"{version_of('qdrant-client')}, embedded: {held}")
    import httpx

    key = settings.qdrant_api_key
    headers = {"api-key": key.get_secret_value()} if key else {}
    try:
        answer = httpx.get(f"{settings.qdrant_url.rstrip('/')}/collections", headers=headers, timeout=5.0)
        answer.raise_for_status()
        names = [collection["name"] for collection in answer.json()["result"]["collections"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return Finding("Qdrant", f"TRAINYARD_QDRANT_URL={settings.qdrant_url}: {error}", "missing")
    return Finding("Qdrant", f"{settings.qdrant_url}: {', '.join(names) or 'no collection yet'}")


def _megabytes(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e6:,.0f} MB"
