"""Stand-ins that leave only our own code to be measured: networks that answer constants, vectors that are counted."""

import sys
from collections.abc import Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from jobs.engines import ClipEngine, DetectedFace, FaceEngine, FaceThresholds, ModelCard
from trainyard.vectors import Payload


class CountedVectors:
    """Takes every point and keeps none."""

    def __init__(self) -> None:
        self.points = 0

    def ensure_collection(self, name: str, dimension: int, model: str) -> None:
        pass

    def upsert(
        self, collection: str, ids: Sequence[UUID], vectors: NDArray[np.float32], payloads: Sequence[Payload]
    ) -> None:
        assert len(ids) == len(vectors) == len(payloads)
        self.points += len(ids)

    def delete(self, collection: str, ids: Sequence[UUID]) -> None:
        pass

    def count(self, collection: str) -> int:
        return sys.maxsize  # as if nothing were ever lost


class ConstantClip:
    device = "cpu"

    def __init__(self) -> None:
        self.card = _card("clip", "openclip", None)

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(_unit(), (len(pictures), 1))


class ConstantFaces:
    """One face in every picture."""

    device = "cpu"
    detect_side_px = 640
    crop_side_px = 112

    def __init__(self) -> None:
        self.card = _card("face", "dlib", FaceThresholds(0.5, 0.05, 0.4, 0.5, "constants"))
        corners = [(38, 52), (74, 52), (56, 72), (42, 92), (71, 92)]
        self.crop_landmarks: NDArray[np.float32] = np.array(corners, np.float32)

    def detect(self, picture: NDArray[np.uint8], min_confidence: float) -> list[DetectedFace]:
        side = float(min(picture.shape[:2]))
        return [DetectedFace((0.0, 0.0, side, side), 0.9, self.crop_landmarks * np.float32(side / 112), 1.0)]

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(_unit(), (len(crops), 1))


def _card(kind: str, engine: str, thresholds: FaceThresholds | None) -> ModelCard:
    return ModelCard(kind, engine, "constant", "00", 1, 512, f"{kind}-constant", thresholds, trained=False)


def _unit() -> NDArray[np.float32]:
    return np.full((1, 512), 512**-0.5, np.float32)


class ConstantEngines:
    device = "cpu"

    def clip(self, *, untrained: bool, expect: ModelCard | None = None) -> ClipEngine:
        return ConstantClip()

    def face(self, engine: str, expect: ModelCard | None = None) -> FaceEngine:
        return ConstantFaces()
