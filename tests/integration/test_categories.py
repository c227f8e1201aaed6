"""Categories: a photo carries that of the latest session that named one, and so does its point, which searches ask.

The networks are fakes (tests/engines.py); everything else is real.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from jobs import discover, telling
from local.sessions import begin
from tests import libraries
from tests.engines import CLIP_DIMENSION
from tests.hand_jobs import HandJobs
from tests.local_runs import Run, data_directory, running
from trainyard import outbox, payloads
from trainyard.lifecycle import ENDED
from trainyard.sessions import NewSession
from trainyard.summary import read_summary

PHOTOS = 12
COLLECTION = "images-fake"
ANYWHERE = np.eye(CLIP_DIMENSION, dtype=np.float32)[0]


class Killed(BaseException):
    """A worker's sudden death: nothing in it gets to tidy up."""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with data_directory() as folder, running(folder) as run:
        yield run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return libraries.write_photos(tmp_path / "photos", PHOTOS)


def begin_in(run: Run, root: Path, category: str | None) -> int:
    """Begin a session of this folder that names this category, or none; returns its id."""
    wish = NewSession(os.path.realpath(root), (), category, {"faces": False, "untrained": True})
    session, _ = run.database.transact(lambda connection: begin(connection, wish))
    run.controller.look.set()
    return session


def run_in(run: Run, root: Path, category: str | None) -> dict[str, Any]:
    return run.ended(begin_in(run, root, category))


def by_search(run: Run, root: Path, collection: str = COLLECTION) -> dict[str | None, int]:
    """How many of this folder's photos a search by each category finds."""
    names = {row.id: row.name for row in run.rows("SELECT id, name FROM categories")}
    found: dict[str | None, int] = {}
    for category, name in names.items():
        matches = run.vectors.query(collection, ANYWHERE, 1_000, {"category_id": [category]})
        if here := sum(match.payload["path"].startswith(f"{os.path.realpath(root)}/") for match in matches):
            found[name] = here
    return found


def by_row(run: Run, root: Path) -> dict[str | None, int]:
    """How many of this folder's photos carry each category."""
    statement = """
        SELECT c.name, count(*) AS photos FROM image_assets a LEFT JOIN categories c ON c.id = a.category_id
        WHERE starts_with(a.path_text, :root) GROUP BY c.name
    """
    return {row.name: row.photos for row in run.rows(statement, root=f"{os.path.realpath(root)}/")}


def test_points_follow_a_session_that_names_another_category(run: Run, photos: Path) -> None:
    for category in ("Garden", "Holiday"):
        run_in(run, photos, category)
        assert by_row(run, photos) == by_search(run, photos) == {category: PHOTOS}
    assert run_in(run, photos, "Garden")["images"]["unchanged"] == PHOTOS  # nothing was embedded for it
    assert by_search(run, photos) == {"Garden": PHOTOS}


def test_a_first_category_is_given_to_photos_that_are_known(run: Run, photos: Path) -> None:
    run_in(run, photos, None)
    assert by_search(run, photos) == {}
    run_in(run, photos, "Holiday")
    assert by_search(run, photos) == {"Holiday": PHOTOS}


def test_a_session_without_a_category_changes_none_and_asks_for_none(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in(run, photos, "Holiday")
    asked: list[object] = []
    monkeypatch.setattr(discover, "leave_word_of_category", lambda *arguments: asked.append(arguments))
    run_in(run, photos, None)
    assert by_row(run, photos) == by_search(run, photos) == {"Holiday": PHOTOS}
    assert asked == []


def test_a_photo_embedded_again_keeps_its_category(run: Run, photos: Path) -> None:
    run_in(run, photos, "Holiday")
    libraries.write_photo(photos / "a/photo 001.png", 700)
    assert run_in(run, photos, None)["images"]["processed"] == 1
    assert by_search(run, photos) == {"Holiday": PHOTOS}


def test_only_the_photos_of_the_session_take_its_category(run: Run, photos: Path) -> None:
    run_in(run, photos, "Holiday")
    run_in(run, photos / "a", "Garden")
    assert by_row(run, photos) == by_search(run, photos) == {"Holiday": PHOTOS // 2, "Garden": PHOTOS // 2}


def test_points_of_every_model_follow(photos: Path) -> None:
    with data_directory() as folder, running(folder) as run:
        run_in(run, photos, "Garden")
        first = run.engines.fake_clip.card
        weights = hashlib.sha256(b"another").hexdigest()
        run.engines.fake_clip.card = replace(first, name="another", weights_sha256=weights, collection="images-another")
        run_in(run, photos, "Holiday")
        assert by_search(run, photos) == by_search(run, photos, "images-another") == {"Holiday": PHOTOS}


def test_more_photos_than_are_told_at_once_are_all_told(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling.outbox, "drain", partial(outbox.drain, limit=5))
    run_in(run, photos, "Garden")
    run_in(run, photos, "Holiday")
    assert by_search(run, photos) == {"Holiday": PHOTOS}


def test_points_that_have_the_category_are_not_told_again(run: Run, photos: Path) -> None:
    run_in(run, photos, "Holiday")
    words = "SELECT last_value FROM outbox_id_seq"
    before = run.rows(words)
    run_in(run, photos, "Holiday")
    assert run.rows(words) == before


# Interruptions


def test_vectors_that_are_away_are_waited_for(run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the edge of Qdrant's engine, where no disk can be filled: what SQLite says of a full one."""
    run_in(run, photos, "Garden")
    client = run.vectors._client
    write, full = client.set_payload, [sqlite3.OperationalError("database or disk is full")]

    def set_payload(*arguments: Any, **options: Any) -> Any:
        if full:
            raise full.pop()
        return write(*arguments, **options)

    monkeypatch.setattr(client, "set_payload", set_payload)
    assert run_in(run, photos, "Holiday")["overallStatus"] == "completed"
    assert full == []
    assert by_search(run, photos) == {"Holiday": PHOTOS}


def end(run: Run, jobs: HandJobs, session: int) -> None:
    """Do the Jobs there are until the session has ended."""

    def status(connection: sa.Connection) -> str:
        return str(read_summary(connection, session)["overallStatus"])

    jobs.settle()
    while run.database.transact(status) not in ENDED:
        jobs.work()


SEAMS = [(discover, "_settle"), (discover, "tell_what_is_left"), (payloads, "_tell"), (outbox, "_drain")]
EACH_SEAM = pytest.mark.parametrize(("module", "seam"), SEAMS, ids=[seam for _, seam in SEAMS])


@EACH_SEAM
def test_a_death_between_rows_and_points_is_mended_by_the_next_worker(
    photos: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, seam: str
) -> None:
    with data_directory() as folder, Run(folder) as run:
        jobs = HandJobs(run)
        end(run, jobs, begin_in(run, photos, "Garden"))
        session = begin_in(run, photos, "Holiday")
        jobs.settle()
        monkeypatch.setattr(module, seam, die)
        with pytest.raises(Killed):
            jobs.work()
        monkeypatch.undo()
        assert by_row(run, photos) == {"Holiday": PHOTOS}
        end(run, jobs, session)
        assert by_search(run, photos) == {"Holiday": PHOTOS}


@EACH_SEAM
def test_a_death_in_a_session_that_is_given_up_is_mended_by_the_next_session(
    photos: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, seam: str
) -> None:
    with data_directory() as folder, Run(folder) as run:
        jobs = HandJobs(run)
        end(run, jobs, begin_in(run, photos, "Garden"))
        given_up = begin_in(run, photos, "Holiday")
        jobs.settle()
        monkeypatch.setattr(module, seam, die)
        with pytest.raises(Killed):
            jobs.work()
        monkeypatch.undo()
        run.ask(given_up, "cancel")
        jobs.settle()
        assert run.ended(given_up)["overallStatus"] == "cancelled"
        end(run, jobs, begin_in(run, photos, None))
        assert by_row(run, photos) == by_search(run, photos) == {"Holiday": PHOTOS}


def die(*arguments: Any, **options: Any) -> None:
    raise Killed
