"""Standalone face sessions: faces found later, in photos that a training session left without.

The networks are fakes (tests/engines.py); everything else is real.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from local.sessions import begin
from tests import libraries
from tests.engines import FakeFaces
from tests.hand_jobs import HandJobs
from tests.local_runs import Run, data_directory, running
from tests.natural_keys import check_vectors, everything
from tests.rows import session_row
from trainyard.lifecycle import ENDED
from trainyard.progress import Progress, read_progress
from trainyard.sessions import ALL_PHOTOS, NewSession, create

PHOTOS = 16
MADE_OF_PHOTOS = ("assets", "evidence", "scans", "faces", "clusters")


class Killed(BaseException):
    """A worker's sudden death: nothing in it gets to tidy up."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Run]:
    with data_directory() as folder, running(folder) as run:
        yield run


@pytest.fixture
def run(shared: Run) -> Iterator[Run]:
    """An installation that works; what the test hung on its networks is taken off again."""
    yield shared
    shared.engines.on_load = lambda kind: None
    shared.engines.fake_clip.on_encode = lambda pictures: None


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return libraries.write_photos(tmp_path / "photos", PHOTOS)


def find_faces(run: Run, source: int | None = None, **options: Any) -> int:
    """Ask for the faces in a session's photos, or in all; returns the new session's id."""

    def work(connection: sa.Connection) -> int:
        root = ALL_PHOTOS if source is None else session_row(connection, source)["root_path"]
        standalone = {"faces": True, "training": False, "untrained": True, **options}
        return create(connection, NewSession(root, options=standalone, source_session_id=source))[0]

    return run.database.transact(work)


def progress_of(run: Run, session: int) -> Progress:
    return run.database.transact(lambda connection: read_progress(connection, session))


def watched(run: Run, session: int) -> list[Progress]:
    """Every look at the session's progress until it has ended."""
    looks: list[Progress] = []

    def ended(connection: sa.Connection) -> bool:
        looks.append(read_progress(connection, session))
        return looks[-1].overall_status in ENDED

    run.wait_for(ended, f"session {session} to end")
    return looks


def scanned(run: Run, session: int) -> list[str]:
    """Names of the photos that this session searched."""
    statement = """
        SELECT a.path_text FROM face_scans s JOIN image_assets a ON a.id = s.asset_id
        WHERE s.session_id = :id ORDER BY a.path
    """
    return [row.path_text for row in run.rows(statement, id=session)]


def face_session(run: Run, session: int) -> Any:
    (row,) = run.rows("SELECT * FROM face_detection_sessions WHERE id = :id", id=session)
    return row


def test_faces_found_later_are_those_found_at_once(photos: Path) -> None:
    with data_directory() as folder, running(folder) as run:
        run.run(photos)
        at_once = everything(run)
    with data_directory() as folder, running(folder) as run:
        source = run.begin(photos, faces=False)
        assert run.ended(source)["facesDetected"] == 0
        summary = run.ended(find_faces(run, source))
        later = everything(run)
    assert summary["overallStatus"] == "completed"
    assert summary["facesDetected"] == len(later["faces"]) > PHOTOS
    assert later["clusters"]
    assert {name: later[name] for name in MADE_OF_PHOTOS} == {name: at_once[name] for name in MADE_OF_PHOTOS}


def test_training_is_skipped_throughout_and_the_faces_share_all_of_the_bar(run: Run, photos: Path) -> None:
    source = run.begin(photos, faces=False)
    run.ended(source)
    session = find_faces(run, source)
    looks = watched(run, session)
    admitted = [look for look in looks if look.steps]
    weighed = [look for look in admitted if look.phases["faceDetection"].weight is not None]
    percentages = [look.percentage for look in looks]
    assert {look.phases["training"].status for look in admitted} == {"skipped"}
    assert {look.phases["training"].weight for look in weighed} == {0.0}
    for look in weighed:
        assert sum(phase.weight or 0.0 for phase in look.phases.values()) == pytest.approx(100)
    assert percentages == sorted(percentages)
    assert percentages[-1] == 100.0
    assert {name: (phase.status, phase.percentage) for name, phase in looks[-1].phases.items()} == {
        "training": ("skipped", 0.0),
        "faceDetection": ("completed", 100.0),
        "clustering": ("completed", 100.0),
    }


def test_its_counts_are_those_of_the_photos_it_searched(run: Run, photos: Path) -> None:
    source = run.begin(photos, faces=False)
    run.ended(source)
    session = find_faces(run, source, min_face_size_px=30.0)
    summary = run.ended(session)
    assert summary["images"] == {
        "total": PHOTOS, "processed": PHOTOS, "failed": 0, "unchanged": 0, "skipped": 0
    }  # fmt: skip
    shown = face_session(run, session)
    assert (shown.status, shown.training_session_id) == ("completed", source)
    assert (shown.total_images, shown.processed_images) == (PHOTOS, PHOTOS)
    assert (shown.min_confidence, shown.min_face_size) == (0.5, 30.0)
    assert shown.faces_detected == summary["facesDetected"] > PHOTOS


def test_of_all_photos_only_those_without_a_scan_are_searched(photos: Path, tmp_path: Path) -> None:
    other = libraries.write_photos(tmp_path / "other", PHOTOS // 2)
    with data_directory() as folder, running(folder) as run:
        run.run(photos)
        run.run(other, faces=False)
        seen = run.engines.fake_faces.seen
        session = find_faces(run)
        summary = run.ended(session)
        assert run.engines.fake_faces.seen == seen + PHOTOS // 2
        assert {os.path.commonpath([name, other]) for name in scanned(run, session)} == {os.path.realpath(other)}
        assert summary["images"] == {
            "total": PHOTOS + PHOTOS // 2, "processed": PHOTOS // 2, "failed": 0, "unchanged": PHOTOS, "skipped": 0
        }  # fmt: skip
        assert progress_of(run, session).files_found == PHOTOS + PHOTOS // 2
        assert face_session(run, session).training_session_id is None
        check_vectors(run)


def test_photos_that_are_gone_or_broken_or_were_never_embedded_are_left_out(photos: Path) -> None:
    with data_directory() as folder, running(folder) as run:
        libraries.write_broken(photos)
        run.run(photos, faces=False)
        (photos / "a/photo 001.png").unlink()
        run.run(photos, faces=False)
        assert run.ended(find_faces(run))["images"]["total"] == PHOTOS - 1


def test_a_session_with_nothing_left_to_find_completes_and_skips_every_phase(run: Run, photos: Path) -> None:
    source = run.begin(photos)
    run.ended(source)
    session = find_faces(run, source, min_confidence=0.9)
    summary = run.ended(session)
    progress = progress_of(run, session)
    assert (progress.overall_status, progress.percentage) == ("completed", 100.0)
    assert {phase.status for phase in progress.phases.values()} == {"skipped"}
    assert (summary["images"]["unchanged"], summary["images"]["processed"]) == (PHOTOS, 0)
    assert face_session(run, session).status == "completed"


def test_only_the_selected_folders_of_the_session_asked_for_are_searched(run: Run, photos: Path) -> None:
    run.run(photos, faces=False)
    wish = NewSession(os.path.realpath(photos), ["a"], None, {"faces": False, "untrained": True})
    source, _ = run.database.transact(lambda connection: begin(connection, wish))
    run.controller.look.set()
    run.ended(source)
    session = find_faces(run, source)
    assert run.ended(session)["images"]["total"] == PHOTOS // 2
    assert {os.path.dirname(name) for name in scanned(run, session)} == {os.path.realpath(photos / "a")}


def test_lower_thresholds_search_again(run: Run, photos: Path) -> None:
    source = run.begin(photos)
    run.ended(source)
    session = find_faces(run, source, min_face_size_px=10.0)
    assert run.ended(session)["images"]["processed"] == PHOTOS
    check_vectors(run)


def test_faces_whose_points_are_lost_are_found_again(run: Run, photos: Path) -> None:
    source = run.begin(photos)
    run.ended(source)
    faces = "SELECT id FROM face_instances WHERE session_id = :id"
    run.vectors.delete("faces-fake", [row.id for row in run.rows(faces, id=source)])
    assert run.ended(find_faces(run, source))["images"]["processed"] == PHOTOS
    check_vectors(run)


# Interruptions


def test_a_killed_worker_is_succeeded_where_it_committed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detect, calls = FakeFaces.detect, [0]

    def deadly(self: FakeFaces, picture: Any, min_confidence: float) -> Any:
        calls[0] += 1
        if calls[0] == PHOTOS // 2:
            raise Killed
        return detect(self, picture, min_confidence)

    with data_directory() as folder, Run(folder, loaders=1) as run:
        jobs = HandJobs(run)
        source = run.begin(photos, faces=False)
        while jobs_left(jobs):
            jobs.work()
        session = find_faces(run, source)
        jobs.work_up_to("detect")
        monkeypatch.setattr(FakeFaces, "detect", deadly)
        with pytest.raises(Killed):
            jobs.work()
        committed = progress_of(run, session)
        assert 0 < committed.phases["faceDetection"].current < PHOTOS
        while jobs_left(jobs):
            jobs.work()
        assert run.ended(session)["images"]["processed"] == PHOTOS
        assert progress_of(run, session).percentage == 100.0
        check_vectors(run)


def jobs_left(jobs: HandJobs) -> bool:
    jobs.settle()
    return jobs.waiting() is not None


def test_it_pauses_and_resumes(run: Run, photos: Path) -> None:
    source = run.begin(photos, faces=False)
    run.ended(source)
    run.engines.on_load = lambda kind: run.ask(session, "pause")
    session = find_faces(run, source)
    paused = run.wait_for(
        lambda connection: (look := read_progress(connection, session)).overall_status == "paused" and look,
        "the session to pause",
    )
    assert {name: phase.status for name, phase in paused.phases.items()} == {
        "training": "skipped", "faceDetection": "paused", "clustering": "pending"
    }  # fmt: skip
    assert face_session(run, session).status == "paused"
    run.engines.on_load = lambda kind: None
    run.ask(session, "resume")
    run.controller.look.set()
    assert run.ended(session)["images"]["processed"] == PHOTOS
    check_vectors(run)


def test_it_is_cancelled(run: Run, photos: Path) -> None:
    source = run.begin(photos, faces=False)
    run.ended(source)
    run.engines.on_load = lambda kind: run.ask(session, "cancel")
    session = find_faces(run, source)
    assert run.ended(session)["overallStatus"] == "cancelled"
    assert progress_of(run, session).phases["training"].status == "skipped"
    assert face_session(run, session).status == "cancelled"


def test_it_waits_for_the_session_whose_photos_it_wants(run: Run, photos: Path) -> None:
    asked: list[int] = []

    def ask(pictures: Any) -> None:
        if not asked:
            asked.append(find_faces(run, source))
            run.waiting_code(asked[0], "Queued")

    run.engines.fake_clip.on_encode = ask
    source = run.begin(photos, faces=False)
    run.ended(source)
    assert run.ended(asked[0])["images"]["processed"] == PHOTOS


# Photos that cannot be read


def test_photos_gone_since_fail_and_a_retry_finds_their_faces(run: Run, photos: Path) -> None:
    source = run.begin(photos, faces=False)
    run.ended(source)
    away = photos.with_name("away")
    (photos / "a").rename(away)
    (photos / "a").mkdir()
    session = find_faces(run, source)
    summary = run.ended(session)
    assert (summary["overallStatus"], summary["images"]["failed"]) == ("completed", PHOTOS // 2)
    assert {failure["code"] for failure in summary["failures"]} == {"not_found"}
    (photos / "a").rmdir()
    away.rename(photos / "a")
    run.ask(session, "retry")
    run.controller.look.set()
    retried = run.wait_for(lambda connection: all_read(run, session), "the retry to end")
    assert (retried["overallStatus"], retried["images"]["processed"]) == ("completed", PHOTOS)
    assert len(scanned(run, session)) == PHOTOS
    check_vectors(run)


def all_read(run: Run, session: int) -> Any:
    summary = run.ended(session)
    return summary["images"]["failed"] == 0 and summary


def test_a_session_whose_every_photo_fails_has_failed(run: Run, photos: Path) -> None:
    source = run.begin(photos, faces=False)
    run.ended(source)
    for photo in photos.rglob("*.png"):
        photo.unlink()
    session = find_faces(run, source)
    summary = run.ended(session)
    assert (summary["overallStatus"], summary["failure"]["code"]) == ("failed", "AllImagesFailed")
    assert {name: phase.status for name, phase in progress_of(run, session).phases.items()} == {
        "training": "skipped", "faceDetection": "failed", "clustering": "pending"
    }  # fmt: skip


@pytest.mark.parametrize("roots", [False, True], ids=["no roots", "roots"])
@pytest.mark.parametrize("selected", [(), ("a",)], ids=["whole root", "subdirectory"])
def test_a_folder_that_has_become_a_link_leading_out_is_not_followed(
    photos: Path, tmp_path: Path, roots: bool, selected: tuple[str, ...]
) -> None:
    private = libraries.write_photos(tmp_path / "private", PHOTOS)
    settings = {"image_roots": str(photos)} if roots else {}
    with data_directory() as folder, running(folder, **settings) as run:
        wish = NewSession(os.path.realpath(photos), selected, None, {"faces": False, "untrained": True})
        source, _ = run.database.transact(lambda connection: begin(connection, wish))
        run.controller.look.set()
        run.ended(source)
        (photos / "a").rename(tmp_path / "away")
        (photos / "a").symlink_to(private / "a")
        session = find_faces(run, source)
        summary = run.ended(session)
        assert {failure["code"] for failure in summary["failures"]} == {"outside_roots"}
        assert summary["images"]["failed"] == PHOTOS // 2
        assert all("/b/" in name for name in scanned(run, session))
        assert run.engines.fake_faces.seen == (0 if selected else PHOTOS // 2)


def test_photos_of_folders_that_may_not_be_read_any_more_are_left_out(photos: Path, tmp_path: Path) -> None:
    """A data directory of earlier runs, served with other roots."""
    private = libraries.write_photos(tmp_path / "private", PHOTOS)
    with data_directory() as folder:
        with running(folder) as run:
            of_private = run.begin(private, faces=False)
            run.ended(of_private)
            run.run(photos, faces=False)
        with running(folder, image_roots=str(photos)) as run:
            everywhere = find_faces(run)
            assert run.ended(everywhere)["images"]["total"] == PHOTOS
            assert {os.path.commonpath([name, photos]) for name in scanned(run, everywhere)} == {str(photos)}
            assert run.ended(find_faces(run, of_private))["images"]["total"] == 0
            assert run.engines.fake_faces.seen == PHOTOS


@pytest.mark.parametrize("of_all", [False, True])
def test_a_mount_that_vanishes_is_waited_for(run: Run, photos: Path, of_all: bool) -> None:
    source = run.begin(photos, faces=False)
    run.ended(source)
    away = photos.with_name("away")
    photos.rename(away)
    session = find_faces(run, None if of_all else source)
    run.waiting_code(session, "StorageUnavailable")
    away.rename(photos)
    summary = run.ended(session)
    assert summary["overallStatus"] == "completed"
    assert [f for f in summary["failures"] if f["path"].startswith(os.path.realpath(photos))] == []
    assert len([name for name in scanned(run, session) if name.startswith(os.path.realpath(photos))]) == PHOTOS
