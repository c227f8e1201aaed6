"""Moved and renamed files keep their embeddings, faces and people: found by their content, where they are now.

The networks are fakes (tests/engines.py); everything else is real.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import discover, moved
from local.sessions import begin
from tests import libraries
from tests.hand_jobs import HandJobs
from tests.local_runs import Run, data_directory, running
from tests.named_faces import call, faces_of, ignore, names_in
from tests.natural_keys import check_payloads, check_vectors, everything
from trainyard.lifecycle import ENDED
from trainyard.photo_errors import PhotoError
from trainyard.photo_files import photo_file_sha256
from trainyard.sessions import NewSession
from trainyard.summary import read_summary

PHOTOS = 12


class Killed(BaseException):
    """A worker's sudden death: nothing in it gets to tidy up."""


@pytest.fixture
def run() -> Iterator[Run]:
    """One for each test: what one misses another would find."""
    with data_directory() as folder, running(folder) as run:
        yield run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return libraries.write_photos(tmp_path / "photos", PHOTOS)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose content was looked at."""
    names: list[str] = []

    def noted(path: bytes) -> bytes:
        names.append(Path(os.fsdecode(path)).name)
        return photo_file_sha256(path)

    monkeypatch.setattr(moved, "photo_file_sha256", noted)
    return names


def search(run: Run, root: Path, selected: tuple[str, ...] = (), category: str | None = None) -> int:
    """Begin a session of this folder; returns its id."""
    wish = NewSession(os.path.realpath(root), selected, category, {"faces": True, "untrained": True})
    session, _ = run.database.transact(lambda connection: begin(connection, wish))
    run.controller.look.set()
    return session


def asset_of(run: Run, photo: Path) -> int | None:
    """The id of the photo that is there; None where none is known to be."""
    statement = "SELECT id FROM image_assets WHERE path = :path AND missing_since IS NULL"
    rows = run.rows(statement, path=os.fsencode(os.path.realpath(photo)))
    return int(rows[0].id) if rows else None


def seen(run: Run) -> tuple[int, int]:
    return run.engines.fake_clip.seen, run.engines.fake_faces.seen


def notes(summary: dict[str, Any]) -> str:
    return " ".join(summary["notes"])


def move(old: Path, new: Path) -> Path:
    new.parent.mkdir(parents=True, exist_ok=True)
    return old.rename(new)


def test_a_renamed_photo_is_the_same_photo_with_the_same_people(run: Run, photos: Path, read: list[str]) -> None:
    run.run(photos)
    old, new = photos / "b/photo 000.png", photos / "c/ein anderer Näme.png"
    asset, before = asset_of(run, old), seen(run)
    call(run, "Anna", faces_of(run, old)[0].id)
    move(old, new)
    summary = run.run(photos)
    assert (asset_of(run, new), asset_of(run, old)) == (asset, None)
    assert names_in(run, new) == ["Anna", None]
    assert seen(run) == before
    assert (summary["images"]["unchanged"], summary["images"]["processed"]) == (PHOTOS, 0)
    assert "1 photos were moved or renamed; they keep their faces and people." in notes(summary)
    assert "gone" not in notes(summary)
    assert read == [new.name]
    check_vectors(run)
    check_payloads(run)


def test_a_renamed_folder_of_everything_is_no_mount_that_failed(run: Run, photos: Path) -> None:
    run.run(photos)
    before, assets = (
        seen(run),
        {number: asset_of(run, path) for number, path in enumerate(sorted(photos.rglob("*.png")))},
    )
    for folder in ("a", "b"):
        (photos / folder).rename(photos / f"{folder} of 2025")
    summary = run.run(photos)
    assert {number: asset_of(run, path) for number, path in enumerate(sorted(photos.rglob("*.png")))} == assets
    assert seen(run) == before
    assert f"{PHOTOS} photos were moved" in notes(summary)
    assert "too many to believe" not in notes(summary)
    check_payloads(run)


def test_a_photo_missing_since_long_is_known_again_anywhere(run: Run, photos: Path, tmp_path: Path) -> None:
    run.run(photos)
    old, new = photos / "b/photo 000.png", tmp_path / "archive/of old.png"
    asset = asset_of(run, old)
    call(run, "Anna Archived", faces_of(run, old)[0].id)
    move(old, new)
    assert "1 photos that were known are gone" in notes(run.run(photos))
    run.run(new.parent)
    assert asset_of(run, new) == asset
    assert names_in(run, new) == ["Anna Archived", None]


def test_the_time_of_the_file_does_not_matter(run: Run, photos: Path) -> None:
    run.run(photos)
    asset, before = asset_of(run, photos / "b/photo 000.png"), seen(run)
    new = move(photos / "b/photo 000.png", photos / "new.png")
    os.utime(new, ns=(1, 1))
    assert run.run(photos)["images"]["unchanged"] == PHOTOS
    assert asset_of(run, new) == asset
    assert run.run(photos)["images"]["unchanged"] == PHOTOS
    assert seen(run) == before


def test_a_copy_is_a_photo_of_its_own(run: Run, photos: Path, read: list[str]) -> None:
    run.run(photos)
    old, new = photos / "b/photo 000.png", photos / "copy.png"
    asset = asset_of(run, old)
    shutil.copy2(old, new)
    assert run.run(photos)["images"]["processed"] == 1
    assert asset_of(run, old) == asset != asset_of(run, new)
    assert read == []


def test_of_photos_that_are_alike_the_first_by_path_becomes_the_first(run: Run, photos: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        libraries.write_photo(photos / "same" / name, 900, (1,))
    run.run(photos)
    assets = [asset_of(run, photos / "same" / name) for name in ("1.png", "2.png", "3.png")]
    shutil.copy2(photos / "same/1.png", photos / "same/4.png")
    for name in ("1.png", "2.png", "3.png"):
        (photos / "same" / name).rename(photos / f"now {name}")
    (photos / "same/4.png").rename(photos / "now 4.png")
    run.run(photos)
    now = [asset_of(run, photos / f"now {name}") for name in ("1.png", "2.png", "3.png", "4.png")]
    assert now[:3] == assets
    assert now[3] not in assets


def test_files_of_a_size_that_no_lost_photo_has_are_not_read(run: Run, photos: Path, read: list[str]) -> None:
    run.run(photos)
    (photos / "b/photo 000.png").unlink()
    libraries.write_photo(photos / "new.png", 901)
    run.run(photos)
    assert read == []


def test_another_content_of_the_same_size_is_another_photo(run: Run, photos: Path, read: list[str]) -> None:
    for name, grey in (("one.bmp", 10), ("two.bmp", 20)):
        libraries.photo(902).point(lambda value, grey=grey: value // 2 + grey).save(photos / name)
        if name == "one.bmp":
            run.run(photos)
            asset = asset_of(run, photos / name)
            (photos / name).unlink()
    run.run(photos)
    assert read == ["two.bmp"]
    assert asset_of(run, photos / "two.bmp") not in {None, asset}


def test_a_photo_that_is_only_left_out_from_now_on_keeps_its_place(photos: Path) -> None:
    """Its file is still there, although no session finds it."""
    with data_directory() as folder:
        with running(folder) as run:
            run.run(photos)
            asset = asset_of(run, photos / "b/photo 000.png")
        shutil.copy2(photos / "b/photo 000.png", photos / "copy.png")
        with running(folder, exclude=("photo 000.png",)) as run:
            run.run(photos)
            assert asset_of(run, photos / "copy.png") not in {None, asset}


def test_from_a_folder_that_is_all_of_a_sudden_empty_nothing_is_taken(run: Run, photos: Path) -> None:
    """A mount may have failed; what is copied elsewhere meanwhile is a copy."""
    run.ended(search(run, photos, selected=("a", "b")))
    asset = asset_of(run, photos / "a/photo 001.png")
    shutil.copy2(photos / "a/photo 001.png", photos / "b/copy.png")
    for photo in (photos / "a").iterdir():
        photo.unlink()
    assert "too many to believe" in notes(run.ended(search(run, photos, selected=("a", "b"))))
    assert asset_of(run, photos / "b/copy.png") not in {None, asset}


def test_a_file_that_cannot_be_read_is_passed_over(run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run.run(photos)
    assets = [asset_of(run, photos / f"b/photo {number:03}.png") for number in (0, 2)]
    closed = move(photos / "b/photo 000.png", photos / "closed.png")
    moved_one = move(photos / "b/photo 002.png", photos / "open.png")

    def refused(path: bytes) -> bytes:
        if path.endswith(b"closed.png"):
            raise PhotoError("unreadable", "This user may not read the file.")
        return photo_file_sha256(path)

    monkeypatch.setattr(moved, "photo_file_sha256", refused)
    run.run(photos)
    assert asset_of(run, closed) not in {None, assets[0]}
    assert asset_of(run, moved_one) == assets[1]


def test_a_mount_that_fails_while_files_are_read_is_waited_for(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.run(photos)
    asset = asset_of(run, photos / "b/photo 000.png")
    new = move(photos / "b/photo 000.png", photos / "new.png")
    stale = [OSError(errno.ESTALE, "Stale file handle")]

    def failing_once(path: bytes) -> bytes:
        if stale:
            raise stale.pop()
        return photo_file_sha256(path)

    monkeypatch.setattr(moved, "photo_file_sha256", failing_once)
    assert run.run(photos)["overallStatus"] == "completed"
    assert asset_of(run, new) == asset


def test_a_moved_photo_takes_the_category_of_the_session_that_finds_it(run: Run, photos: Path) -> None:
    run.run(photos, faces=False)
    asset = asset_of(run, photos / "b/photo 000.png")
    new = move(photos / "b/photo 000.png", photos / "new.png")
    run.ended(search(run, photos, category="Garden"))
    assert asset_of(run, new) == asset
    of_garden = "SELECT a.id FROM image_assets a JOIN categories c ON c.id = a.category_id WHERE c.name = 'Garden'"
    assert asset in {row.id for row in run.rows(of_garden)}
    check_payloads(run)


def test_people_are_carried_over_to_a_copy_that_was_searched_before_its_original_went(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    """Moved into a folder that is searched first: there it looks like a copy, until its place turns out to be empty."""
    run.run(photos)
    old, new = photos / "b/photo 000.png", tmp_path / "other/photo.png"
    anna, bela = faces_of(run, old)
    call(run, "Anna Carried", anna.id)
    ignore(run, bela.id)
    move(old, new)
    run.run(new.parent)
    assert [face.assigned_by for face in faces_of(run, new)] == ["engine", None]
    run.run(photos)
    first, second = faces_of(run, new)
    assert (first.person, first.assigned_by, second.ignored_at is not None) == ("Anna Carried", "person", True)
    assert first.id != anna.id
    check_payloads(run)


def test_a_copy_whose_people_are_known_keeps_them(run: Run, photos: Path, tmp_path: Path) -> None:
    run.run(photos)
    old, new = photos / "b/photo 000.png", tmp_path / "other/photo.png"
    call(run, "Anna Before", *(face.id for face in faces_of(run, old)))
    move(old, new)
    run.run(new.parent)
    call(run, "Somebody Else", faces_of(run, new)[0].id)
    run.run(photos)
    assert names_in(run, new) == ["Somebody Else", "Anna Before"]


# Interruptions


def test_it_stops_when_told_to(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with data_directory() as folder, running(folder) as run:
        run.run(photos)
        for number, photo in enumerate(sorted(photos.rglob("*.png"))):
            move(photo, photos / f"{number}.png")
        stopped: list[int] = []

        def pausing(path: bytes) -> bytes:
            stopped.append(1)
            run.ask(session, "pause")
            run.wait_for(lambda _: any(job.state == "stopping" for job in run.jobs.observe()), "the worker to be told")
            return photo_file_sha256(path)

        monkeypatch.setattr(moved, "photo_file_sha256", pausing)
        session = search(run, photos)
        run.wait_for(lambda c: read_summary(c, session)["overallStatus"] == "paused", "the session to pause")
        assert len(stopped) == 1
        monkeypatch.undo()
        run.ask(session, "resume")
        run.controller.look.set()
        assert f"{PHOTOS} photos were moved" in notes(run.ended(session))


@pytest.mark.parametrize("seam", ["_write_assets", "_settle"])
def test_a_death_on_the_way_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seam: str) -> None:
    made = [moved_and_searched(tmp_path / "library", monkeypatch, dies_after) for dies_after in (None, seam)]
    undisturbed, disturbed = made
    for name, rows in undisturbed.items():
        assert disturbed[name] == rows, name


def moved_and_searched(photos: Path, monkeypatch: pytest.MonkeyPatch, seam: str | None) -> dict[str, Any]:
    libraries.write_photos(photos, PHOTOS)
    for photo in photos.rglob("*.png"):
        os.utime(photo, ns=(1_000, 1_000))
    with data_directory() as folder, Run(folder) as run:
        jobs = HandJobs(run)
        end(run, jobs, run.begin(photos))
        call(run, "Anna", faces_of(run, photos / "b/photo 000.png")[0].id)
        (photos / "b").rename(photos / "c")
        (photos / "a/photo 001.png").unlink()
        session = run.begin(photos)
        if seam:
            jobs.work_up_to("discover")
            with monkeypatch.context() as dying:
                dying.setattr(discover, seam, then_die(getattr(discover, seam)))
                with pytest.raises(Killed):
                    jobs.work()
        end(run, jobs, session)
        check_payloads(run)
        made = everything(run)
    shutil.rmtree(photos)
    return made


def then_die(work: Callable[..., object]) -> Callable[..., object]:
    def act(*arguments: Any, **options: Any) -> None:
        work(*arguments, **options)
        raise Killed

    return act


def end(run: Run, jobs: HandJobs, session: int) -> None:
    """Do the Jobs there are until the session has ended."""

    def status(connection: sa.Connection) -> str:
        return str(read_summary(connection, session)["overallStatus"])

    jobs.settle()
    while run.database.transact(status) not in ENDED:
        jobs.work()
