"""Photos as the steps and the API need them: read once, decoded no larger than needed, turned upright.

Everything here decodes untrusted files in this very process; workers call it through `trainyard.decoders`,
which puts a child process, a time limit and a memory limit around it. Paths are bytes: any file name will do.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainyard.photo_errors import PHOTO_ERROR_CODES, PhotoError, PhotoErrorCode
from trainyard.photo_formats import MAX_PIXELS
from trainyard.photo_geometry import Box
from trainyard.photo_views import CLIP_SIDE_PX, Photo, PhotoFacts

__all__ = [
    "CLIP_SIDE_PX",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "PHOTO_ERROR_CODES",
    "Box",
    "Photo",
    "PhotoError",
    "PhotoErrorCode",
    "PhotoFacts",
    "aligned_faces",
    "clip_view",
    "detection_view",
    "face_thumbnail",
    "thumbnail",
]

IMAGE_SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif")
)


def clip_view(path: bytes) -> tuple[PhotoFacts, NDArray[np.uint8]]:
    """What a CLIP network sees: (224, 224, 3) uint8 RGB, upright, as open_clip's preprocessing cuts it.

    The shortest side is resized to 224 px (bicubic) and the centre cut out. JPEGs are decoded at the smallest
    size with 672 px on the shortest side. Raises PhotoError, and OSError where the system is at fault.
    """
    return Photo.read(path).clip_view()


def detection_view(path: bytes, side_px: int) -> tuple[PhotoFacts, NDArray[np.uint8], float]:
    """What a face detector sees: (h, w, 3) uint8 RGB, upright, fitted into `side_px` squared, never enlarged.

    The third value is the scale, full-size px per view px, at least 1 and exactly the same on both axes: view
    (x, y) is full-size (x × scale, y × scale) with pixel edges at whole numbers. For that the view may leave
    out less than one of its px at the right or lower edge. Raises as `clip_view`.
    """
    return Photo.read(path).detection_view(side_px)


def aligned_faces(
    path: bytes, landmarks: NDArray[np.float32], crop_landmarks: NDArray[np.float32], crop_side_px: int
) -> NDArray[np.uint8]:
    """Faces turned and scaled so that their landmarks lie on `crop_landmarks`: (n, s, s, 3) uint8 RGB.

    `landmarks` (n, 5, 2) float32 are upright full-size px, `crop_landmarks` (5, 2) float32 px of a crop with
    side s = `crop_side_px`; both count pixel centres at whole numbers. The picture is decoded once, at the
    smallest size in which every aligned face still has s px, or at full size. Outside the picture is black.
    Raises as `clip_view`, and ValueError for landmarks that are one point or not finite.
    """
    return Photo.read(path).aligned_faces(landmarks, crop_landmarks, crop_side_px)


def thumbnail(path: bytes, side_px: int) -> bytes:
    """An upright JPEG fitted into `side_px` squared, never enlarged, without EXIF. Raises as `clip_view`."""
    return Photo.read(path).thumbnail(side_px)


def face_thumbnail(path: bytes, box: Box, side_px: int) -> bytes:
    """An upright JPEG, square and without EXIF, of the face in `box` with a margin around it.

    `box` is left, top, right, bottom in upright full-size px. At the picture's edge the square is moved inside; it is
    of `side_px` at most, never enlarged, and of a picture decoded no larger than that takes. Raises as `clip_view`,
    and ValueError for a box that is none.
    """
    return Photo.read(path).face_thumbnail(box, side_px)
