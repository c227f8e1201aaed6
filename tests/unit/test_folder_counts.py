"""Counting photos in folders: right while there is little, and never more than so many looks."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api import folder_counts
from api.folder_counts import count_images, together


class CountedLooks:
    """Stands before os.scandir and counts the entries it gives."""

    def __init__(self) -> None:
        self.entries = 0
        self._scandir = os.scandir

    def __call__(self, folder: bytes) -> "CountedScan":
        return CountedScan(self, self._scandir(folder))


class CountedScan:
    def __init__(self, looks: CountedLooks, entries: Any) -> None:
        self._looks = looks
        self._entries = entries

    def __enter__(self) -> Iterator[os.DirEntry[bytes]]:
        for entry in self._entries:
            self._looks.entries += 1
            yield entry

    def __exit__(self, *_: object) -> None:
        self._entries.close()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> CountedLooks:
    monkeypatch.setattr(folder_counts, "MOST_SECONDS", 60.0)
    looks = CountedLooks()
    monkeypatch.setattr(os, "scandir", looks)
    return looks


def folders(root: Path, *photos: int) -> list[str]:
    """One folder each with that many photos, half of them in a folder of its own."""
    made = []
    for number, count in enumerate(photos):
        (root / str(number) / "inner").mkdir(parents=True)
        for photo in range(count):
            (root / str(number) / ("inner" if photo % 2 else "") / f"{photo}.jpg").touch()
        made.append(str(root / str(number)))
    return made


def test_small_folders_are_counted_to_the_end(tmp_path: Path) -> None:
    counts = count_images(folders(tmp_path, 3, 0, 7), [])
    assert [(count.count, count.exact) for count in counts] == [(3, True), (0, True), (7, True)]
    assert together(counts).text == "10"


def test_no_answer_looks_at_more_entries_than_allowed_however_many_there_are(
    tmp_path: Path, looks: CountedLooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_counts, "MOST_ENTRIES", 60)
    counts = count_images(folders(tmp_path, 100, 100, 100), [])
    assert looks.entries <= 60 + len(counts)  # the one that shows that there are more
    assert [count.exact for count in counts] == [False, False, False]
    assert all(0 < count.count <= 20 for count in counts)


def test_what_a_small_folder_leaves_over_is_for_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_counts, "MOST_SECONDS", 60.0)
    monkeypatch.setattr(folder_counts, "MOST_ENTRIES", 40)
    counts = count_images(folders(tmp_path, 2, 30), [])
    assert [count.text for count in counts] == ["2", "30"]


def test_a_single_folder_takes_no_more_than_its_own_share(
    tmp_path: Path, looks: CountedLooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_counts, "MOST_ENTRIES_OF_A_FOLDER", 10)
    [count] = count_images(folders(tmp_path, 100), [])
    assert looks.entries <= 11
    assert count.text.endswith("+")


def test_when_the_time_is_up_the_count_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_counts, "MOST_SECONDS", 0.0)
    [count] = count_images(folders(tmp_path, 5), [])
    assert count.text == "0+"


def test_a_folder_that_cannot_be_read_leaves_the_count_open(tmp_path: Path) -> None:
    [count] = count_images([str(tmp_path / "gone")], [])
    assert (count.count, count.exact) == (0, False)
