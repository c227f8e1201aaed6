"""Fakes of the two networks, and of nothing else: what whole runs are tested with.

A real CLIP takes 50 ms a photo and a real detector half a second; these take next to none, so that a run can be
killed and repeated many times. Everything around them is real: files, decoders, database, vectors. What they
compute is a function of the pixels alone, one picture at a time, as every engine promises.

A "face" is a square framed in `FRAME`, as `tests.libraries` plants them; what is inside says whose it is.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from jobs.engines import ClipEngine, DetectedFace, FaceEngine, FaceThresholds, ModelCard
from jobs.engines.loading import Engines
from jobs.engines.weights import require_card
from trainyard.settings import Settings

FRAME = (255, 0, 255)  # RGB; no other pixel of a test's photo has this colour
FACE_DIMENSION = 128
CLIP_DIMENSION = 512
DETECT_SIDE_PX = 320
CROP_SIDE_PX = 64
LANDMARKS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)  # of a box's sides
_CELLS = 8  # a picture is looked at as so many cells a side

# Two photos of one planted person have cosines above 0.95 here, two people below 0.5.
THRESHOLDS = FaceThresholds(assign=0.9, margin=0.05, suggestion=0.8, verification=0.7, source="planted faces")


class FakeClip:
    device = "cpu"

    def __init__(self, weights: str = "fake") -> None:
        self.card = ModelCard(
            kind="clip",
            engine="fake",
            name="fake",
            weights_sha256=hashlib.sha256(weights.encode()).hexdigest(),
            preprocess_version=1,
            dimension=CLIP_DIMENSION,
            collection="images-fake",
            trained=False,
        )
        self.seen: int = 0  # photos encoded so far
        self.on_encode: Callable[[NDArray[np.uint8]], None] = lambda pictures: None

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.on_encode(pictures)
        self.seen += len(pictures)
        return np.stack([_embedding(picture, CLIP_DIMENSION) for picture in pictures])


class FakeFaces:
    device = "cpu"
    detect_side_px = DETECT_SIDE_PX
    crop_side_px = CROP_SIDE_PX
    crop_landmarks = LANDMARKS * np.float32(CROP_SIDE_PX)

    def __init__(self) -> None:
        self.card = ModelCard(
            kind="face",
            engine="fake",
            name="fake",
            weights_sha256=hashlib.sha256(b"fake faces").hexdigest(),
            preprocess_version=1,
            dimension=FACE_DIMENSION,
            collection="faces-fake",
            thresholds=THRESHOLDS,
        )
        self.seen: int = 0  # photos searched so far
        self.on_detect: Callable[[], object] = lambda: None

    def detect(self, picture: NDArray[np.uint8], min_confidence: float) -> list[DetectedFace]:
        self.on_detect()
        self.seen += 1
        regions, _ = ndimage.label(np.all(picture == np.array(FRAME, np.uint8), axis=2))
        return [_face(rows, columns) for rows, columns in ndimage.find_objects(regions)]

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([_embedding(crop, FACE_DIMENSION) for crop in crops])


class FakeEngines(Engines):
    """The fakes in place of the networks; `on_load` is called with "clip" or "face" when a step begins with it."""

    def __init__(self, settings: Settings, clip_weights: str = "fake") -> None:
        super().__init__(settings)
        self.fake_clip = FakeClip(clip_weights)
        self.fake_faces = FakeFaces()
        self.on_resolve: Callable[[], None] = lambda: None  # discover asks which networks a session uses
        self.on_load: Callable[[str], None] = lambda kind: None  # embed or detect begins

    def clip(self, *, untrained: bool, expect: ModelCard | None = None) -> ClipEngine:
        self.on_load("clip") if expect else self.on_resolve()
        require_card(self.fake_clip.card, expect)
        return self.fake_clip

    def face(self, engine: str, expect: ModelCard | None = None) -> FaceEngine:
        if expect:
            self.on_load("face")
        require_card(self.fake_faces.card, expect)
        return self.fake_faces


def _face(rows: slice, columns: slice) -> DetectedFace:
    box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
    sides = np.array([box[2] - box[0], box[3] - box[1]], np.float32)
    landmarks = np.array(box[:2], np.float32) + LANDMARKS * sides
    return DetectedFace(box=box, confidence=0.9, landmarks=landmarks, frontality=1.0)


def _embedding(picture: NDArray[np.uint8], dimension: int) -> NDArray[np.float32]:
    """A random projection of the picture's cells, (dimension,) float32 L2-normalised."""
    side = len(picture) // _CELLS
    cells = picture.reshape(_CELLS, side, _CELLS, side, 3).mean(axis=(1, 3)).astype(np.float32)
    # The constant keeps a picture of one colour from having no direction at all.
    values = np.append((cells - cells.mean()).ravel(), np.float32(1.0))
    projected = _projection(values.size, dimension) @ values
    return (projected / np.linalg.norm(projected)).astype(np.float32)


_projections: dict[tuple[int, int], NDArray[np.float32]] = {}


def _projection(size: int, dimension: int) -> NDArray[np.float32]:
    if (size, dimension) not in _projections:
        drawn = np.random.default_rng(dimension).standard_normal((dimension, size), dtype=np.float32)
        _projections[size, dimension] = drawn
    return _projections[size, dimension]
