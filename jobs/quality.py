"""How good a face is for recognising somebody: one number from size, sharpness, pose and confidence.

    quality = size × sharpness × √frontality × √confidence        (each 0..1)

- size: √((side − 20) / 80), so 0 up to 20 px, 1 from 100 px on (shorter side of the box, full-size px);
  the root because a recogniser gains more from 20 to 60 px than from 60 to 100.
- sharpness: 1 − exp(−V / 60), V the variance of the Laplacian (4 neighbours) of the aligned face in grey at
  112 × 112 px. Measured on the real faces of 90 to 110 px in insightface's and scikit-image's pictures: V 60
  to 630; after a Gaussian blur of 3 px 3 to 11; shrunk to 20 px 14 to 30.
- frontality and confidence come from the engine. Under their roots a half-turned or doubtful face is only
  lowered, while a tiny or blurred one is ruled out.

A sharp, frontal face of 100 px scores at least 0.5; one of 20 px, or strongly blurred, below 0.3, the least
that grouping takes.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MIN_SIDE_PX = 20.0
FULL_SIDE_PX = 100.0
SHARPNESS_SCALE = 60.0
_SHARPNESS_SIDE_PX = 112


def quality_score(box_side_px: float, crop: NDArray[np.uint8], frontality: float, confidence: float) -> float:
    """Quality 0..1 of one face (see the module's formula).

    `box_side_px` is the box's shorter side in full-size pixels, `crop` the aligned face, (s, s, 3) uint8 RGB;
    `frontality` and `confidence`, 0..1, are the detected face's.
    """
    pose = _clip01(frontality) ** 0.5
    certainty = _clip01(confidence) ** 0.5
    return size_score(box_side_px) * sharpness_score(crop) * pose * certainty


def size_score(box_side_px: float) -> float:
    """0 up to 20 px, 1 from 100 px on."""
    return _clip01((box_side_px - MIN_SIDE_PX) / (FULL_SIDE_PX - MIN_SIDE_PX)) ** 0.5


def sharpness_score(crop: NDArray[np.uint8]) -> float:
    """0..1 from `laplacian_variance`."""
    return float(1 - np.exp(-laplacian_variance(crop) / SHARPNESS_SCALE))


def laplacian_variance(crop: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of an aligned face, (s, s, 3) uint8 RGB, in squared grey levels.

    Engines align to different sides; the Laplacian depends on the scale, so all are brought to 112 px first.
    """
    grey = Image.fromarray(crop).convert("L")
    side = (_SHARPNESS_SIDE_PX, _SHARPNESS_SIDE_PX)
    pixels = np.asarray(grey.resize(side, Image.Resampling.BOX) if grey.size != side else grey, np.float32)
    neighbours = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    return float(np.var(neighbours - 4 * pixels[1:-1, 1:-1]))


def frontality(
    left_eye: NDArray[np.float32],
    right_eye: NDArray[np.float32],
    nose: NDArray[np.float32],
    profile_offset: float,
) -> float:
    """How straight a face looks into the camera, 0..1, from three points, each (2,), in any pixels.

    Seen from the front the nose lies half way between the eyes, measured along the line through them; turning
    the head by θ moves it by (depth / eye distance) · tan θ of that line. 1 half way, 0 from `profile_offset`
    (in eye distances) on, which the engine chooses for about 65 degrees: 0.5 for the base of the nose (15 mm
    before the eyes, which are 63 mm apart), 1.0 for its tip (30 mm). Tilting the head changes nothing.
    """
    axis = np.asarray(right_eye, np.float64) - left_eye
    length_squared = float(axis @ axis)
    if length_squared == 0:
        return 0.0
    along = float((np.asarray(nose, np.float64) - left_eye) @ axis) / length_squared
    return _clip01(1 - abs(along - 0.5) / profile_offset)


def _clip01(value: float) -> float:
    return min(1.0, max(0.0, float(value)))
