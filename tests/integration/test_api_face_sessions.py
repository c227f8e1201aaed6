"""Face sessions over HTTP, on rows alone: which photos a new one is about, and what is shown before it begins."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served_rows import ServedRows, served_rows

FACE_SESSIONS = "/api/v1/face-sessions"
STANDALONE = {"faces": True, "training": False}


@pytest.fixture
def image_root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def server(
    database_url: str, tmp_path: Path, image_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServedRows]:
    monkeypatch.setenv("TRAINYARD_IMAGE_ROOTS", str(image_root))
    with served_rows(database_url, tmp_path / "data") as server:
        yield server


def find_faces(server: ServedRows, session_id: int) -> Any:
    return server.client.post(FACE_SESSIONS, json={"trainingSessionId": session_id})


def test_a_session_just_made_is_a_pending_face_session(server: ServedRows, image_root: Path) -> None:
    """There is no controller here: nobody gives it steps."""
    made = server.client.post("/api/v1/training/sessions", json={"rootPath": str(image_root)}).json()
    shown = server.client.get(f"{FACE_SESSIONS}/{made['id']}")
    assert shown.status_code == 200
    assert (shown.json()["status"], shown.json()["totalImages"]) == ("pending", 0)
    assert [row["id"] for row in server.client.get(FACE_SESSIONS).json()["items"]] == [made["id"]]


def test_faces_of_a_face_sessions_photos_are_looked_for_where_it_looked(server: ServedRows, image_root: Path) -> None:
    training = server.add(root_path=str(image_root))
    first = find_faces(server, training).json()
    again = find_faces(server, first["id"]).json()
    assert again["trainingSessionId"] == first["trainingSessionId"] == training
    session = server.client.get(f"/api/v1/training/sessions/{again['id']}").json()
    assert (session["sourceSessionId"], session["rootPath"]) == (training, str(image_root))


def test_faces_of_a_face_session_of_all_photos_are_looked_for_in_all(server: ServedRows) -> None:
    of_all = server.client.post(FACE_SESSIONS, json={}).json()
    again = find_faces(server, of_all["id"])
    assert again.status_code == 201
    assert again.json()["trainingSessionId"] is None


def test_photos_outside_the_folders_that_may_be_read_are_not_searched(
    server: ServedRows, image_root: Path, tmp_path: Path
) -> None:
    away = tmp_path / "private"
    away.mkdir()
    link = image_root / "link"
    link.symlink_to(away)
    outside = [server.add(root_path=str(root)) for root in (away, link, tmp_path / "gone")]
    outside.append(server.add(root_path=str(away), source_session_id=outside[0], options=STANDALONE))
    for session_id in outside:
        refused = find_faces(server, session_id)
        assert refused.status_code == 422
        assert refused.json()["code"] == "OutsideImageRoots"
        assert [error["field"] for error in refused.json()["errors"]] == ["trainingSessionId"]
    assert find_faces(server, server.add(root_path=str(image_root / "gone"))).status_code == 201
