"""Folders to choose from: only those that may be read, with counts that never keep anybody waiting."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import folder_counts
from api.routes import directories
from tests.local_runs import data_directory
from tests.served import Served, served

MANY = 10_001
PATIENCE_SECONDS = 60.0  # so that the count ends at its number of entries, on the slowest machine too


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.path.realpath(tmp_path_factory.mktemp("photos")))


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Served]:
    with data_directory() as data_dir, served(data_dir, root) as server:
        yield server


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def ask(server: Served, path: str | Path | None = None, **query: Any) -> httpx.Response:
    named = {} if path is None else {"path": str(path)}
    return server.client.get("/api/v1/directories", params={**named, **query})


def look(server: Served, path: str | Path | None = None, **query: Any) -> dict[str, Any]:
    answer = ask(server, path, **query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def names(answer: dict[str, Any]) -> list[str]:
    return [directory["name"] for directory in answer["directories"]]


def texts(answer: dict[str, Any]) -> list[str]:
    return [directory["images"]["text"] for directory in answer["directories"]]


def test_without_a_path_the_folders_that_may_be_read_are_shown(server: Served, root: Path) -> None:
    answer = look(server)
    assert (answer["path"], answer["parent"]) == (None, None)
    assert [directory["path"] for directory in answer["directories"]] == [str(root)]


def test_folders_come_by_name_with_the_photos_in_all_of_each(server: Served, root: Path) -> None:
    trips = fill(root / "trips", "b/1.jpg", "b/deep/er/2.HEIC", "b/notes.txt", "a/3.png", "C/x.txt", "4.webp")
    assert look(server, trips) == {
        "path": str(trips),
        "parent": str(root),
        "readable": True,
        "complete": True,
        "directories": [
            {"name": "C", "path": str(trips / "C"), "images": {"count": 0, "exact": True, "text": "0"}},
            {"name": "a", "path": str(trips / "a"), "images": {"count": 1, "exact": True, "text": "1"}},
            {"name": "b", "path": str(trips / "b"), "images": {"count": 2, "exact": True, "text": "2"}},
        ],
        "images": {"count": 4, "exact": True, "text": "4"},
        "nextPageToken": None,
    }
    assert look(server, root)["parent"] is None


def test_what_discovery_passes_over_is_neither_shown_nor_counted(server: Served, root: Path) -> None:
    folder = fill(root / "mixed", ".hidden/1.jpg", "@eaDir/2.jpg", "kept/3.jpg", "kept/.4.jpg", "kept/Thumbnails/5.jpg")
    (folder / "link").symlink_to(folder / "kept")
    (folder / "kept" / "link.jpg").symlink_to(folder / "kept" / "3.jpg")
    answer = look(server, folder)
    assert names(answer) == ["kept"]
    assert texts(answer) == ["1"]
    assert answer["images"]["count"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes names that are not UTF-8")
def test_a_folder_whose_name_is_not_utf_8_cannot_be_chosen_but_its_photos_are_counted(
    server: Served, root: Path
) -> None:
    folder = fill(root / "old", "Übung 山/1.jpg", os.fsdecode(b"caf\xe9/2.jpg"))
    (folder / "link").symlink_to(os.fsdecode(b"caf\xe9"))
    answer = look(server, folder)
    assert names(answer) == ["Übung 山"]
    assert answer["images"] == {"count": 2, "exact": True, "text": "2"}
    assert ask(server, folder / "link").json()["code"] == "RootNotText"


def test_a_long_list_comes_a_page_at_a_time(server: Served, root: Path) -> None:
    folder = fill(root / "years", *(f"{year}/photo.jpg" for year in range(2000, 2007)))
    seen, token = [], None
    for _ in range(3):
        answer = look(server, folder, limit=3, **({"pageToken": token} if token else {}))
        seen += names(answer)
        token = answer["nextPageToken"]
    assert seen == [str(year) for year in range(2000, 2007)]
    assert token is None


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("{root}/../..", "RootNotPlain"),
        ("{root}/trips/../../..", "RootNotPlain"),
        ("/etc", "OutsideImageRoots"),
        ("/", "OutsideImageRoots"),
        ("{root}-beside", "OutsideImageRoots"),
        ("{root}/leads out", "OutsideImageRoots"),
        ("{root}/leads out/ssl", "OutsideImageRoots"),
        ("{root}/nowhere", "RootNotFound"),
        ("{root}/file.jpg", "RootNotAFolder"),
        ("trips", "RootNotAbsolute"),
        ("", "RootNotAbsolute"),
        ("{root}/a\0b", "RootNotPlain"),
        ("{root}/" + "x" * 300, "RootNotFound"),
    ],
)
def test_a_path_that_may_not_be_read_is_refused_by_name(server: Served, root: Path, path: str, code: str) -> None:
    fill(root, "file.jpg")
    if not (root / "leads out").is_symlink():
        (root / "leads out").symlink_to("/etc")
    answer = ask(server, path.format(root=root))
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert [error["field"] for error in answer.json()["errors"]] == ["path"]
    assert "passwd" not in answer.text


def test_dots_in_a_double_encoded_path_are_a_name_like_any_other(server: Served, root: Path) -> None:
    answer = server.client.get(f"/api/v1/directories?path={root}/%252e%252e")
    assert answer.json()["code"] == "RootNotFound"


def test_a_folder_of_very_many_is_counted_to_ten_thousand(
    server: Served, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_counts, "MOST_SECONDS", PATIENCE_SECONDS)
    folder = fill(root / "huge", "all/0.jpg", "few/0.jpg")
    for number in range(1, MANY):
        os.link(folder / "all" / "0.jpg", folder / "all" / f"{number}.jpg")
    answer = look(server, folder)
    assert texts(answer) == ["10,000+", "1"]
    assert not answer["directories"][0]["images"]["exact"]


def test_a_folder_with_too_many_entries_says_that_some_may_be_missing(
    server: Served, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(root / "wide", *(f"{number}/photo.jpg" for number in range(8)))
    monkeypatch.setattr(directories, "MOST_ENTRIES", 5)
    answer = look(server, folder)
    assert not answer["complete"]
    assert len(names(answer)) == 5
