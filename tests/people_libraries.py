"""Photos that were run once, with people who were named, for tests that take things away again.

Made once in a module and copied for each test: a data directory is a folder, when nothing runs on it.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from local.data_dir import remove_private_place
from local.postgres import EmbeddedPostgres
from tests import libraries
from tests.local_runs import Run, data_directory, running
from trainyard.outbox import drain
from trainyard.people import faces, names
from trainyard.stores import Stores

PHOTOS = 24


@dataclass(frozen=True)
class Library:
    """A data directory on which nothing runs, and the photos it knows."""

    data_dir: Path
    photos: Path


@contextmanager
def library(folder: Path) -> Iterator[Library]:
    """24 photos of four people in two folders, embedded and grouped; nobody is named."""
    photos = libraries.write_photos(folder / "photos", PHOTOS)
    with data_directory() as data_dir:
        with running(data_dir) as run:
            assert run.run(photos)["overallStatus"] == "completed"
        yield Library(data_dir, photos)


@contextmanager
def copied(original: Library, folder: Path) -> Iterator[Library]:
    """The same data directory again, of a copy of the photos' folder at the same path."""
    home = Path(f"{original.data_dir.parent}-{folder.name}")
    home.mkdir()
    home.chmod(0o711)
    kept = folder / "kept"
    try:
        subprocess.run(["cp", "-a", str(original.data_dir), str(home)], check=True)
        subprocess.run(["cp", "-a", str(original.photos), str(kept)], check=True)
        yield Library(home / "data", original.photos)
    finally:
        EmbeddedPostgres(home / "data").stop()
        remove_private_place(home / "data")
        shutil.rmtree(home)
        shutil.rmtree(original.photos)
        subprocess.run(["cp", "-a", str(kept), str(original.photos)], check=True)


def stores_of(run: Run, *, alone: bool = False) -> Stores:
    return Stores(run.database, run.vectors, run.settings.thumbnails_path, alone)


def tell(run: Run) -> None:
    """Have the vectors and prototypes follow."""
    while drain(run.database, run.vectors):
        pass


def faces_in(run: Run, person: int) -> list[UUID]:
    """The faces of a planted person (tests/libraries.py): all in the group of most of them."""
    # Photo i shows person i % 4 first, and every third one the next person, too.
    rows = run.rows("""
        SELECT f.id, f.ordinal, substring(a.path_text FROM 'photo (\\d+)')::int AS number
        FROM face_instances f JOIN image_assets a ON a.id = f.asset_id ORDER BY a.path, f.ordinal
    """)
    shown = [(row.id, _shown(row.number)[row.ordinal]) for row in rows]
    return [id for id, who in shown if who == person]


def _shown(number: int) -> tuple[int, ...]:
    return (number % 4, (number + 1) % 4) if number % 3 == 0 else (number % 4,)


def name_person(run: Run, name: str, person: int, most: int | None = None) -> int:
    """Give a planted person's faces (the first `most`) to a person of this name; returns their id."""
    chosen = faces_in(run, person)[:most]

    def work(connection: sa.Connection) -> int:
        person_id = names.person_named(connection, name)
        faces.assign(connection, chosen, person_id)
        return person_id

    person_id = run.database.transact(work)
    tell(run)
    return person_id
