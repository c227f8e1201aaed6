"""Two face networks beside each other, both fakes: the second sees the same faces a little otherwise."""

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jobs.engines import DetectedFace, FaceEngine, ModelCard
from jobs.engines.weights import require_card
from tests.engines import FakeEngines, FakeFaces, _embedding
from trainyard.settings import Settings

SHIFT_PX = 5.0  # of boxes of 72
DIMENSION = 64


class OtherFaces(FakeFaces):
    """dlib's part: vectors of another length, and boxes further down to the right."""

    def __init__(self) -> None:
        super().__init__()
        self.card = replace(
            self.card,
            engine="dlib",
            name="dlib",
            weights_sha256=hashlib.sha256(b"other faces").hexdigest(),
            dimension=DIMENSION,
            collection="faces-dlib",
        )

    def detect(self, picture: NDArray[np.uint8], min_confidence: float) -> list[DetectedFace]:
        faces = super().detect(picture, min_confidence)
        return [replace(face, box=tuple(edge + SHIFT_PX for edge in face.box)) for face in faces]  # type: ignore[arg-type]

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([_embedding(crop, DIMENSION) for crop in crops])


class TwoEngines(FakeEngines):
    """`insightface` and `dlib`; auto is the first."""

    def __init__(self, settings: Settings, clip_weights: str = "fake") -> None:
        super().__init__(settings, clip_weights)
        self.fake_faces.card = replace(self.fake_faces.card, engine="insightface", name="buffalo_l", collection="faces")
        self.other_faces = OtherFaces()

    def face(self, engine: str, expect: ModelCard | None = None) -> FaceEngine:
        if expect:
            self.on_load("face")
        chosen = self.other_faces if engine == "dlib" else self.fake_faces
        require_card(chosen.card, expect)
        return chosen
