"""`trainyard sessions …`: looking at sessions, and steering them, also while `run` holds the data directory."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from trainyard.settings import Settings, load_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from trainyard.database import Database

T = TypeVar("T")

app = typer.Typer(help="List, show, pause, resume, cancel and retry sessions.", no_args_is_help=True)

DataDirOption = Annotated[Path | None, typer.Option(help="Where the database is kept.")]
SessionArgument = Annotated[int | None, typer.Argument(help="The session; the newest one when left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@contextmanager
def open_database(data_dir: Path | None) -> "Iterator[Database]":
    """The running PostgreSQL of the data directory, or, where none runs, one started for this command."""
    from trainyard.database import Database, migrate

    settings = load_settings(data_dir=data_dir)
    given = settings.database_url if data_dir is None else None  # a data directory that is named is meant
    url = given or _running(settings)
    if url is not None:
        database = Database(url)
        yield database
        database.close()
        return
    from local.data_dir import DataDir
    from local.postgres import EmbeddedPostgres

    if not settings.data_dir.is_dir():
        typer.echo(f"There is no data directory {settings.data_dir}; `trainyard run PATH` makes it.", err=True)
        raise typer.Exit(2)
    with DataDir(settings.data_dir) as folder:
        postgres = EmbeddedPostgres(folder.path)
        url = postgres.start()
        try:
            migrate(url)
            database = Database(url)
            yield database
            database.close()
        finally:
            postgres.stop()


def _running(settings: Settings) -> str | None:
    from local.postgres import EmbeddedPostgres  # not in an image that has servers to talk to

    return EmbeddedPostgres.url_of_running(settings.data_dir)


def _with_session(data_dir: Path | None, session_id: int | None, work: "Callable[[sa.Connection, int], T]") -> T:
    with open_database(data_dir) as database:
        return database.transact(lambda c: work(c, session_id if session_id is not None else _newest(c)))


# Nobody means one that came by itself, which is told by its number.
NEWEST = """
    SELECT max(id) FROM training_sessions
    WHERE deleted_at IS NULL AND options ->> 'asked_by' IS DISTINCT FROM :by_itself
"""


def _newest(connection: "sa.Connection") -> int:
    import sqlalchemy as sa

    from trainyard.lifecycle import NoSuchSession
    from trainyard.reassignment import ASKED_BY

    found = connection.execute(sa.text(NEWEST), {"by_itself": ASKED_BY}).scalar_one()
    if found is None:
        raise NoSuchSession("There is no session yet; `trainyard run PATH` begins one.")
    return int(found)


@app.command("list")
def list_sessions(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """All sessions, the newest first."""
    from cli.display import print_sessions
    from trainyard.session_list import list_sessions as read

    with open_database(data_dir) as database:
        rows = database.transact(read)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, default=str))
    else:
        print_sessions(rows)


@app.command()
def show(session: SessionArgument = None, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Progress and results of a session."""
    from cli.display import print_progress, print_summary
    from trainyard.progress import read_progress
    from trainyard.summary import read_summary

    progress, summary = _with_session(
        data_dir, session, lambda connection, id: (read_progress(connection, id), read_summary(connection, id))
    )
    if as_json:
        shown = {"percentage": progress.percentage, "etaSeconds": progress.eta_seconds, **summary}
        typer.echo(json.dumps(shown, ensure_ascii=False))
        return
    print_progress(progress)
    print_summary(summary)


@app.command()
def failures(session: SessionArgument = None, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """The images that failed, and why."""
    from cli.display import print_failures
    from trainyard.summary import read_failures

    rows = _with_session(data_dir, session, read_failures)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        print_failures(rows)


def _ask(verb: str, session: int | None, data_dir: Path | None) -> None:
    from trainyard.lifecycle import request

    answer = _with_session(data_dir, session, lambda connection, id: request(connection, id, verb))
    typer.echo(answer.message, err=answer.status == 409)
    if answer.status == 409:
        raise typer.Exit(1)


@app.command()
def pause(session: SessionArgument = None, data_dir: DataDirOption = None) -> None:
    """Stop at the next batch; what is done stays done."""
    _ask("pause", session, data_dir)


@app.command()
def resume(session: SessionArgument = None, data_dir: DataDirOption = None) -> None:
    """Go on where it paused."""
    _ask("resume", session, data_dir)


@app.command()
def cancel(session: SessionArgument = None, data_dir: DataDirOption = None) -> None:
    """End it for good; what is done stays done."""
    _ask("cancel", session, data_dir)


@app.command()
def retry(session: SessionArgument = None, data_dir: DataDirOption = None) -> None:
    """Try again what failed."""
    _ask("retry", session, data_dir)
