"""`trainyard forget …`: photos, a person, all faces or everything, out of what is kept for good. Files stay."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.stores import EXIT_USAGE, open_stores

if TYPE_CHECKING:
    from trainyard.erasure import Erased
    from trainyard.photo_erasure import Progress
    from trainyard.stores import Stores

FOUND_AGAIN = "The files are as they were: a later session of their folder finds these photos again."
NOT_SEARCHED_AGAIN = (
    "The photos stay. They are not searched for this person's faces again while they are unchanged, but by another "
    "network, with lower thresholds, or where repair found a point lost; a changed or a new photo of them is."
)
SEARCHED_AGAIN = "A later session finds the faces again, of nobody; `trainyard run PATH --no-faces` does not look."
BEGUN_ANEW = "Only the schema, the settings, the models' files and the installation's id are left."


def forget(
    path: Annotated[
        Path | None, typer.Argument(help="A photo or a folder with all photos in it; its files may be gone.")
    ] = None,
    person: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="A person by id, with all their faces.")
    ] = None,
    faces: Annotated[bool, typer.Option("--faces", help="All faces, groups and persons, of all networks.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Everything but the schema and the settings.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where database and vectors are kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The counts as JSON on stdout.")] = False,
) -> None:
    """Remove rows, vectors and thumbnails for good, and say how many. No file of a photo is touched."""
    if [path is not None, person is not None, faces, everything].count(True) != 1:
        raise typer.BadParameter("name one of PATH, --person ID, --faces and --all.")
    with open_stores(data_dir) as stores:
        if path is not None:
            erased, then = _photos(stores, path, yes), FOUND_AGAIN
        elif person is not None:
            erased, then = _person(stores, person, yes), NOT_SEARCHED_AGAIN
        elif faces:
            erased, then = _faces(stores, yes), SEARCHED_AGAIN
        else:
            erased, then = _everything(stores, yes), BEGUN_ANEW
    if as_json:
        typer.echo(json.dumps(asdict(erased)))
    else:
        typer.echo(f"{counts(erased)} removed. {then}")


def _photos(stores: "Stores", path: Path, yes: bool) -> "Erased":
    from trainyard.photo_erasure import count_photos, erase_photos, photos_below

    which = photos_below(os.fsencode(path))
    count = stores.database.transact(lambda connection: count_photos(connection, which))
    if count == 0:
        typer.echo(f"No photo is known at or below {_shown(path)}.", err=True)
    else:
        ask(f"{counted(count, 'photos')} at or below {_shown(path)}, with their faces,", yes)
    with _progress(count) as progress:
        return erase_photos(stores, which, progress)


def _person(stores: "Stores", person_id: int, yes: bool) -> "Erased":
    import sqlalchemy as sa

    from trainyard.erasure import erase_person
    from trainyard.tables import persons

    name = sa.select(persons.c.name).where(persons.c.id == person_id)
    found = stores.database.transact(lambda connection: connection.execute(name).scalar_one_or_none())
    if found is not None:
        ask(f"{found} (person {person_id}), with all their faces,", yes)
    return erase_person(stores, person_id)


def _faces(stores: "Stores", yes: bool) -> "Erased":
    from trainyard.collection_erasure import erase_faces

    ask("All faces, groups and persons", yes)
    return erase_faces(stores)


def _everything(stores: "Stores", yes: bool) -> "Erased":
    from trainyard.collection_erasure import erase_all

    ask("Everything that is known of photos, faces, persons and sessions", yes)
    return erase_all(stores)


def ask(what: str, yes: bool) -> None:
    """Have somebody at the terminal confirm; exit 2 where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        typer.echo(f"{what} would be removed for good. Nobody can be asked here: add --yes to say so.", err=True)
        raise typer.Exit(EXIT_USAGE)
    typer.confirm(f"{what} will be removed for good, and cannot be brought back. Go on?", abort=True, err=True)


def counts(erased: "Erased") -> str:
    parts = [counted(count, name) for name, count in asdict(erased).items()]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def counted(count: int, name: str) -> str:
    """`name` is the plural, which ends in s."""
    return f"{count:,} {name.removesuffix('s') if count == 1 else name}"


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def _progress(photos: int) -> "Iterator[Progress]":
    """A bar on a terminal, once there is more than a moment's work; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("Removing", total=photos)
        update: Callable[[Erased], object] = lambda erased: bars.update(task, completed=erased.photos)  # noqa: E731
        yield update
