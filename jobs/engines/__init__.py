"""The networks behind one small seam: what a step needs of an engine, whatever runs underneath.

A step never sees torch, onnxruntime or dlib. Every forward pass has one fixed shape (short batches are filled
with blanks), so the bytes computed for a photo do not depend on its neighbours.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FaceThresholds:
    """Cosine similarities of L2-normalised embeddings, with the measurement or publication they come from."""

    assign: float  # at or above, and `margin` over the second person: the face is that person's
    margin: float
    suggestion: float  # from here up to `assign`, or without the margin: a suggestion
    verification: float  # two faces at or above are taken for one person when leftovers are grouped in pairs
    source: str  # where the figures come from, and whether they were measured here


@dataclass(frozen=True)
class ModelCard:
    """Which network, exactly: stored once in `models`, and what a worker must load or refuse to run."""

    kind: str  # "clip" or "face"
    engine: str  # "openclip", "insightface" or "dlib"
    name: str  # e.g. "ViT-B-32/laion2b_s34b_b79k", "buffalo_l", "ViT-B-32/untrained"
    weights_sha256: str  # hex, over all weight files (or the state dict of untrained weights)
    preprocess_version: int
    dimension: int
    collection: str  # Qdrant collection
    thresholds: FaceThresholds | None = None
    trained: bool = True


@dataclass(frozen=True)
class DetectedFace:
    """One face in the pixels the detector was given.

    `box` is (left, top, right, bottom) and `landmarks` (5, 2) float32, both in pixels of that picture.
    `confidence` is 0..1. The similarity that lays `landmarks` on the engine's `crop_landmarks` aligns the
    face. `frontality` is 1 for a face turned straight at the camera and falls to 0 at a profile; the engine
    gives it because the five points mean different things in different networks.
    """

    box: tuple[float, float, float, float]
    confidence: float
    landmarks: NDArray[np.float32]
    frontality: float


class ClipEngine(Protocol):
    card: ModelCard
    device: str  # "cpu", "cuda" or "mps"

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings, (n, 512) float32 L2-normalised, of n pictures, (n, 224, 224, 3) uint8 RGB, any n."""
        ...


class FaceEngine(Protocol):
    card: ModelCard
    device: str
    detect_side_px: int  # pictures are fitted into a square of this side before detection
    crop_side_px: int  # side of an aligned face
    crop_landmarks: NDArray[np.float32]  # (5, 2): where the five landmarks lie in an aligned face

    def detect(self, picture: NDArray[np.uint8], min_confidence: float) -> list[DetectedFace]:
        """Faces in one upright picture, (h, w, 3) uint8 RGB with max(h, w) <= detect_side_px."""
        ...

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings, (n, dimension) float32 L2-normalised, of aligned faces, (n, s, s, 3) uint8 RGB."""
        ...
