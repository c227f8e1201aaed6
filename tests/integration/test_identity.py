"""The promise: killed anywhere and finished, what is derived from photos equals an undisturbed run byte for byte.

Compared under natural keys (tests/natural_keys.py names what is left out). Whole `trainyard run` processes with
fake networks are killed by SIGKILL; database, vectors, decoders and the command line are real.
"""

import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.postgres import EmbeddedPostgres
from tests import libraries
from tests.local_runs import Run, data_directory, wait_until
from tests.natural_keys import everything
from tests.processes import trainyard

PHOTOS = 48
LONG = [pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 20)]

# Photos committed in any attempt, with one more for each step that has begun: rises with every commit of a run.
PROGRESS = "SELECT coalesce(sum(done), 0) + count(DISTINCT step) FROM shards"
MOST_PROGRESS = 3 * PHOTOS  # found, embedded and searched for faces


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = libraries.write_photos(tmp_path_factory.mktemp("identity"), PHOTOS, people=5)
    libraries.write_broken(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(photos: Path) -> dict[str, Any]:
    with data_directory() as folder:
        assert finish(photos, folder)["overallStatus"] == "completed"
        with Run(folder) as run:
            made = everything(run)
    assert len(made["faces"]) > PHOTOS
    assert len(made["clusters"]) > 1
    return made


@pytest.mark.parametrize("seed", [0, 1, 2, *LONG])
def test_a_run_killed_at_random_points_and_finished_equals_an_undisturbed_one(
    seed: int, photos: Path, undisturbed: dict[str, Any]
) -> None:
    chance = random.Random(seed)
    with data_directory() as folder:
        points = chance.sample([rows_reach, vectors_grow], 2)
        assert any([kill_at(point, chance, photos, folder) for point in points])
        assert finish(photos, folder)["overallStatus"] == "completed"
        with Run(folder) as run:
            made = everything(run)
    for name, rows in undisturbed.items():
        assert made[name] == rows, name


def finish(photos: Path, folder: Path) -> dict[str, Any]:
    with trainyard("run", photos, "--data-dir", folder, "--json") as process:
        assert process.wait() == 0, process.errors
        return dict(json.loads(process.output))


Reached = Callable[[], bool]


def kill_at(point: Callable[[random.Random, Path], Reached], chance: random.Random, photos: Path, folder: Path) -> bool:
    """Begin or take up the run, and kill it at a point drawn by chance; returns whether it had not ended before."""
    with trainyard("run", photos, "--data-dir", folder) as process:

        def ended() -> bool:
            return process.exit_code is not None

        wait_until(lambda: ended() or EmbeddedPostgres.url_of_running(folder), "PostgreSQL to run")
        reached = point(chance, folder)
        wait_until(lambda: ended() or reached(), "the point of the kill")
        process.kill()
        return process.exit_code == -signal.SIGKILL


def rows_reach(chance: random.Random, folder: Path) -> Reached:
    """Soon after a commit: the rows show a share of the work done, drawn between what is done by now and all."""
    url = EmbeddedPostgres.url_of_running(folder)
    assert url is not None
    connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)

    def progress() -> int:
        return int(connection.execute(PROGRESS).fetchone()[0])  # type: ignore[index]

    target = chance.randint(min(progress() + 1, MOST_PROGRESS), MOST_PROGRESS)
    return lambda: progress() >= target


def vectors_grow(chance: random.Random, folder: Path) -> Reached:
    """While a batch's vectors are written, before its rows are: a collection's log has grown by so many bytes."""
    logs = [folder / "qdrant" / "collection" / name / "storage.sqlite-wal" for name in ("images-fake", "faces-fake")]

    def size() -> int:
        return sum(log.stat().st_size for log in logs if log.exists())

    before, more = size(), chance.randint(1, 200_000)
    return lambda: size() >= before + more
