"""Opens and decodes a photo's bytes into 8-bit RGB, and says which error it is when that fails."""

import warnings
from io import BytesIO
from typing import Final

import numpy as np
import pillow_heif
from PIL import AvifImagePlugin, Image, ImageFile

from trainyard.photo_errors import PhotoError

MAX_PIXELS: Final = 250_000_000  # 1 GB decoded (Pillow keeps 4 bytes a pixel), half of a decoder's memory

# The limit is ours, and taken from the header before anything is decoded; Pillow's own, at 89 million pixels,
# would refuse panoramas.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# One thread a decoder: as many decoders run as there are cores.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pillow_heif.register_heif_opener(decode_threads=1)
Image.preinit()
Image.init()

# Pillow's names. AVIF stands before HEIF: both take the brand "mif1", and only AVIF's reader refuses at once
# what it cannot decode.
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")

# (offset, signature, name) of pictures and films that are often met under a photo's name.
_OTHER_FORMATS: Final = (
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\x00\x00\x01\x00", "Windows icon"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"<svg", "SVG"),
    (0, b"qoif", "QOI"),
    (0, b"DDS ", "DDS"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"FUJIFILM", "camera RAW"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM film"),
    (4, b"ftypcrx", "camera RAW"),
    (4, b"ftyp", "film"),
    (8, b"AVI ", "AVI film"),
)
_NOT_OURS: Final = "save it as JPEG, PNG, WebP, TIFF, HEIC or AVIF."
_DAMAGED: Final = "The picture is damaged or ends too early; restore the file from a copy."
_LACKING: Final = (
    "cannot handle",
    "unsupported",
    "not supported",
    "unrecognized",
    "unknown",
    "conversion from",
)


def open_picture(content: bytes) -> ImageFile.ImageFile:
    """The picture in `content`, its header read and its size checked, nothing decoded yet.

    Raises PhotoError (truncated, not_an_image, unsupported, too_large).
    """
    if not content:
        raise PhotoError("truncated", "The file is empty; restore it from a copy.")
    try:
        picture = _identify(content)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels("more than 500 million pixels") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(f"{width:,} × {height:,} pixels")
    return picture


def _too_many_pixels(size: str) -> PhotoError:
    limit = f"{MAX_PIXELS // 1_000_000} million pixels"
    return PhotoError("too_large", f"The picture has {size}, more than the limit of {limit}; save a smaller copy.")


def _identify(content: bytes) -> ImageFile.ImageFile:
    """Asks each reader that knows the first bytes. Image.open does so too, but hides why a reader failed."""
    prefix = content[:16]
    failure: Exception | None = None
    for name in _FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(prefix) is not True:
            continue
        try:
            return factory(BytesIO(content), "")
        except (MemoryError, Image.DecompressionBombError):
            raise
        except Exception as error:  # from bytes in memory: whatever it is, it speaks of these bytes
            failure = error
    if failure is None:
        raise _not_ours(content)
    raise _undecodable(failure) from failure


def _not_ours(content: bytes) -> PhotoError:
    for offset, signature, name in _OTHER_FORMATS:
        if content.startswith(signature, offset):
            return PhotoError("unsupported", f"This is a file of the kind {name}, which is not read; {_NOT_OURS}")
    return PhotoError("not_an_image", "The content is not that of an image; remove the file or restore the photo.")


def _undecodable(failure: Exception) -> PhotoError:
    text = str(failure).lower()
    if isinstance(failure, NotImplementedError) or any(word in text for word in _LACKING):
        return PhotoError("unsupported", f"This variant of the format cannot be decoded; {_NOT_OURS}")
    return PhotoError("truncated", _DAMAGED)


def decode_rgb(picture: ImageFile.ImageFile, reduction: int) -> Image.Image:
    """The first frame as 8-bit RGB, not yet turned upright; transparency lies on white.

    `reduction` (1, 2, 4, 8) is the side in full-size px of one decoded px; above 1 it needs `can_reduce`. The
    decoded size is the full size divided by it, rounded up. Raises PhotoError (truncated, unsupported), and
    MemoryError.
    """
    width, height = picture.size
    try:
        if reduction > 1:
            picture.draft(None, (width // reduction, height // reduction))
        _refuse_zero_filled_jpeg(picture)
        picture.load()
        return _to_rgb(picture)
    except (MemoryError, PhotoError):
        raise
    except Exception as error:  # from bytes in memory: whatever it is, it speaks of these bytes
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        raise _undecodable(error) from error


def can_reduce(picture: ImageFile.ImageFile) -> bool:
    """Whether the format decodes straight to a half, quarter or eighth of its size (JPEG alone)."""
    return picture.format in ("JPEG", "MPO")


def _refuse_zero_filled_jpeg(picture: ImageFile.ImageFile) -> None:
    """A copy that broke off after its space was set aside ends in zeros; libjpeg decodes them to grey."""
    if not can_reduce(picture) or not isinstance(picture.fp, BytesIO):
        return
    content = picture.fp.getvalue()
    if content.endswith(bytes(64)) and content.find(b"\xff\xd9", picture.fp.tell()) < 0:
        raise PhotoError("truncated", _DAMAGED)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode[0] in "IF":
        return _grey_from_numbers(np.asarray(picture)).convert("RGB")
    if picture.has_transparency_data:
        return _onto_white(picture.convert("RGBA"))
    return picture.convert("RGB")


def _onto_white(picture: Image.Image) -> Image.Image:
    white = Image.new("RGB", picture.size, (255, 255, 255))
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def _grey_from_numbers(values: np.ndarray) -> Image.Image:
    """8-bit grey from 16-bit, 32-bit or floating-point grey; Pillow's own conversion cuts off at 255."""
    if values.dtype.itemsize == 2:
        return Image.fromarray((values >> 8).astype(np.uint8))
    numbers = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = _number_range(numbers)
    return Image.fromarray(((numbers - low) * (255.0 / (high - low)) + 0.5).clip(0, 255).astype(np.uint8))


def _number_range(numbers: np.ndarray) -> tuple[float, float]:
    """The usual range (0..1, 0..255, 0..65535) that holds all values, else the values' own."""
    low, high = float(numbers.min()), float(numbers.max())
    usual = (top for top in (1.0, 255.0, 65535.0) if low >= 0 and high <= top)
    return next(((0.0, top) for top in usual), (low, max(high, low + 1.0)))
