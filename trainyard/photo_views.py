"""One photo: decoded no larger than a view of it needs, and its views made upright."""

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainyard.photo_exif import orientation_of, taken_at
from trainyard.photo_files import PhotoFile, read_photo_file
from trainyard.photo_formats import can_reduce, decode_rgb, open_picture
from trainyard.photo_geometry import (
    UPRIGHT,
    Affine,
    Box,
    apply,
    compose,
    edges_from_centres,
    face_square,
    face_square_side,
    inverse,
    scale_of,
    similarity,
    stored_from_upright,
    warp,
)

CLIP_SIDE_PX: Final = 224  # what ViT-B-32 takes

# How many decoded px a CLIP view's px has at least. Decoding a 12 MP JPEG straight to 3 × 224 px takes a
# fifth of the time of a full decode, and the view differs from that of a full one by 0.3 of 255 in the mean.
_CLIP_OVERSAMPLING: Final = 3
# Pictures that cannot be decoded smaller are averaged down to this many times the view before the bicubic
# resize; Pillow documents 3 as indistinguishable from a resize of all pixels.
_REDUCING_GAP: Final = 3.0
_THUMBNAIL_QUALITY: Final = 85


@dataclass(frozen=True)
class PhotoFacts:
    """What is stored of a photo: of the file's bytes, and of the upright full-size picture."""

    sha256: bytes  # 32 bytes, over the file's bytes
    size_bytes: int
    mtime_ns: int
    width: int  # px, upright, full size
    height: int
    taken_at: datetime | None  # EXIF DateTimeOriginal, what the camera's clock showed, as if it were UTC


@dataclass(frozen=True)
class _Decoded:
    """`picture` is RGB as stored, not turned upright; each px of it is `reduction` full-size px squared."""

    picture: Image.Image
    reduction: int
    orientation: int
    facts: PhotoFacts


class Photo:
    """One photo's bytes, and what was decoded of them last: used again where it has pixels enough."""

    def __init__(self, file: PhotoFile) -> None:
        self._file = file
        self._opened = open_picture(file.content)
        self._stored_size = self._opened.size
        self._reducible = can_reduce(self._opened)
        self._decoded: _Decoded | None = None

    @classmethod
    def read(cls, path: bytes) -> "Photo":
        """Reads the file at `path`. Raises PhotoError for this file's errors, OSError for the system's."""
        return cls(read_photo_file(path))

    @property
    def size_and_mtime(self) -> tuple[int, int]:
        """Bytes and nanoseconds: while a file keeps both it is taken for unchanged."""
        return len(self._file.content), self._file.mtime_ns

    def clip_view(self) -> tuple[PhotoFacts, NDArray[np.uint8]]:
        """As the function of `trainyard.photos`."""
        wanted = CLIP_SIDE_PX * _CLIP_OVERSAMPLING
        decoded = self._decode(self._reduction(min(self._stored_size) / wanted))
        box = _clip_box(decoded.facts.width, decoded.facts.height)
        return decoded.facts, np.asarray(_resample(decoded, box, (CLIP_SIDE_PX, CLIP_SIDE_PX)))

    def detection_view(self, side_px: int) -> tuple[PhotoFacts, NDArray[np.uint8], float]:
        """As the function of `trainyard.photos`."""
        decoded, view, scale = self._fitted(side_px)
        return decoded.facts, np.asarray(view), scale

    def thumbnail(self, side_px: int) -> bytes:
        """As the function of `trainyard.photos`."""
        return _jpeg(self._fitted(side_px)[1])

    def face_thumbnail(self, box: Box, side_px: int) -> bytes:
        """As the function of `trainyard.photos`."""
        square_px = face_square_side(box, *self._stored_size)
        decoded = self._decode(self._reduction(square_px / side_px))
        square = face_square(box, decoded.facts.width, decoded.facts.height)
        side = max(1, min(side_px, int(square_px + 1e-6)))
        return _jpeg(_resample(decoded, square, (side, side)))

    def aligned_faces(
        self, landmarks: NDArray[np.float32], crop_landmarks: NDArray[np.float32], crop_side_px: int
    ) -> NDArray[np.uint8]:
        """As the function of `trainyard.photos`."""
        crops = np.zeros((len(landmarks), crop_side_px, crop_side_px, 3), dtype=np.uint8)
        alignments = [similarity(face, crop_landmarks) for face in landmarks]
        if not alignments:
            return crops
        decoded = self._decode(self._reduction(1 / max(scale_of(alignment) for alignment in alignments)))
        for crop, alignment in zip(crops, alignments, strict=True):
            crop[:] = warp(decoded.picture, _source_from_crop(decoded, alignment), crop_side_px)
        return crops

    def _fitted(self, side_px: int) -> tuple[_Decoded, Image.Image, float]:
        decoded = self._decode(self._reduction(max(self._stored_size) / side_px))
        width, height = decoded.facts.width, decoded.facts.height
        scale = max(1.0, max(width, height) / side_px)
        size = (max(1, int(width / scale + 1e-6)), max(1, int(height / scale + 1e-6)))
        return decoded, _resample(decoded, (0, 0, size[0] * scale, size[1] * scale), size), scale

    def _reduction(self, most: float) -> int:
        """The greatest reduction, at most `most`, that the format can decode straight to."""
        most = min(most, min(self._stored_size)) if self._reducible else 1
        return next((step for step in (8, 4, 2) if step <= most), 1)

    def _decode(self, reduction: int) -> _Decoded:
        if self._decoded is None or self._decoded.reduction > reduction:
            self._decoded = None  # its memory first
            self._decoded = self._decode_anew(reduction)
        return self._decoded

    def _decode_anew(self, reduction: int) -> _Decoded:
        opened = self._opened if self._opened.fp else open_picture(self._file.content)
        picture = decode_rgb(opened, reduction)
        # Only now: PNG may hold its EXIF behind the pixels, and readers that turn pictures upright themselves
        # (HEIF, TIFF) say so after decoding.
        orientation = orientation_of(opened)
        width, height = self._stored_size if reduction > 1 else picture.size
        if orientation >= 5:
            width, height = height, width
        size_bytes, mtime_ns = self.size_and_mtime
        facts = PhotoFacts(self._file.sha256, size_bytes, mtime_ns, width, height, taken_at(opened))
        return _Decoded(picture, reduction, orientation, facts)


def _jpeg(view: Image.Image) -> bytes:
    content = BytesIO()
    view.save(content, "JPEG", quality=_THUMBNAIL_QUALITY)
    return content.getvalue()


def _clip_box(width: int, height: int) -> tuple[float, float, float, float]:
    """The upright full-size px that open_clip keeps: torchvision's Resize floors the longer side."""
    side, shortest = CLIP_SIDE_PX, min(width, height)
    resized = [side if length == shortest else side * length // shortest for length in (width, height)]
    left, top = (round((length - side) / 2) for length in resized)
    x_scale, y_scale = width / resized[0], height / resized[1]
    return left * x_scale, top * y_scale, (left + side) * x_scale, (top + side) * y_scale


def _resample(decoded: _Decoded, box: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
    """The upright picture of `size` px of what lies in `box` (left, top, right, bottom; full-size px)."""
    corners = apply(_decoded_from_upright(decoded), np.array([box[:2], box[2:]], dtype=np.float64))
    corners = corners.clip(0, decoded.picture.size)  # rounding of the last bit
    stored_box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
    stored_size = size[::-1] if decoded.orientation >= 5 else size
    view = decoded.picture.resize(stored_size, Image.Resampling.BICUBIC, stored_box, _REDUCING_GAP)
    return view.transpose(UPRIGHT[decoded.orientation]) if decoded.orientation in UPRIGHT else view


def _decoded_from_upright(decoded: _Decoded) -> Affine:
    stored = stored_from_upright(decoded.orientation, decoded.facts.width, decoded.facts.height)
    return stored / decoded.reduction


def _source_from_crop(decoded: _Decoded, alignment: Affine) -> Affine:
    """From crop px to decoded px, edges at whole numbers, given the map from landmarks to the crop."""
    return compose(_decoded_from_upright(decoded), inverse(edges_from_centres(alignment)))
