"""What a photo's EXIF says of its orientation and time; rubbish in it is no reason to refuse a photo."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from PIL import ExifTags, Image

_YEARS: Final = range(1800, 2201)  # earlier and later ones are a camera's unset clock or rubbish


def orientation_of(picture: Image.Image) -> int:
    """How the stored pixels are turned: EXIF orientation 1..8, 1 where there is none or it is rubbish."""
    value = _exif(picture).get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def taken_at(picture: Image.Image) -> datetime | None:
    """What the camera's clock showed (DateTimeOriginal), as if it were UTC; None for none or rubbish.

    Not the instant: most cameras do not say their offset, and a day is the one that the people in the photo had.
    """
    moment = _moment(_exif_ifd(picture).get(ExifTags.Base.DateTimeOriginal))
    return moment.replace(tzinfo=UTC) if moment is not None and moment.year in _YEARS else None


def _exif(picture: Image.Image) -> Mapping[int, Any]:
    try:
        return picture.getexif()
    except Exception:  # a block of someone's bytes, parsed in many ways
        return {}


def _exif_ifd(picture: Image.Image) -> Mapping[int, Any]:
    try:
        return picture.getexif().get_ifd(ExifTags.IFD.Exif)
    except Exception:  # as above
        return {}


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.strptime(value.strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
