"""Faces of one photo found again, by lower thresholds, in changed content or by another network: which is which."""

import numpy as np
from numpy.typing import NDArray

LEAST_IOU = 0.5  # as detectors are scored: two boxes of one face share more, those of neighbours less


def match_boxes(
    old: NDArray[np.float64], new: NDArray[np.float64], least_iou: float = LEAST_IOU
) -> list[tuple[int, int]]:
    """(old, new) numbers of the boxes that are one face's: one to one, those that overlap most first.

    `old` is (n, 4) and `new` (m, 4): left, top, right, bottom, both in the same unit. Ties go by the old number, then
    by the new one.
    """
    overlaps = intersections_over_unions(old, new)
    pairs = sorted((-overlaps[i, j], i, j) for i, j in np.argwhere(overlaps >= least_iou).tolist())
    taken_old: set[int] = set()
    taken_new: set[int] = set()
    matched = []
    for _, i, j in pairs:
        if i not in taken_old and j not in taken_new:
            matched.append((i, j))
            taken_old.add(i)
            taken_new.add(j)
    return matched


def intersections_over_unions(old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m) of each box of `old` with each of `new`, 0..1; 0 for boxes without area."""
    left_top = np.maximum(old[:, None, :2], new[None, :, :2])
    right_bottom = np.minimum(old[:, None, 2:], new[None, :, 2:])
    shared = np.prod(np.clip(right_bottom - left_top, 0.0, None), axis=2)
    whole = _areas(old)[:, None] + _areas(new)[None, :] - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None), axis=1))
