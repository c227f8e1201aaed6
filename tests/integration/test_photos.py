"""Photos decoded in this process: the right pixels, upright, in every format."""

import hashlib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from insightface.utils import face_align
from numpy.typing import NDArray
from PIL import Image

from tests import pictures
from trainyard import photo_views, photos

ORIENTATIONS = range(1, 9)
SCENE_PX = (360, 240)  # width, height of the upright scene in the tests of orientation
SCENE_LANDMARKS = pictures.CROP_LANDMARKS[None] * 1.2 + np.array([150, 30], dtype=np.float32)


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    return pictures.astronaut().crop((60, 0, 60 + SCENE_PX[0], SCENE_PX[1]))


@pytest.mark.parametrize("megapixels", [0.05, 2, 12])
def test_a_clip_view_is_what_open_clip_cuts_of_a_full_decode(tmp_path: Path, megapixels: float) -> None:
    path = pictures.written(
        tmp_path / "photo.jpg",
        pictures.encoded(pictures.enlarged(pictures.group_photo(), megapixels), quality=92),
    )
    _, view = photos.clip_view(path)
    assert pictures.mean_difference(view, open_clip_view(path)) <= 1.0


@pytest.mark.parametrize("size", [(1201, 301), (301, 1201), (224, 224), (90, 70), (225, 5)])
def test_a_clip_view_of_any_shape_is_open_clips(tmp_path: Path, size: tuple[int, int]) -> None:
    content = pictures.encoded(pictures.rocket().resize(size), "PNG")
    path = pictures.written(tmp_path / "photo.png", content)
    assert pictures.mean_difference(photos.clip_view(path)[1], open_clip_view(path)) <= 1.0


def test_facts_are_of_the_bytes_and_of_the_full_upright_picture(tmp_path: Path) -> None:
    content = pictures.oriented(pictures.enlarged(pictures.coffee(), 4), 6)
    file = tmp_path / "photo.jpg"
    facts, _ = photos.clip_view(pictures.written(file, content))
    width, height = pictures.enlarged(pictures.coffee(), 4).size
    assert facts.sha256 == hashlib.sha256(content).digest()
    assert (facts.size_bytes, facts.mtime_ns) == (len(content), file.stat().st_mtime_ns)
    assert (facts.width, facts.height) == (width, height)
    assert photos.detection_view(bytes(file), 100)[0] == facts


@pytest.mark.parametrize(
    ("moment", "offset", "expected"),
    [
        ("2019:07:21 16:05:09", None, datetime(2019, 7, 21, 16, 5, 9, tzinfo=UTC)),
        ("2019:07:21 16:05:09", "-03:30", datetime(2019, 7, 21, 16, 5, 9, tzinfo=UTC)),
        ("0000:00:00 00:00:00", None, None),
        ("1601:01:01 00:00:00", None, None),
        ("2201:01:01 00:00:00", None, None),
        ("yesterday", None, None),
    ],
)
def test_the_time_a_photo_was_taken(tmp_path: Path, moment: str, offset: str | None, expected: datetime | None) -> None:
    path = pictures.written(tmp_path / "photo.jpg", pictures.taken(pictures.portrait(), moment, offset))
    assert photos.clip_view(path)[0].taken_at == expected


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_every_view_is_upright(tmp_path: Path, scene: Image.Image, kind: str, orientation: int) -> None:
    options = {} if kind in ("PNG", "TIFF") else {"quality": 95}
    stored = pictures.oriented(scene, orientation, kind, **options)
    path = pictures.written(tmp_path / f"photo.{kind.lower()}", stored)
    upright = pictures.written(tmp_path / "upright.png", pictures.encoded(scene, "PNG"))
    facts, view, scale = photos.detection_view(path, 128)
    _, expected, expected_scale = photos.detection_view(upright, 128)
    assert (facts.width, facts.height, scale) == (*SCENE_PX, expected_scale)
    assert pictures.mean_difference(view, expected) < 3
    assert pictures.mean_difference(photos.clip_view(path)[1], photos.clip_view(upright)[1]) < 3
    assert pictures.mean_difference(scene_face(path), scene_face(upright)) < 5
    assert pictures.mean_difference(decoded(photos.thumbnail(path, 128)), expected) < 6


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_large_turned_photos_decoded_smaller_are_upright_to_the_pixel(tmp_path: Path, orientation: int) -> None:
    soft = pictures.group_photo().resize((256, 177))  # so that a shift shows and the way of reducing does not
    picture = soft.resize((2049, 1413), Image.Resampling.BICUBIC)  # no multiples of 2, 4, 8
    content = pictures.oriented(picture, orientation, quality=95, subsampling=0)
    path = pictures.written(tmp_path / "photo.jpg", content)
    upright = pictures.written(tmp_path / "upright.png", pictures.encoded(picture, "PNG", compress_level=1))
    _, view, scale = photos.detection_view(path, 320)
    assert scale == 2049 / 320
    assert pictures.mean_difference(view, photos.detection_view(upright, 320)[1]) < 1.5
    assert pictures.mean_difference(photos.clip_view(path)[1], photos.clip_view(upright)[1]) < 1.5
    landmarks = pictures.CROP_LANDMARKS[None] * 8.01 + 200
    crop = photos.aligned_faces(path, landmarks, pictures.CROP_LANDMARKS, 112)
    expected = photos.aligned_faces(upright, landmarks, pictures.CROP_LANDMARKS, 112)
    assert pictures.mean_difference(crop, expected) < 2.5  # half a px of the decoded picture, 4 px, makes 5


def test_a_detection_view_is_fitted_and_never_enlarged(tmp_path: Path) -> None:
    path = pictures.written(tmp_path / "photo.jpg", pictures.encoded(pictures.chelsea()))
    _, view, scale = photos.detection_view(path, 640)
    assert (view.shape, scale) == ((300, 451, 3), 1.0)
    _, view, scale = photos.detection_view(path, 100)
    assert (view.shape, scale) == ((66, 100, 3), 4.51)


def test_a_view_keeps_a_picture_of_one_pixel_height(tmp_path: Path) -> None:
    path = pictures.written(tmp_path / "line.jpg", pictures.encoded(Image.new("RGB", (4000, 1), "red")))
    assert photos.detection_view(path, 640)[1].shape == (1, 640, 3)
    assert photos.clip_view(path)[1].shape == (224, 224, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_point_of_a_view_times_the_scale_is_the_point_of_the_photo(tmp_path: Path, kind: str) -> None:
    picture = Image.new("RGB", (3001, 2003))
    picture.paste("white", (1500, 1200, 1600, 1400))
    path = pictures.written(tmp_path / "photo", pictures.encoded(picture, kind))
    _, view, scale = photos.detection_view(path, 640)
    weights = view[:, :, 1] / view[:, :, 1].sum(dtype=np.float64)
    rows, columns = np.indices(weights.shape) + 0.5
    assert (columns * weights).sum() * scale == pytest.approx(1550, abs=0.5)
    assert (rows * weights).sum() * scale == pytest.approx(1300, abs=0.5)


@pytest.mark.parametrize("megapixels", [1, 12])
def test_aligned_faces_are_those_cut_from_the_full_picture(tmp_path: Path, megapixels: int) -> None:
    picture = pictures.enlarged(pictures.group_photo(), megapixels)
    path = pictures.written(tmp_path / "group.jpg", pictures.encoded(picture, quality=92))
    landmarks = pictures.GROUP_LANDMARKS * np.float32(picture.width / 1280)
    crops = photos.aligned_faces(path, landmarks, pictures.CROP_LANDMARKS, 112)
    full = np.asarray(Image.open(path.decode()))
    for crop, points in zip(crops, landmarks, strict=True):
        assert pictures.mean_difference(crop, face_align.norm_crop(full, points)) <= 3.0


def test_a_face_in_a_smaller_decode_keeps_as_many_pixels_as_its_crop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reductions = []
    decode = photo_views.decode_rgb
    monkeypatch.setattr(photo_views, "decode_rgb", lambda *given: reductions.append(given[1]) or decode(*given))
    path = pictures.written(tmp_path / "photo.jpg", pictures.encoded(Image.new("RGB", (1200, 1200))))
    for times in (0.9, 1.99, 2.01, 4.01, 8.01):
        photos.aligned_faces(path, pictures.CROP_LANDMARKS[None] * times, pictures.CROP_LANDMARKS, 112)
    both = pictures.CROP_LANDMARKS * np.array([[[8.01]], [[2.01]]])
    photos.aligned_faces(path, both.astype(np.float32), pictures.CROP_LANDMARKS, 112)
    assert reductions == [1, 1, 2, 4, 8, 2]


def test_a_crop_is_black_outside_the_picture(tmp_path: Path) -> None:
    path = pictures.written(tmp_path / "white.png", pictures.encoded(Image.new("L", (56, 112), 255), "PNG"))
    near = pictures.CROP_LANDMARKS[None]
    crops = photos.aligned_faces(path, np.concatenate([near, near + 500]), pictures.CROP_LANDMARKS, 112)
    assert crops[0, :, :56].min() == 255
    assert crops[0, :, 56:].max() == 0
    assert crops[1].max() == 0


def test_no_faces_make_no_crops_and_landmarks_in_one_point_are_refused(tmp_path: Path) -> None:
    path = pictures.written(tmp_path / "photo.jpg", pictures.encoded(pictures.portrait()))
    none = np.zeros((0, 5, 2), dtype=np.float32)
    assert photos.aligned_faces(path, none, pictures.CROP_LANDMARKS, 112).shape == (0, 112, 112, 3)
    with pytest.raises(ValueError, match="one point"):
        photos.aligned_faces(path, np.ones((1, 5, 2), np.float32), pictures.CROP_LANDMARKS, 112)


def test_a_photo_decoded_for_detection_is_decoded_again_only_for_more_pixels(tmp_path: Path) -> None:
    content = pictures.encoded(pictures.enlarged(pictures.group_photo(), 12))
    photo = photos.Photo.read(pictures.written(tmp_path / "photo.jpg", content))
    photo.detection_view(640)
    small = photo._decoded
    photo.aligned_faces(pictures.CROP_LANDMARKS[None] * 9, pictures.CROP_LANDMARKS, 112)
    assert photo._decoded is small
    photo.aligned_faces(pictures.CROP_LANDMARKS[None], pictures.CROP_LANDMARKS, 112)
    assert photo._decoded is not small


def test_a_thumbnail_is_a_small_jpeg_without_exif(tmp_path: Path) -> None:
    path = pictures.written(tmp_path / "photo.jpg", pictures.taken(pictures.rocket(), "2019:07:21 16:05:09"))
    small = Image.open(BytesIO(photos.thumbnail(path, 160)))
    assert (small.format, small.size, dict(small.getexif())) == ("JPEG", (160, 106), {})


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP"):
        path = pictures.written(tmp_path / kind, pictures.animation(frames, kind))
        assert pictures.mean_difference(photos.clip_view(path)[1], constant((255, 0, 0))) < 2


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("L", 90, "JPEG", (90, 90, 90)),
        ("LA", (0, 0), "PNG", (255, 255, 255)),
        ("RGBA", (255, 0, 0, 128), "PNG", (255, 127, 127)),
        ("RGBA", (0, 0, 0, 0), "WEBP", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),  # stored inverted, as Adobe does
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("I;16", 32768, "PNG", (128, 128, 128)),
        ("I;16", 32768, "TIFF", (128, 128, 128)),
        ("I;16B", 32768, "TIFF", (128, 128, 128)),
        ("I", 65535, "TIFF", (255, 255, 255)),
        ("F", 0.5, "TIFF", (128, 128, 128)),
        ("F", 100.0, "TIFF", (100, 100, 100)),
        ("YCbCr", (76, 85, 255), "TIFF", (254, 0, 0)),
    ],
)
def test_every_kind_of_pixel_becomes_8_bit_rgb(
    tmp_path: Path, mode: str, colour: float | tuple[int, ...], kind: str, expected: tuple[int, int, int]
) -> None:
    picture = Image.new(mode, (40, 30), colour)
    path = pictures.written(tmp_path / "photo", pictures.encoded(picture, kind))
    assert pictures.mean_difference(photos.clip_view(path)[1], constant(expected)) < 2


def test_a_palette_with_a_transparent_colour_lies_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (40, 30), 0)
    picture.putpalette([0, 0, 0, 0, 128, 0])
    picture.paste(1, (20, 0, 40, 30))
    path = pictures.written(tmp_path / "photo.png", pictures.encoded(picture, "PNG", transparency=0))
    _, view, _ = photos.detection_view(path, 100)
    assert (view[0, 0].tolist(), view[0, 39].tolist()) == ([255, 255, 255], [0, 128, 0])


def open_clip_view(path: bytes) -> NDArray[np.uint8]:
    from open_clip.transform import image_transform  # takes seconds

    resize, crop = image_transform(224, is_train=False).transforms[:2]
    return np.asarray(crop(resize(Image.open(path.decode()).convert("RGB"))))


def scene_face(path: bytes) -> NDArray[np.uint8]:
    return photos.aligned_faces(path, SCENE_LANDMARKS, pictures.CROP_LANDMARKS, 112)


def constant(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((224, 224, 3), colour, dtype=np.uint8)


def decoded(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(content)))
