"""The demo's library: the same files every time, made once, people who recur, and files that fail as meant."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from local import demo_photos
from local.demo_photos import BROKEN, FACES, RETAKES, DemoPicturesMissing, Retake, gather, library, retake, shipped
from trainyard import photos
from trainyard.photos import IMAGE_SUFFIXES, PhotoError


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    gather(folder)
    return folder


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file: both change when a file is rewritten."""
    found = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (status.st_ino, status.st_mtime_ns) for path, status in found}


def code_of(path: Path) -> str:
    with pytest.raises(PhotoError) as failure:
        photos.thumbnail(bytes(path), 160)
    return failure.value.code


def test_a_second_gathering_rewrites_nothing(gathered: Path) -> None:
    before = files_of(gathered)

    assert gather(gathered) == []
    assert files_of(gathered) == before


def test_only_a_file_that_is_gone_is_made_again(gathered: Path) -> None:
    gone = gathered / BROKEN / "letter.jpg"
    content = gone.read_bytes()
    gone.unlink()

    assert gather(gathered) == [gone]
    assert gone.read_bytes() == content


def test_the_same_bytes_come_out_every_time(gathered: Path) -> None:
    made = {name: make for name, make in library() if name.startswith((BROKEN, "people/person 7"))}

    assert len(made) == 6 + len(RETAKES)
    assert all((gathered / name).read_bytes() == make() for name, make in made.items())


def test_an_interrupted_gathering_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_photos.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gather(tmp_path)

    assert [path.name for path in tmp_path.rglob("*.*") if not path.name.startswith(".")] == []


def test_about_sixty_photos_lie_in_three_folders(gathered: Path) -> None:
    found = [path for path in gathered.rglob("*") if path.suffix in IMAGE_SUFFIXES]

    assert 55 <= len(found) <= 70
    assert {path.parent.parent for path in found} == {gathered}
    assert len({path.parent for path in found}) == 3


def test_everybody_recurs_in_photos_that_show_the_face_large(gathered: Path) -> None:
    takes = [path.name[: len("person 1")] for path in gathered.rglob("person *")]

    assert {person: takes.count(person) for person in takes} == {face.person: len(RETAKES) for face in FACES}
    assert len(FACES) >= 6
    assert min(take.face_px for take in RETAKES) >= 100


def test_every_photo_that_is_not_broken_on_purpose_can_be_decoded(gathered: Path) -> None:
    for path in gathered.rglob("*.*"):
        if path.parent.name != BROKEN:
            photos.clip_view(bytes(path))


def test_each_broken_file_fails_in_the_way_its_name_says(gathered: Path) -> None:
    folder = gathered / BROKEN

    assert code_of(folder / "half a photo.jpg") == "truncated"
    assert code_of(folder / "nothing.jpg") == "truncated"
    assert code_of(folder / "letter.jpg") == "not_an_image"
    assert code_of(folder / "huge.png") == "too_large"
    assert (folder / "huge.png").stat().st_size < 100_000
    assert {path.suffix for path in folder.iterdir()} - IMAGE_SUFFIXES == {".mp4", ".cr2"}


def test_a_retake_stored_on_its_side_is_shown_upright(tmp_path: Path) -> None:
    shown = []
    for orientation in (1, 6):
        path = tmp_path / f"{orientation}.jpg"
        path.write_bytes(retake(FACES[0], Retake("take.jpg", 200, turn=5, mirrored=True, orientation=orientation)))
        shown.append(np.asarray(Image.open(BytesIO(photos.thumbnail(os.fsencode(path), 200))), np.int16))

    assert np.abs(shown[0] - shown[1]).mean() < 2


def test_a_package_that_is_not_installed_is_named_with_what_to_type() -> None:
    with pytest.raises(DemoPicturesMissing, match=r"no_such_package/face.jpg .* pip install 'trainyard\[dev\]'"):
        shipped("no_such_package/face.jpg")
