"""What a photo's EXIF says of its orientation and time; rubbish in it is no reason to refuse a photo."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from PIL import ExifTags, Image

_YEARS: Final = range(1800, 2201)  # earlier and later ones are a camera's unset clock or rubbish
_OFFSET: Final = re.compile(r"([+-])(\d\d):(\d\d)")


def orientation_of(picture: Image.Image) -> int:
    """How the stored pixels are turned: EXIF orientation 1..8, 1 where there is none or it is rubbish."""
    value = _exif(picture).get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def taken_at(picture: Image.Image) -> datetime | None:
    """DateTimeOriginal with its OffsetTimeOriginal, or taken for UTC without; None for none or rubbish."""
    tags = _exif_ifd(picture)
    moment = _moment(tags.get(ExifTags.Base.DateTimeOriginal))
    if moment is None or moment.year not in _YEARS:
        return None
    return moment.replace(tzinfo=_offset(tags.get(ExifTags.Base.OffsetTimeOriginal)))


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


def _offset(value: object) -> timezone:
    match = _OFFSET.fullmatch(value.strip("\0 ")) if isinstance(value, str) else None
    if match is None or int(match[2]) > 23 or int(match[3]) > 59:
        return UTC
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset)
