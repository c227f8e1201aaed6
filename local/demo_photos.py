"""The demo's photo library: real pictures that installed packages ship, and files that are broken on purpose.

So that people recur, the eight faces in them are photographed again: cut out, enlarged, turned, lit otherwise,
mirrored and saved anew. No new picture of anybody is made. The same files come out every time; a file that is
there already is left alone, so that a second run finds nothing new.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from io import BytesIO
from math import cos, radians, sin
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageEnhance, ImageFilter

INSIGHTFACE = "insightface/data/images"
SCIKIT_IMAGE = "skimage/data"

PEOPLE, SIGHTS, BROKEN = "people", "sights & things", "broken"


@dataclass(frozen=True)
class Face:
    """Where a person's face is: a picture of a package, and the box (left, top, right, bottom) in its px."""

    person: str
    picture: str
    box: tuple[int, int, int, int]


# Boxes as dlib's detector finds them.
FACES = (
    Face("person 1", f"{INSIGHTFACE}/t1.jpg", (67, 283, 176, 391)),
    Face("person 2", f"{INSIGHTFACE}/t1.jpg", (275, 176, 365, 266)),
    Face("person 3", f"{INSIGHTFACE}/t1.jpg", (450, 295, 558, 403)),
    Face("person 4", f"{INSIGHTFACE}/t1.jpg", (724, 367, 833, 475)),
    Face("person 5", f"{INSIGHTFACE}/t1.jpg", (870, 67, 1000, 197)),
    Face("person 6", f"{INSIGHTFACE}/t1.jpg", (1118, 283, 1227, 391)),
    Face("person 7", f"{SCIKIT_IMAGE}/astronaut.png", (175, 76, 266, 167)),
    Face("person 8", f"{INSIGHTFACE}/Tom_Hanks_54745.png", (6, 26, 97, 117)),
)


@dataclass(frozen=True)
class Retake:
    """How a face is photographed again. `face_px` is the face's side in the new photo, `turn` is in degrees."""

    name: str
    face_px: int
    turn: float = 0.0
    brightness: float = 1.0
    mirrored: bool = False
    quality: int = 90
    orientation: int = 1  # as EXIF has it: 6 and 8 are how a camera held upright stores its photos


RETAKES = (
    Retake("portrait.jpg", 200),
    Retake("brighter.jpg", 260, turn=4, brightness=1.25, quality=80),
    Retake("darker.webp", 170, turn=-4, brightness=0.75, quality=85),
    Retake("mirrored.jpg", 230, turn=2, brightness=1.1, mirrored=True, orientation=6),
)
FACE_OF_PHOTO = 0.4  # a face's share of the width of a retake

# Pictures of no people, as they are shipped.
SIGHTS_SHIPPED = (
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "chessboard_RGB.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "color.png",
    "grass.png",
    "gravel.png",
    "horse.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "logo.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "no_time_for_that_tiny.gif",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)

Maker = Callable[[], bytes]


class DemoPicturesMissing(Exception):
    """A package that ships the demo's pictures is not installed."""


def gather(folder: Path) -> list[Path]:
    """Make what is missing of the demo's library in `folder`; returns the files that were written now."""
    written = []
    for name, make in library():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, make())
            written.append(path)
    return written


def library() -> Iterator[tuple[str, Maker]]:
    """Every file of the library: its path in it, and what makes its bytes."""
    yield f"{PEOPLE}/group.jpg", shipped(f"{INSIGHTFACE}/t1.jpg").read_bytes
    yield f"{PEOPLE}/group enlarged.jpg", _enlarged_group
    yield f"{PEOPLE}/group out of focus.jpg", _blurred_group
    yield f"{PEOPLE}/astronaut.png", shipped(f"{SCIKIT_IMAGE}/astronaut.png").read_bytes
    yield f"{PEOPLE}/small portrait.png", shipped(f"{INSIGHTFACE}/Tom_Hanks_54745.png").read_bytes
    for face in FACES:
        for take in RETAKES:
            yield f"{PEOPLE}/{face.person} {take.name}", partial(retake, face, take)
    for name in SIGHTS_SHIPPED:
        yield f"{SIGHTS}/{name}", shipped(f"{SCIKIT_IMAGE}/{name}").read_bytes
    yield from _broken()


def _broken() -> Iterator[tuple[str, Maker]]:
    """Four files that fail, each in its own way, and two that are no photos by their names."""
    yield f"{BROKEN}/half a photo.jpg", lambda: _half(retake(FACES[0], RETAKES[0]))
    yield f"{BROKEN}/letter.jpg", lambda: b"Dear diary, this is no photo at all.\n" * 20
    yield f"{BROKEN}/nothing.jpg", lambda: b""
    yield f"{BROKEN}/huge.png", lambda: black_png(20_000, 20_000)
    yield f"{BROKEN}/film.mp4", lambda: b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(1000)
    yield f"{BROKEN}/raw.cr2", lambda: b"II*\0\x10\0\0\0CR\x02\0" + bytes(1000)


def retake(face: Face, take: Retake) -> bytes:
    """A photo of a face, as a file's bytes."""
    photo = _cut(_picture(face.picture), face.box, take)
    photo = ImageEnhance.Brightness(photo).enhance(take.brightness)
    if take.mirrored:
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = take.orientation
    if take.orientation == 6:
        photo = photo.transpose(Image.Transpose.ROTATE_90)  # viewers turn it back, clockwise
    kind = "WEBP" if take.name.endswith(".webp") else "JPEG"
    return _encoded(photo, kind, quality=take.quality, exif=exif)


def _cut(picture: Image.Image, box: tuple[int, int, int, int], take: Retake) -> Image.Image:
    """What is around the face, square, turned about the face's middle; beyond the picture's edge is grey."""
    left, top, right, bottom = box
    scale = (right - left) / take.face_px  # picture px per photo px: enlarging only, so bicubic suffices
    side_px = round(take.face_px / FACE_OF_PHOTO)
    a, b = scale * cos(radians(take.turn)), scale * sin(radians(take.turn))
    x, y, half = (left + right) / 2, (top + bottom) / 2, side_px / 2
    affine = (a, b, x - (a + b) * half, -b, a, y - (a - b) * half)
    grey = (128, 128, 128)
    return picture.transform(
        (side_px, side_px), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC, fillcolor=grey
    )


def _enlarged_group() -> bytes:
    picture = _picture(f"{INSIGHTFACE}/t1.jpg")
    return _encoded(picture.resize((2560, 1772), Image.Resampling.BICUBIC), "JPEG", quality=85)


def _blurred_group() -> bytes:
    """Too poor to be grouped; once people are named, some of them are known in it, and some are asked about."""
    picture = _picture(f"{INSIGHTFACE}/t1.jpg").filter(ImageFilter.GaussianBlur(3))
    return _encoded(picture, "JPEG", quality=85)


def black_png(width: int, height: int) -> bytes:
    """A valid PNG of 1-bit black: more pixels than are ever decoded, in a few kB."""
    row = bytes(1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


@cache
def _picture(name: str) -> Image.Image:
    with Image.open(shipped(name)) as picture:
        return picture.convert("RGB")


def shipped(name: str) -> Path:
    """A file of an installed package, found without importing it. Raises DemoPicturesMissing."""
    package, _, inside = name.partition("/")
    spec = find_spec(package)
    path = Path(spec.submodule_search_locations[0]) / inside if spec and spec.submodule_search_locations else None
    if path is None or not path.is_file():
        raise DemoPicturesMissing(f"The demo's picture {name} is not installed. Type: pip install 'trainyard[dev]'")
    return path


def _write_whole(path: Path, content: bytes) -> None:
    """By a rename, so that a demo that is interrupted leaves no half of a file."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    os.replace(draft, path)
