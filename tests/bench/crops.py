"""The same faces cut from what our decoding left of a photo, and from all of its pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.engines.insightface import InsightFaceEngine
from tests.pictures import mean_difference
from trainyard import photos
from trainyard.photo_geometry import edges_from_centres, inverse, similarity, warp

SAME_FACE_OVERLAP = 0.5  # intersection over union of two boxes


@dataclass(frozen=True)
class Pair:
    """One face, found by us in a smaller picture and by the loop in the full one."""

    ours: NDArray[np.uint8]
    full: NDArray[np.uint8]  # along the landmarks found in full size
    same: NDArray[np.uint8]  # from full size too, along our landmarks: only decoding differs

    @property
    def difference(self) -> float:
        return mean_difference(self.ours, self.full)

    @property
    def decoding_difference(self) -> float:
        return mean_difference(self.ours, self.same)


def full_size_bgr(path: bytes) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.imread(path.decode()), np.uint8)


def crop_pairs(
    engine: InsightFaceEngine, path: bytes, find: Callable[[NDArray[np.uint8]], list[Any]] | None
) -> list[Pair]:
    """The photo's faces, those of full size along the landmarks that `find` (FaceAnalysis.get) gives them there.

    Without `find` along our own: a fake detector's landmarks lie on a grid, and another cell is no crop's error.
    """
    _, view, scale = photos.detection_view(path, engine.detect_side_px)
    detected = engine.detect(view, 0.5)
    if not detected:
        return []
    landmarks = np.stack([face.landmarks for face in detected]) * np.float32(scale)
    crops = photos.aligned_faces(path, landmarks, engine.crop_landmarks, engine.crop_side_px)
    picture = full_size_bgr(path)
    same = [_full_size_crop(picture, points, engine) for points in landmarks]
    if find is None:
        return [Pair(crop, full, full) for crop, full in zip(crops, same, strict=True)]
    found = find(picture)
    matches = [_match(np.array(face.box) * scale, found) for face in detected]
    return [
        Pair(crop, _full_size_crop(picture, match.kps, engine), ours)
        for crop, ours, match in zip(crops, same, matches, strict=True)
        if match is not None
    ]


def _match(box: NDArray[Any], found: list[Any]) -> Any:
    """The face that lies where ours does; None without one."""
    best = max(found, key=lambda other: overlap(box, other.bbox), default=None)
    return best if best is not None and overlap(box, best.bbox) >= SAME_FACE_OVERLAP else None


def _full_size_crop(
    picture: NDArray[np.uint8], landmarks: NDArray[np.float32], engine: InsightFaceEngine
) -> NDArray[np.uint8]:
    """From every pixel of the full picture, averaged where several make one: skipping some would compare noise."""
    source_from_crop = inverse(edges_from_centres(similarity(landmarks, engine.crop_landmarks)))
    return warp(Image.fromarray(np.ascontiguousarray(picture[..., ::-1])), source_from_crop, engine.crop_side_px)


def overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (sides <= 0).any():
        return 0.0
    shared = float(sides.prod())
    return shared / (float((one[2:] - one[:2]).prod()) + float((other[2:] - other[:2]).prod()) - shared)
