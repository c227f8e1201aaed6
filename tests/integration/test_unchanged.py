"""What a second run does again: only what is new, changed, lost, or was never asked for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from jobs import cluster, group_rows
from local.sessions import begin
from tests import libraries
from tests.local_runs import Run, data_directory, running
from tests.natural_keys import check_vectors
from trainyard.database import Database
from trainyard.sessions import NewSession

PHOTOS = 12


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with data_directory() as folder, running(folder) as run:
        yield run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return libraries.write_photos(tmp_path / "photos", PHOTOS)


def seen(run: Run) -> tuple[int, int]:
    """Photos embedded, and photos searched for faces, by this installation's networks so far."""
    return run.engines.fake_clip.seen, run.engines.fake_faces.seen


def test_a_touched_file_with_the_same_bytes_costs_no_inference(run: Run, photos: Path) -> None:
    run.run(photos)
    before = seen(run)
    os.utime(photos / "a/photo 001.png")
    summary = run.run(photos)
    assert summary["images"]["unchanged"] == PHOTOS
    assert (summary["images"]["processed"], summary["facesDetected"]) == (0, 0)
    assert seen(run) == before


def test_a_changed_file_replaces_its_point_and_its_faces(run: Run, photos: Path) -> None:
    run.run(photos)
    libraries.write_photo(photos / "a/photo 001.png", 700, (0, 1, 2))
    summary = run.run(photos)
    assert (summary["images"]["processed"], summary["facesDetected"]) == (1, 3)
    faces = "SELECT ordinal FROM face_instances f JOIN image_assets a ON a.id = f.asset_id WHERE a.path = :path"
    path = os.fsencode(os.path.realpath(photos / "a/photo 001.png"))
    assert len(run.rows(faces, path=path)) == 3
    check_vectors(run)


def test_photos_embedded_without_faces_are_searched_for_faces_later(run: Run, photos: Path) -> None:
    clip, faces = seen(run)
    assert run.run(photos, faces=False)["facesDetected"] == 0
    summary = run.run(photos)
    assert seen(run) == (clip + PHOTOS, faces + PHOTOS)
    assert summary["images"]["unchanged"] == PHOTOS
    assert summary["facesDetected"] > PHOTOS


def test_lower_thresholds_search_again_and_higher_ones_do_not(run: Run, photos: Path) -> None:
    run.run(photos)
    _, faces = seen(run)
    run.run(photos, min_confidence=0.7)
    assert seen(run)[1] == faces
    run.run(photos, min_face_size_px=10.0)
    assert seen(run)[1] == faces + PHOTOS
    run.run(photos, min_face_size_px=10.0)
    assert seen(run)[1] == faces + PHOTOS


def test_groups_follow_photos_that_are_gone(run: Run, photos: Path) -> None:
    run.run(photos)
    (photos / "a/photo 001.png").unlink()
    run.run(photos)
    sizes = """
        SELECT c.size, count(f.id) FILTER (WHERE a.missing_since IS NULL) FROM face_clusters c
        LEFT JOIN face_instances f ON f.cluster_id = c.id LEFT JOIN image_assets a ON a.id = f.asset_id
        WHERE c.closed_at IS NULL GROUP BY c.id, c.size
    """
    rows = run.rows(sizes)
    assert rows
    assert all(size == faces for size, faces in rows)


def test_a_clustering_whose_commit_was_not_answered_keeps_its_groups(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[int] = []
    store, once = group_rows.store_groups, Database._once

    def counted(*arguments: object) -> None:
        stored.append(1)
        store(*arguments)  # type: ignore[arg-type]

    def losing_the_first_answer(database: Database, work: object) -> object:
        before = len(stored)
        result: object = once(database, work)  # type: ignore[arg-type]
        if (before, len(stored)) == (0, 1):
            raise sa.exc.OperationalError("COMMIT", None, Exception("gone"), connection_invalidated=True)
        return result

    monkeypatch.setattr(cluster, "store_groups", counted)
    monkeypatch.setattr(Database, "_once", losing_the_first_answer)
    summary = run.run(photos)
    assert len(stored) == 2
    assert summary["groups"] >= 3
    path = os.fsencode(os.path.realpath(photos)) + b"/"
    grouped = run.rows(
        "SELECT f.cluster_id FROM face_instances f JOIN image_assets a ON a.id = f.asset_id "
        "WHERE substr(a.path, 1, :length) = :path",
        length=len(path),
        path=path,
    )
    assert grouped
    assert all(row.cluster_id is not None for row in grouped)


def test_a_selected_folder_that_is_empty_keeps_nobody_waiting(run: Run, photos: Path) -> None:
    (photos / "empty").mkdir()
    wish = NewSession(os.path.realpath(photos), ["a", "empty"], None, {"faces": True, "untrained": True})
    session_id, _ = run.database.transact(lambda connection: begin(connection, wish))
    run.controller.look.set()
    summary = run.ended(session_id)
    assert summary["overallStatus"] == "completed"
    assert 0 < summary["images"]["processed"] < PHOTOS
