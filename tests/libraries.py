"""Small photo libraries for tests of whole runs, made at run time: quick to decode, with people who recur."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests import pictures
from tests.engines import FRAME

WIDTH_PX, HEIGHT_PX = 320, 240
FACE_PX = 72
_FRAME_PX = 4
_PLACES = ((12, 20), (120, 100), (232, 160))  # left, top of up to three faces in a photo


def photo(number: int, people: tuple[int, ...] = ()) -> Image.Image:
    """Photo `number`, 320 × 240 px RGB, showing these people; equal arguments give equal pixels."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(60, 200, (6, 8, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC)).copy()
    for (left, top), person in zip(_PLACES, people, strict=False):
        pixels[top : top + FACE_PX, left : left + FACE_PX] = _planted(person, rng)
    return Image.fromarray(pixels)


def _planted(person: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A framed square, (72, 72, 3) uint8: the person's own pattern, a little different in every photo."""
    inner = FACE_PX - 2 * _FRAME_PX
    pattern = np.random.default_rng(1_000 + person).integers(40, 216, (8, 8, 3))
    pattern = pattern + rng.integers(-12, 13, pattern.shape)
    face = np.empty((FACE_PX, FACE_PX, 3), np.uint8)
    face[:] = FRAME
    enlarged = np.kron(pattern, np.ones((inner // 8, inner // 8, 1))).astype(np.uint8)
    face[_FRAME_PX:-_FRAME_PX, _FRAME_PX:-_FRAME_PX] = enlarged
    return face


def write_photo(path: Path, number: int, people: tuple[int, ...] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(number, people).save(path, "PNG", compress_level=1)


def write_photos(folder: Path, count: int, people: int = 4) -> Path:
    """`count` photos in two folders, each showing one of the people, every third one two; returns `folder`."""
    for i in range(count):
        shown = (i % people, (i + 1) % people) if i % 3 == 0 else (i % people,)
        write_photo(folder / ("a" if i % 2 else "b") / f"photo {i:03}.png", i, shown)
    return folder


def write_broken(folder: Path) -> None:
    """Three files that are no pictures, each in its way."""
    good = pictures.encoded(photo(1))
    (folder / "cut off.jpg").write_bytes(good[: len(good) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"no picture at all")
