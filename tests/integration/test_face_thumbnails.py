"""Faces cut out of photos: the right one, upright, with a margin, from no more pixels than that takes."""

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from tests import libraries, pictures
from tests.local_runs import data_directory
from tests.pictures import GROUP_LANDMARKS
from tests.served import Served, served
from trainyard import photo_views, photos
from trainyard.decoders import Decoder
from trainyard.photo_geometry import Box, face_square

SIDE = 160
FACES = range(len(GROUP_LANDMARKS))


def box_of(face: int, scale: float = 1.0) -> Box:
    """Around the landmarks of one of the six people in the group photo, as a detector's box lies around them."""
    (left, top), (right, bottom) = GROUP_LANDMARKS[face].min(axis=0), GROUP_LANDMARKS[face].max(axis=0)
    grown = 0.5 * max(right - left, bottom - top)
    edges = (left - grown, top - grown, right + grown, bottom + grown)
    return tuple(float(edge) * scale for edge in edges)  # type: ignore[return-value]


def read(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(jpeg)))


def cut_out(picture: Image.Image, box: Box, side: int) -> NDArray[np.uint8]:
    """The same of an upright picture, by Pillow alone."""
    square = face_square(box, *picture.size)
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, square))


# Where the square lies


def test_a_face_has_a_margin_on_all_sides() -> None:
    assert face_square((400, 300, 500, 360), 2000, 1000) == (360, 240, 540, 420)


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((0, 0, 100, 100), (0, 0, 180, 180)),
        ((1950, 980, 2050, 1080), (1820, 820, 2000, 1000)),
        ((-50, 400, 50, 500), (0, 360, 180, 540)),
        ((0, 0, 2000, 1000), (500, 0, 1500, 1000)),
    ],
)
def test_the_square_is_moved_inside_the_photo_and_never_larger(box: Box, square: Box) -> None:
    assert face_square(box, 2000, 1000) == square


# What is cut out


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_right_face_is_cut_out_of_a_turned_photo(tmp_path: Path, orientation: int) -> None:
    picture = pictures.group_photo()
    path = pictures.written(tmp_path / "turned.jpg", pictures.oriented(picture, orientation, quality=95, subsampling=0))
    for face in FACES:
        made = read(photos.face_thumbnail(path, box_of(face), SIDE))
        others = [cut_out(picture, box_of(other), len(made)) for other in FACES]
        differences = [pictures.mean_difference(made, other) for other in others]
        assert differences[face] < 6
        assert sorted(differences)[1] > 20  # nobody else


def test_a_large_photo_is_decoded_no_larger_than_the_face_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reductions: list[int] = []
    decode = photo_views.decode_rgb

    def noted(picture: ImageFile.ImageFile, reduction: int) -> Image.Image:
        reductions.append(reduction)
        return decode(picture, reduction)

    monkeypatch.setattr(photo_views, "decode_rgb", noted)
    picture = pictures.enlarged(pictures.group_photo(), 24)
    path = pictures.written(tmp_path / "large.jpg", pictures.oriented(picture, 6, quality=90))
    scale = picture.width / 1280
    made = read(photos.face_thumbnail(path, box_of(0, scale), SIDE))
    assert reductions == [4]  # of a square of 1,000 px
    assert made.shape == (SIDE, SIDE, 3)
    assert pictures.mean_difference(made, cut_out(picture, box_of(0, scale), SIDE)) < 5


def test_a_small_face_is_not_enlarged(tmp_path: Path) -> None:
    path = pictures.written(tmp_path / "small.png", pictures.encoded(pictures.portrait(), "PNG"))
    assert read(photos.face_thumbnail(path, (40, 40, 70, 70), SIDE)).shape == (54, 54, 3)
    assert read(photos.face_thumbnail(path, (0, 0, 112, 112), SIDE)).shape == (112, 112, 3)


def test_a_child_cuts_out_the_same(tmp_path: Path) -> None:
    path = pictures.written(tmp_path / "turned.jpg", pictures.oriented(pictures.group_photo(), 6))
    with Decoder() as decoder:
        assert decoder.face_thumbnail(path, box_of(3), SIDE) == photos.face_thumbnail(path, box_of(3), SIDE)


# Over HTTP


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos").resolve()
    for orientation in (1, 6):
        planted = libraries.photo(orientation, (7, 8, 9)).resize((1280, 960), Image.Resampling.NEAREST)
        content = pictures.oriented(planted, orientation, "PNG")
        (root / f"orientation {orientation}.png").write_bytes(content)
    libraries.write_photo(root / "gone.png", 3, (1,))
    libraries.write_photo(root / "changed.png", 4, (2,))
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Served]:
    with data_directory() as data_dir, served(data_dir, root) as server:
        server.ended(server.create(root))
        yield server


def faces_in(server: Served, name: str) -> list[dict[str, str]]:
    [row] = server.run.rows("SELECT id FROM image_assets WHERE path_text LIKE :name", name=f"%/{name}")
    answer = server.client.get(f"/api/v1/images/{row.id}/faces")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def picture_of(answer: httpx.Response) -> NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    return read(answer.content)


def test_each_face_of_a_turned_photo_has_its_own_picture(server: Served) -> None:
    upright, turned = faces_in(server, "orientation 1.png"), faces_in(server, "orientation 6.png")
    assert len(upright) == len(turned) == 3
    for one, other in zip(upright, turned, strict=True):
        assert one["box"] == other["box"]
        shown = [picture_of(server.client.get(face["thumbnailUrl"])) for face in (one, other)]
        middle = slice(60, 100)  # what is around the faces is another photo's
        assert pictures.mean_difference(shown[0][middle, middle], shown[1][middle, middle]) < 12


def test_a_versioned_picture_is_kept_for_ever_and_a_client_that_has_it_is_told_so(server: Served) -> None:
    face = faces_in(server, "orientation 6.png")[0]
    first = server.client.get(face["thumbnailUrl"])
    assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
    again = server.client.get(face["thumbnailUrl"], headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = server.client.get(f"/api/v1/faces/{face['id']}/thumbnail", params={"side": 320})
    assert plain.headers["cache-control"] == "private, max-age=300, immutable"
    assert picture_of(plain).shape == (320, 320, 3)
    tags = {first.headers["etag"], plain.headers["etag"]}
    tags |= {
        server.client.get(other["thumbnailUrl"]).headers["etag"] for other in faces_in(server, "orientation 6.png")
    }
    assert len(tags) == 4  # two sides of the first, one of each other
    assert server.client.get(f"/api/v1/faces/{face['id']}/thumbnail?side=640").status_code == 422


def test_a_kept_picture_outlives_its_file_under_the_contents_name(server: Served, root: Path) -> None:
    [face] = faces_in(server, "gone.png")
    content = hashlib.sha256((root / "gone.png").read_bytes()).hexdigest()
    first = server.client.get(face["thumbnailUrl"]).content
    (root / "gone.png").unlink()
    assert server.client.get(face["thumbnailUrl"]).content == first
    [file] = server.run.settings.thumbnails_path.glob(f"{content[:2]}/{content}-face-*-{SIDE}.jpg")
    assert file.read_bytes() == first
    missing = server.client.get(f"/api/v1/faces/{face['id']}/thumbnail", params={"side": 320})
    assert (missing.status_code, missing.json()["code"]) == (404, "ImageMissing")


def test_no_face_is_cut_out_of_a_file_that_has_changed(server: Served, root: Path) -> None:
    [face] = faces_in(server, "changed.png")
    (root / "changed.png").write_bytes(pictures.encoded(pictures.portrait(), "PNG"))
    refused = server.client.get(face["thumbnailUrl"])
    assert (refused.status_code, refused.json()["code"]) == (409, "ImageChanged")
