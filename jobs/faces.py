"""Faces as detection finds them."""

from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from jobs.assignment import Decision
from jobs.embed import embedding_sha256
from trainyard.people.known_faces import Box, as_shares

NOBODY = Decision()


@dataclass(frozen=True)
class Face:
    """A face as it is stored; `box_px` is (left, top, right, bottom) in upright, full-size pixels."""

    id: UUID
    asset_id: int
    content_sha256: bytes
    ordinal: int
    box_px: Box
    photo_size_px: tuple[int, int]  # width, height
    confidence: float
    quality: float
    embedding: NDArray[np.float32]
    decision: Decision = NOBODY
    told: int | None = None  # whose it is as its point says, which is written before its row
    unlike: UUID | None = None  # the face in the same place of what the photo was before, which is somebody else's

    @property
    def box(self) -> Box:
        """In shares of the photo's sides."""
        return as_shares(self.box_px, *self.photo_size_px)

    @cached_property
    def embedding_sha256(self) -> bytes:
        return embedding_sha256(self.embedding)
