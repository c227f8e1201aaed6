"""Broken, odd and hostile files: each is decoded upright or explained, and the decoder lives on."""

import os
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import pictures
from trainyard.decoders import Decoder
from trainyard.photos import PhotoError

# The formats and, for each, Pillow's options to write it.
KINDS = {
    "JPEG": {},
    "progressive JPEG": {"progressive": True},
    "PNG": {},
    "WEBP": {"quality": 80},
    "lossless WEBP": {"lossless": True},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "compressed TIFF": {"compression": "tiff_lzw"},
    "HEIF": {},
    "AVIF": {},
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


def content_of(kind: str) -> bytes:
    return pictures.encoded(pictures.coffee().resize((240, 160)), kind.split()[-1], **KINDS[kind])


def code_of(decoder: Decoder, path: bytes) -> str:
    with pytest.raises(PhotoError) as caught:
        decoder.clip_view(path)
    message = caught.value.message
    assert message.endswith(".")
    assert os.fsdecode(os.path.basename(path)) not in message
    return caught.value.code


def outcome_of(decoder: Decoder, path: bytes) -> str:
    try:
        decoder.clip_view(path)
    except PhotoError as error:
        return error.code
    return "decoded"


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_cut_at_any_tenth_is_called_truncated(tmp_path: Path, decoder: Decoder, kind: str) -> None:
    content = content_of(kind)
    for tenth in range(1, 10):
        path = pictures.written(tmp_path / f"{tenth}.jpg", content[: len(content) * tenth // 10])
        assert code_of(decoder, path) == "truncated", tenth


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_are_decoded_or_explained(tmp_path: Path, decoder: Decoder, kind: str) -> None:
    content, chance = content_of(kind), random.Random(20)
    for round_number in range(20):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[chance.randrange(len(damaged) if round_number % 2 else 200)] ^= chance.randrange(1, 256)
        outcome = outcome_of(decoder, pictures.written(tmp_path / "damaged", bytes(damaged)))
        assert outcome in {"decoded", "truncated", "not_an_image", "unsupported", "too_large"}


def test_a_jpeg_whose_end_is_filled_with_zeros_is_called_truncated(tmp_path: Path, decoder: Decoder) -> None:
    content = content_of("JPEG")
    half = content[: len(content) // 2]
    path = pictures.written(tmp_path / "photo.jpg", half.ljust(len(content), b"\0"))
    assert code_of(decoder, path) == "truncated"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "truncated"),
        (b"Dear diary, today I took no photos.\n", "not_an_image"),
        (bytes(4096), "not_an_image"),
        (random.Random(1).randbytes(4096), "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(100), "unsupported"),
        (b"8BPS\x00\x01" + bytes(100), "unsupported"),
        (b"\xff\xd8\xff", "truncated"),
    ],
)
def test_what_is_no_photo_is_explained(tmp_path: Path, decoder: Decoder, content: bytes, code: str) -> None:
    assert code_of(decoder, pictures.written(tmp_path / "photo.jpg", content)) == code


def test_another_picture_format_is_unsupported(tmp_path: Path, decoder: Decoder) -> None:
    content = pictures.encoded(pictures.chelsea(), "JPEG2000")
    with pytest.raises(PhotoError, match=r"JPEG 2000.*save it as") as caught:
        decoder.clip_view(pictures.written(tmp_path / "photo.jpg", content))
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_suffix_does_not_matter(tmp_path: Path, decoder: Decoder, kind: str) -> None:
    path = pictures.written(tmp_path / "photo.jpg", content_of(kind))
    assert decoder.clip_view(path)[0].width == 240


def test_more_pixels_than_the_limit_are_refused_before_they_are_decoded(tmp_path: Path, decoder: Decoder) -> None:
    path = pictures.written(tmp_path / "huge.png", pictures.black_png(20_000, 20_000))
    assert code_of(decoder, path) == "too_large"
    jpeg = bytearray(pictures.encoded(Image.new("L", (16, 16))))
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = bytes.fromhex("ea60 ea60")  # 60,000 × 60,000
    assert code_of(decoder, pictures.written(tmp_path / "huge.jpg", bytes(jpeg))) == "too_large"


def test_a_panorama_beyond_pillows_own_limit_is_decoded(tmp_path: Path, decoder: Decoder) -> None:
    path = pictures.written(tmp_path / "panorama.png", pictures.black_png(30_000, 3_200))
    facts, view, scale = decoder.detection_view(path, 640)
    assert (facts.width, facts.height, view.shape, scale) == (30_000, 3_200, (68, 640, 3), 46.875)


def test_a_file_longer_than_any_photo_is_refused_unread(tmp_path: Path, decoder: Decoder) -> None:
    file = tmp_path / "sparse.tif"
    file.touch()
    os.truncate(file, 5 << 30)
    assert code_of(decoder, bytes(file)) == "too_large"


def test_names_may_hold_newlines_quotes_and_other_languages(tmp_path: Path, decoder: Decoder) -> None:
    for name in ("two\nlines.jpg", "\"quoted\" 'twice'.jpg", "Übung 山.jpg", "-rf $HOME `id`;.jpg"):
        path = pictures.written(tmp_path / name, pictures.encoded(pictures.portrait()))
        assert decoder.clip_view(path)[0].width == 112


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes names that are not UTF-8")
def test_names_need_not_be_utf_8(tmp_path: Path, decoder: Decoder) -> None:
    path = bytes(tmp_path) + b"/caf\xe9\xff.jpg"
    pictures.written(Path(os.fsdecode(path)), pictures.encoded(pictures.portrait()))
    assert decoder.detection_view(path, 640)[0].width == 112
    landmarks = pictures.CROP_LANDMARKS[None]
    crops = decoder.aligned_faces(path, landmarks, pictures.CROP_LANDMARKS, 112)
    assert pictures.mean_difference(crops[0], np.asarray(pictures.portrait())) < 3


def test_what_stands_in_the_place_of_a_file_is_unreadable(
    tmp_path: Path, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a socket must be short
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.jpg")
        for name in ("folder.jpg", "pipe.jpg", "loop.jpg", "s.jpg"):
            assert code_of(decoder, bytes(tmp_path / name)) == "unreadable", name
    assert code_of(decoder, b"/dev/null") == "unreadable"
    assert code_of(decoder, bytes(tmp_path / ("x" * 300))) == "unreadable"


def test_a_file_that_is_gone_is_not_found(tmp_path: Path, decoder: Decoder) -> None:
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    for name in ("gone.jpg", "dangling.jpg", "no folder/photo.jpg"):
        assert code_of(decoder, bytes(tmp_path / name)) == "not_found"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(tmp_path: Path, decoder: Decoder) -> None:
    path = pictures.written(tmp_path / "closed.jpg", pictures.encoded(pictures.portrait()))
    os.chmod(path, 0)
    assert code_of(decoder, path) == "unreadable"


def test_a_symbolic_link_to_a_photo_is_followed(tmp_path: Path, decoder: Decoder) -> None:
    pictures.written(tmp_path / "photo.jpg", pictures.encoded(pictures.portrait()))
    (tmp_path / "link.jpg").symlink_to("photo.jpg")
    assert decoder.clip_view(bytes(tmp_path / "link.jpg"))[0].width == 112


def test_photos_are_only_ever_read(tmp_path: Path, decoder: Decoder) -> None:
    file = tmp_path / "photo.jpg"
    path = pictures.written(file, pictures.encoded(pictures.portrait()))
    file.chmod(0o444)
    tmp_path.chmod(0o555)
    before = file.stat()
    decoder.detection_view(path, 640)
    decoder.thumbnail(path, 64)
    after = file.stat()
    tmp_path.chmod(0o755)
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    assert os.listdir(tmp_path) == ["photo.jpg"]
