"""Reference faces: what a face's quality must say, on a real face shipped with scikit-image."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from skimage import data

from jobs.quality import frontality, laplacian_variance, quality_score, size_score

SIDE_PX = 100
# The astronaut's face in the picture of 512 px: its box is about 100 px wide.
FACE_BOX = (172, 68, 284, 180)


def astronaut_face() -> Image.Image:
    return Image.fromarray(data.astronaut()).crop(FACE_BOX)


def crop_of(face: Image.Image, side: int = 112) -> NDArray[np.uint8]:
    return np.asarray(face.resize((side, side), Image.Resampling.BICUBIC))


def shrunk(side: int) -> Image.Image:
    return astronaut_face().resize((side, side), Image.Resampling.LANCZOS)


def test_a_sharp_frontal_face_of_100_px_scores_at_least_half() -> None:
    assert quality_score(SIDE_PX, crop_of(astronaut_face()), 1.0, 0.9) >= 0.5


@pytest.mark.parametrize("side", [10, 20])
def test_a_face_of_20_px_or_less_scores_below_a_third(side: int) -> None:
    assert quality_score(side, crop_of(shrunk(side)), 1.0, 1.0) < 0.3


@pytest.mark.parametrize("blur_px", [2, 3, 6])
def test_a_strongly_blurred_face_scores_below_a_third(blur_px: int) -> None:
    blurred = astronaut_face().filter(ImageFilter.GaussianBlur(blur_px))
    assert quality_score(SIDE_PX, crop_of(blurred), 1.0, 1.0) < 0.3


def test_each_of_size_sharpness_pose_and_confidence_lowers_the_score() -> None:
    sharp = crop_of(astronaut_face())
    soft = crop_of(astronaut_face().filter(ImageFilter.GaussianBlur(1)))
    best = quality_score(SIDE_PX, sharp, 1.0, 1.0)
    assert best <= 1.0
    assert quality_score(50, sharp, 1.0, 1.0) < best
    assert quality_score(SIDE_PX, soft, 1.0, 1.0) < best
    assert quality_score(SIDE_PX, sharp, 0.5, 1.0) < best
    assert quality_score(SIDE_PX, sharp, 1.0, 0.5) < best


def test_a_flat_crop_has_no_sharpness_and_no_quality() -> None:
    flat = np.full((112, 112, 3), 128, np.uint8)
    assert laplacian_variance(flat) == 0
    assert quality_score(200, flat, 1.0, 1.0) == 0


def test_size_is_full_from_100_px_on_and_nothing_at_20() -> None:
    assert size_score(20) == 0
    assert size_score(100) == size_score(400) == 1
    assert 0.4 < size_score(50) < 0.8


def test_the_side_an_engine_aligns_to_hardly_matters() -> None:
    face = astronaut_face().resize((300, 300), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
    small, large = (quality_score(SIDE_PX, crop_of(face, side), 1.0, 1.0) for side in (112, 150))
    assert abs(small - large) < 0.15


Point = tuple[float, float]


def turned(left_eye: Point, right_eye: Point, nose: Point, profile_offset: float) -> float:
    points = (np.array(point, np.float32) for point in (left_eye, right_eye, nose))
    return frontality(next(points), next(points), next(points), profile_offset)


def test_frontality_is_one_with_the_nose_between_the_eyes_even_in_a_tilted_head() -> None:
    assert turned((0, 0), (10, 0), (5, 7), 1.0) == 1
    assert turned((0, 0), (10, 10), (5 - 4, 5 + 4), 1.0) == pytest.approx(1)


def test_frontality_falls_to_nothing_as_the_nose_reaches_the_profile() -> None:
    falling = [turned((0, 0), (10, 0), (x, 7), 0.5) for x in (5, 6, 8, 10, 14)]
    assert falling == pytest.approx([1, 0.8, 0.4, 0, 0])


def test_frontality_of_eyes_in_one_point_is_nothing() -> None:
    assert turned((3, 3), (3, 3), (3, 5), 0.5) == 0
