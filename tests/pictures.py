"""Pictures for tests: real ones that installed packages ship, and files made of them at run time."""

import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import insightface
import numpy as np
import pillow_heif
import skimage.data
from numpy.typing import NDArray
from PIL import ExifTags, Image

pillow_heif.register_heif_opener(decode_threads=1)

# The five landmarks (eyes, nose, corners of the mouth) of the six people in insightface's t1.jpg, in px, as
# dlib's 68-point predictor finds them.
GROUP_LANDMARKS: NDArray[np.float32] = np.array(
    [
        [(88, 330), (128, 310), (118, 337), (114, 372), (148, 352)],
        [(761, 399), (801, 404), (771, 431), (763, 436), (808, 441)],
        [(1149, 328), (1192, 325), (1164, 348), (1153, 367), (1197, 364)],
        [(491, 321), (540, 334), (509, 365), (481, 368), (531, 380)],
        [(292, 213), (321, 195), (302, 229), (312, 248), (338, 234)],
        [(917, 120), (950, 115), (923, 148), (932, 179), (958, 170)],
    ],
    dtype=np.float32,
)

# Where ArcFace wants them in a crop of 112 px (insightface.utils.face_align.arcface_dst).
CROP_LANDMARKS: NDArray[np.float32] = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)],
    dtype=np.float32,
)

# EXIF orientation -> how an upright picture is turned before it is stored so.
_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@cache
def group_photo() -> Image.Image:
    """Six people, 1280 × 886 px, RGB."""
    return _loaded(_insightface_images() / "t1.jpg")


@cache
def portrait() -> Image.Image:
    """One aligned face, 112 × 112 px, RGB."""
    return _loaded(_insightface_images() / "Tom_Hanks_54745.png")


@cache
def astronaut() -> Image.Image:
    """A person, 512 × 512 px, RGB."""
    return Image.fromarray(skimage.data.astronaut())


@cache
def chelsea() -> Image.Image:
    """A cat, 451 × 300 px, RGB."""
    return Image.fromarray(skimage.data.chelsea())


@cache
def coffee() -> Image.Image:
    """A cup, 600 × 400 px, RGB."""
    return Image.fromarray(skimage.data.coffee())


@cache
def rocket() -> Image.Image:
    """A rocket, 640 × 427 px, RGB."""
    return Image.fromarray(skimage.data.rocket())


def enlarged(picture: Image.Image, megapixels: float) -> Image.Image:
    """`picture` at about that many million px."""
    factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """`picture` as a file's bytes, `kind` and `options` being those of Pillow's save."""
    content = BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def written(path: Path, content: bytes) -> bytes:
    """Writes `content` there and returns the path as bytes."""
    path.write_bytes(content)
    return bytes(path)


def oriented(picture: Image.Image, orientation: int, kind: str = "JPEG", **options: Any) -> bytes:
    """A file that shows the upright `picture` once its EXIF orientation is followed."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turn = _STORED[orientation]
    stored = picture if turn is None else picture.transpose(turn)
    return encoded(stored, kind, exif=exif.tobytes(), **options)  # HEIF takes bytes only


def taken(picture: Image.Image, moment: str, offset: str | None = None) -> bytes:
    """A JPEG whose EXIF holds `moment` as DateTimeOriginal, and `offset` as its OffsetTimeOriginal."""
    exif = Image.Exif()
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    tags[ExifTags.Base.DateTimeOriginal] = moment
    if offset is not None:
        tags[ExifTags.Base.OffsetTimeOriginal] = offset
    return encoded(picture, exif=exif)


def black_png(width: int, height: int) -> bytes:
    """A valid PNG of 1-bit black: large when decoded, a few kB as a file."""
    row = bytes(1 + (width + 7) // 8)
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(row * min(1000, height - done)) for done in range(0, height, 1000))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels + packer.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def animation(frames: list[Image.Image], kind: str = "GIF") -> bytes:
    """An animated picture of these frames."""
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean absolute difference of two pictures, of 255."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


def _insightface_images() -> Path:
    return Path(insightface.__file__).parent / "data" / "images"


def _loaded(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
