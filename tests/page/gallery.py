"""A library for tests of people on the page: six who are well apart, in photos of one, two or three of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from tests.libraries import write_photo
from tests.local_runs import Run, data_directory, running
from tests.people_libraries import Library

# Those of the planted people (tests/libraries.py) of whom no two look alike: cosines of 0.65 at most.
CAST = (3, 4, 6, 9, 11, 13)
PHOTOS = 36


def shown(number: int) -> tuple[int, ...]:
    """Who is in photo `number`, from left to right, as positions in the cast."""
    together = 3 if number % 6 == 0 else 2 if number % 3 == 0 else 1
    return tuple((number + step) % len(CAST) for step in range(together))


def write_gallery(folder: Path, numbers: range = range(PHOTOS)) -> Path:
    """The photos of these numbers; returns `folder`."""
    for number in numbers:
        people = tuple(CAST[who] for who in shown(number))
        write_photo(folder / ("a" if number % 2 else "b") / f"photo {number:03}.png", number, people)
    return folder


@contextmanager
def finished_gallery(folder: Path) -> Iterator[Library]:
    """All photos, embedded and grouped; nobody is named, and nothing runs."""
    photos = write_gallery(folder / "photos")
    with data_directory() as data_dir:
        with running(data_dir, face_engine="insightface") as run:
            assert run.run(photos)["overallStatus"] == "completed"
        yield Library(data_dir, photos)


def faces_of(run: Run, who: int) -> list[UUID]:
    """The faces of one of the cast."""
    rows = run.rows("""
        SELECT f.id, f.ordinal, CAST(substring(a.path_text FROM 'photo (\\d+)') AS integer) AS number
        FROM face_instances f JOIN image_assets a ON a.id = f.asset_id ORDER BY a.path, f.ordinal
    """)
    return [row.id for row in rows if shown(row.number)[row.ordinal] == who]
