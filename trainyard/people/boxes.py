"""Faces of one photo found again, by lower thresholds, in changed content or by another network: which is which."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from trainyard.people.known_faces import Box, KnownFace

LEAST_IOU = 0.5  # as detectors are scored: two boxes of one face share more, those of neighbours less


class Boxed(Protocol):
    """A face somewhere in a photo; its box in shares of the photo's sides."""

    @property
    def id(self) -> UUID: ...

    @property
    def asset_id(self) -> int: ...

    @property
    def box(self) -> Box: ...


F = TypeVar("F", bound=Boxed)


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


def known_before(found: Sequence[Boxed], known: Sequence[KnownFace], model_ids: Sequence[int]) -> dict[UUID, KnownFace]:
    """For each found face that was known, as which: by the first of these networks that knew it. Both in order."""
    before: dict[UUID, KnownFace] = {}
    by_photo, knew = _by_photo(found), _by_photo(known)
    for asset_id, faces in by_photo.items():
        for model_id in model_ids:
            rest = [face for face in faces if face.id not in before]
            old = [face for face in knew.get(asset_id, ()) if face.model_id == model_id]
            if rest and old:
                matched = match_boxes(_boxes(old), _boxes(rest))
                before |= {rest[j].id: old[i] for i, j in matched}
    return before


def in_rank(known: Sequence[KnownFace], model_id: int, active_id: int | None) -> list[int]:
    """The networks that found these faces, those whose word counts most first.

    People speak of the active network's faces; of the others the newest was active last.
    """
    others = sorted({face.model_id for face in known} - {model_id, active_id}, reverse=True)
    return [*([active_id] if active_id is not None and active_id != model_id else []), model_id, *others]


def _by_photo(faces: Sequence[F]) -> dict[int, list[F]]:
    photos: dict[int, list[F]] = defaultdict(list)
    for face in faces:
        photos[face.asset_id].append(face)
    return photos


def _boxes(faces: Sequence[Boxed]) -> NDArray[np.float64]:
    return np.array([face.box for face in faces], np.float64)
