"""Both stores for commands that change them: those that settings name, or a data directory's that nobody holds."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from trainyard.settings import Settings, load_settings

if TYPE_CHECKING:
    from trainyard.database import Database
    from trainyard.stores import Stores

EXIT_USAGE = 2


def on_servers(settings: Settings, data_dir: Path | None) -> bool:
    """Whether rows and vectors are servers'. A data directory that is named is meant."""
    return data_dir is None and not (settings.database_url is None and settings.qdrant_url is None)


@contextmanager
def open_stores(data_dir: Path | None) -> "Iterator[Stores]":
    """Raises BadSetting where one server is named without the other, DataDirBusy, SchemaMismatch and Vectors…."""
    settings = load_settings(data_dir=data_dir)
    opened = _of_servers(settings) if on_servers(settings, data_dir) else _of_data_dir(settings)
    with opened as stores:
        yield stores


@contextmanager
def _of_servers(settings: Settings) -> "Iterator[Stores]":
    from cli.pieces import database_url, open_vectors
    from trainyard.database import Database, check_schema
    from trainyard.stores import Stores

    with closing(Database(database_url(settings))) as database, closing(open_vectors(settings)) as vectors:
        database.transact(check_schema)
        yield Stores(database, vectors, settings.thumbnails_path)


@contextmanager
def _of_data_dir(settings: Settings) -> "Iterator[Stores]":
    from local.data_dir import DataDir
    from local.postgres import EmbeddedPostgres
    from trainyard.database import Database, migrate
    from trainyard.stores import Stores
    from trainyard.vectors import Vectors

    need_data_dir(settings)
    with DataDir(settings.data_dir) as folder:
        postgres = EmbeddedPostgres(folder.path)
        url = postgres.start()
        try:
            migrate(url)
            with closing(Database(url)) as database, closing(Vectors.local(folder.folder("qdrant"))) as vectors:
                yield Stores(database, vectors, settings.thumbnails_path, alone=True)
        finally:
            postgres.stop()


def need_data_dir(settings: Settings) -> None:
    if not settings.data_dir.is_dir():
        typer.echo(f"There is no data directory {settings.data_dir}; `trainyard run PATH` makes it.", err=True)
        raise typer.Exit(EXIT_USAGE)


@contextmanager
def open_stores_or_rows(data_dir: Path | None) -> "Iterator[tuple[Database, Stores | None]]":
    """Both stores, or the rows alone where `run` or `serve` holds the data directory and with it the vectors."""
    settings = load_settings(data_dir=data_dir)
    url = None if on_servers(settings, data_dir) else _running_elsewhere(settings)
    if url is None:
        with open_stores(data_dir) as stores:
            yield stores.database, stores
        return
    from trainyard.database import Database

    with closing(Database(url)) as database:
        yield database, None


def is_held(settings: Settings) -> bool:
    """Whether `run` or `serve` holds the data directory."""
    from local.data_dir import DataDir, DataDirBusy

    try:
        with DataDir(settings.data_dir):
            return False
    except DataDirBusy:
        return True


def _running_elsewhere(settings: Settings) -> str | None:
    """The PostgreSQL of a data directory that another process holds."""
    from local.postgres import EmbeddedPostgres

    need_data_dir(settings)
    return EmbeddedPostgres.url_of_running(settings.data_dir) if is_held(settings) else None
