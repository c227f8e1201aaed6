"""`trainyard people …`: whom there is, and what people said of faces, as a file that outlives the database."""

import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from cli.sessions import open_database
from cli.stores import open_stores_or_rows

if TYPE_CHECKING:
    from trainyard.people.exchange_import import Imported

app = typer.Typer(help="List persons; export and import them, and whose faces are whose.", no_args_is_help=True)

DataDirOption = Annotated[Path | None, typer.Option(help="Where the database is kept.")]


@app.command("list")
def list_people(
    data_dir: DataDirOption = None, as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False
) -> None:
    """All persons by id, with how many faces and photos of them are shown."""
    from rich.markup import escape
    from rich.table import Table

    from cli.display import make_console
    from trainyard.person_list import list_persons

    with open_database(data_dir) as database:
        rows = database.transact(list_persons)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("Person", "Name", "Faces", "Photos", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(str(row["personId"]), escape(row["name"]), f"{row['faces']:,}", f"{row['photos']:,}")
    make_console().print(table)


@app.command("export")
def export_people(
    file: Annotated[Path, typer.Argument(help="Where to; - for stdout. One that is there is replaced.")],
    data_dir: DataDirOption = None,
) -> None:
    """Write persons, faces that are theirs, ignored or refused, and dismissed groups as JSON.

    Faces are named by their photo's content and their box, so that the file fits another database, too.
    """
    from trainyard.people import exchange

    with open_database(data_dir) as database, _written(file) as out:
        count = exchange.export_people(database, out)
    typer.echo(f"{count - 1:,} persons, faces and groups are in {_name(file)}.", err=True)


@app.command("import")
def import_people(
    file: Annotated[Path, typer.Argument(exists=False, help="One that `people export` has written; - for stdin.")],
    data_dir: DataDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The counts as JSON on stdout.")] = False,
) -> None:
    """Give the faces of this file to the persons of this file. What people said here before stands.

    Run a session of the photos first: faces are found there by their photo's content and their box.
    """
    from trainyard.people import exchange

    with _read(file) as source, open_stores_or_rows(data_dir) as (database, stores), _watching() as watch:
        imported = exchange.import_people(database, source, _name(file), watch)
        if stores is not None:
            from trainyard.erasure import tell_stores

            tell_stores(stores)
    typer.echo(json.dumps(asdict(imported)) if as_json else _told(imported))


def _told(imported: "Imported") -> str:
    c = imported
    lines = [
        f"Persons: {c.persons_new:,} new, {c.persons_known:,} known by their name.",
        f"Faces: {c.faces_changed:,} changed, {c.faces_as_they_were:,} as they were, {c.faces_kept:,} left as people "
        "said here.",
        f"Dismissed groups: {c.groups_dismissed:,} dismissed, {c.groups_as_they_were:,} were so, "
        f"{c.groups_not_found:,} are no group here.",
    ]
    if lost := c.faces_of_no_photo + c.faces_not_found:
        lines.append(
            f"No face was found for {lost:,}: {c.faces_of_no_photo:,} are in photos that are not known here, and "
            f"{c.faces_not_found:,} where no face was found. Run a session of these photos, then import again."
        )
    return "\n".join(lines)


def _name(file: Path) -> str:
    return "the pipe" if str(file) == "-" else str(file)


@contextmanager
def _written(file: Path) -> Iterator[TextIO]:
    """The file, which appears when all of it is there; readable by its owner alone. Exit 2 where it cannot be made."""
    if str(file) == "-":
        yield sys.stdout
        return
    try:
        if file.is_dir():  # before all of it is written
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with _replaced(file) as out:
            yield out
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}.", param_hint="FILE") from error


@contextmanager
def _replaced(file: Path) -> Iterator[TextIO]:
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as out:
            yield out
        os.replace(draft, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


@contextmanager
def _read(file: Path) -> Iterator[TextIO]:
    """A text that can be read twice. Exit 2 where it cannot be had."""
    if str(file) == "-":
        with tempfile.TemporaryFile() as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept)
            kept.seek(0)
            with open(kept.fileno(), encoding="utf-8", closefd=False) as source:
                yield source
        return
    try:
        source = file.open(encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.", param_hint="FILE") from error
    with source:
        yield source


@contextmanager
def _watching() -> Iterator[Callable[[int], object]]:
    """How many records are in, on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda records: None
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    columns = (TextColumn("{task.completed:,} records"),)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda records: bars.update(task, completed=records)
