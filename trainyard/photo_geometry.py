"""Where a point of the upright picture lies in the stored one, and faces cut out along their landmarks.

Two ways of counting meet here. Areas (boxes, views) have their pixel edges at whole numbers; landmarks, as
detectors and cv2.warpAffine count them, have their pixel centres there. They differ by half a pixel.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Affine = NDArray[np.float64]  # (2, 3)

# EXIF orientation -> how Pillow turns the stored picture upright (EXIF 2.32, tag 274).
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


Box = tuple[float, float, float, float]  # left, top, right, bottom; px, edges at whole numbers

_FACE_MARGIN: Final = 0.4  # of a box's longer side, on each of its sides: boxes leave out hair and chin


def face_square(box: Box, width: int, height: int) -> Box:
    """The square around a face's box with a margin, moved inside a picture of that size, whose shorter side it takes
    at most.
    """
    left, top, right, bottom = box
    side = face_square_side(box, width, height)
    x = min(max((left + right - side) / 2, 0.0), width - side)
    y = min(max((top + bottom - side) / 2, 0.0), height - side)
    return x, y, x + side, y + side


def face_square_side(box: Box, width: int, height: int) -> float:
    """Of that square, px; the same whichever of a picture's sides is its width."""
    left, top, right, bottom = box
    return min(max(right - left, bottom - top) * (1 + 2 * _FACE_MARGIN), width, height)


def stored_from_upright(orientation: int, width: int, height: int) -> Affine:
    """Maps upright px (edges at whole numbers) to stored px; `width`, `height` are the upright size in px."""
    maps: dict[int, list[list[int]]] = {
        2: [[-1, 0, width], [0, 1, 0]],
        3: [[-1, 0, width], [0, -1, height]],
        4: [[1, 0, 0], [0, -1, height]],
        5: [[0, 1, 0], [1, 0, 0]],
        6: [[0, 1, 0], [-1, 0, width]],
        7: [[0, -1, height], [-1, 0, width]],
        8: [[0, -1, height], [1, 0, 0]],
    }
    return np.array(maps.get(orientation, [[1, 0, 0], [0, 1, 0]]), dtype=np.float64)


def apply(affine: Affine, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """`points` (n, 2) mapped by `affine`."""
    return points @ affine[:, :2].T + affine[:, 2]


def compose(outer: Affine, inner: Affine) -> Affine:
    """The map that applies `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def similarity(source: NDArray[np.float32], target: NDArray[np.float32]) -> Affine:
    """The rotation, scale and shift (no mirroring) that takes `source` (n, 2) nearest to `target` (n, 2).

    Least squares after Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", IEEE TPAMI 13 (1991); in the plane it is a quotient of complex numbers. Raises ValueError where
    the source points are one point or not finite.
    """
    origin, goal = _complex(source), _complex(target)
    from_middle, to_middle = origin.mean(), goal.mean()
    spread = float(np.sum(np.abs(origin - from_middle) ** 2))
    if not math.isfinite(spread) or spread == 0.0:
        raise ValueError("A face's five landmarks are all one point or not finite: the detector's output is wrong.")
    turn = complex(np.vdot(origin - from_middle, goal - to_middle)) / spread
    shift = to_middle - turn * from_middle
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _complex(points: NDArray[np.float32]) -> NDArray[np.complex128]:
    wide = points.astype(np.float64)
    return wide[:, 0] + 1j * wide[:, 1]


def scale_of(affine: Affine) -> float:
    """By how much a similarity enlarges: target px per source px."""
    return float(math.hypot(affine[0, 0], affine[1, 0]))


def inverse(affine: Affine) -> Affine:
    """The map back."""
    turn = np.linalg.inv(affine[:, :2])
    return np.column_stack([turn, -turn @ affine[:, 2]])


def edges_from_centres(affine: Affine) -> Affine:
    """The same map for px counted by their edges, given it for px counted by their centres."""
    half = np.array([0.5, 0.5])
    return np.column_stack([affine[:, :2], affine[:, 2] + half - affine[:, :2] @ half])


def warp(picture: Image.Image, source_from_crop: Affine, side_px: int) -> NDArray[np.uint8]:
    """A crop, (side_px, side_px, 3) uint8 RGB, of `picture` (RGB); black where it lies outside.

    `source_from_crop` maps crop px to picture px (edges at whole numbers). Where a crop px covers two picture
    px or more, the neighbourhood is reduced by averaging first: the bilinear warp would skip pixels.
    """
    corners = apply(source_from_crop, np.array([[0, 0], [side_px, 0], [0, side_px], [side_px, side_px]], float))
    box = _neighbourhood(corners, picture.size)
    if box is None:
        return np.zeros((side_px, side_px, 3), dtype=np.uint8)
    factor = max(1, int(scale_of(source_from_crop)))
    near = picture.reduce(factor, box)
    local = (source_from_crop - [[0, 0, box[0]], [0, 0, box[1]]]) / factor
    size = (side_px, side_px)
    crop = near.transform(size, Image.Transform.AFFINE, local.ravel().tolist(), Image.Resampling.BILINEAR)
    return np.asarray(crop)


def _neighbourhood(corners: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The part of a picture of `size` px that holds `corners` and a border around them; None if empty."""
    border_px = 2
    low = np.clip(np.floor(corners.min(axis=0)) - border_px, 0, size).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + border_px, 0, size).astype(int)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
