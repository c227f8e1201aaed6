"""dlib: faces from the HOG detector, 128-d descriptors from its ResNet. Free weights that come from PyPI.

The detector's smallest window is 80 px; a picture is doubled first, so faces from about 40 px in a picture of
1,280 px are found (a thirtieth of the longer side): frontal ones, turned by up to some 30 degrees.
"""

import importlib.util
import math
import queue
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.engines import DetectedFace, FaceThresholds, ModelCard
from jobs.engines.dlib_descriptor import CHIP_SIDE_PX, DESCRIPTOR_DIMENSION, DescriptorPool
from jobs.engines.weights import ModelMissing, combined_sha256, file_sha256, require_card
from jobs.quality import frontality
from trainyard.cores import cpu_count

DETECT_SIDE_PX = 1280  # 0.3 s a picture of 4:3 on one core with `UPSAMPLINGS`
UPSAMPLINGS = 1
PREPROCESS_VERSION = 1  # raise it when the pixels given to the networks for the same photo change
LANDMARKS_FILE = "shape_predictor_5_face_landmarks.dat"
DESCRIPTOR_FILE = "dlib_face_recognition_resnet_model_v1.dat"

# HOG scores run from about -0.5 to 2.8. On insightface's and scikit-image's pictures the eight real faces
# score 0.37 to 2.8, the highest false one 0.12 (dlib's own default is 0): 0.2 becomes a confidence of 0.5.
EVEN_SCORE = 0.2
SCORE_STEEPNESS = 2.0
_PROFILE_OFFSET = 0.5  # dlib's fifth point is the base of the nose
_LOWEST_SCORE = -1.0  # below, dlib returns hundreds of boxes a picture

# dlib's mean face of five points, from get_face_chip_details in its image_transforms/interpolation.h: the
# outer and inner corner of the eye on the right of the picture, those of the left eye, the base of the nose.
_MEAN_FACE = np.array(
    [
        (0.8595674595992, 0.2134981538014),
        (0.6460604764104, 0.2289674387677),
        (0.1205750620789, 0.2137274526848),
        (0.3340850613712, 0.2290642403242),
        (0.4901123135679, 0.6277975316475),
    ]
)
_PADDING = 0.25  # of the mean face's side, on each of the chip's, as the descriptor was trained
# dlib lays a chip's corner pixels, not their outer edges, on the corners of the rectangle: hence 149.
CHIP_LANDMARKS = ((_PADDING + _MEAN_FACE) / (1 + 2 * _PADDING) * (CHIP_SIDE_PX - 1)).astype(np.float32)

THRESHOLDS = FaceThresholds(
    assign=0.955,
    margin=0.015,
    suggestion=0.945,
    verification=0.935,
    source=(
        "dlib takes two faces below 0.6 (raw Euclidean) for one person (99.38 % on LFW) and groups at 0.5, "
        "which is a cosine of 0.945 at the usual norm of 1.5; deepface takes 0.93. These are best for the work "
        "that people have with it, on made-up people with the distances of 30 real ones (CSU Scrap Shots), chosen "
        "on the tuning seed (python -m tests.bench recognition)"
    ),
)


class DlibEngine:
    """A FaceEngine. `detect` and `embed` may be called from several threads at once."""

    def __init__(self, landmarks_model: Path, descriptor_model: Path, card: ModelCard) -> None:
        import dlib

        self.card = card
        self.device = "cpu"
        self.detect_side_px = DETECT_SIDE_PX
        self.crop_side_px = CHIP_SIDE_PX
        self.crop_landmarks = CHIP_LANDMARKS
        self._predictor = dlib.shape_predictor(str(landmarks_model))
        self._descriptors = DescriptorPool(descriptor_model, cpu_count())
        # A detector keeps the picture it scans, so each is lent to one thread at a time.
        self._detectors: queue.LifoQueue[Any] = queue.LifoQueue()

    def detect(self, picture: NDArray[np.uint8], min_confidence: float) -> list[DetectedFace]:
        """Faces in one upright picture, (h, w, 3) uint8 RGB, the most confident first.

        `confidence` is 1 / (1 + exp(-2 (score - 0.2))) of the HOG score. `landmarks` are not the points of
        this face but dlib's mean face laid over it, so that a similarity onto `crop_landmarks` gives dlib's
        own chip, whichever way it is fitted.
        """
        contiguous = np.ascontiguousarray(picture)
        boxes, scores = self._scan(contiguous, min_confidence)
        faces = [self._face(contiguous, box, score) for box, score in zip(boxes, scores, strict=True)]
        return [face for face in faces if face.confidence >= min_confidence]

    def _scan(self, picture: NDArray[np.uint8], min_confidence: float) -> tuple[Any, Any]:
        detector = self._take_detector()
        try:
            boxes, scores, _ = detector.run(picture, UPSAMPLINGS, hog_score(min_confidence))
        finally:
            self._detectors.put(detector)
        return boxes, scores

    def _take_detector(self) -> Any:
        import dlib

        try:
            return self._detectors.get_nowait()
        except queue.Empty:
            return dlib.get_frontal_face_detector()

    def _face(self, picture: NDArray[np.uint8], box: Any, score: float) -> DetectedFace:
        points = np.array([(p.x, p.y) for p in self._predictor(picture, box).parts()], np.float64)
        edges = (float(box.left()), float(box.top()), float(box.right() + 1), float(box.bottom() + 1))
        return DetectedFace(edges, confidence(score), _mean_face_over(points), _frontality(points))

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings, (n, 128) float32 L2-normalised, of aligned faces, (n, 150, 150, 3) uint8 RGB.

        dlib's raw descriptors have norms of 1.3 to 1.6 and are compared by distance; normalised they separate
        people as well. Raises DescriptorFailed if the process that computes them dies.
        """
        if len(crops) == 0:
            return np.empty((0, DESCRIPTOR_DIMENSION), np.float32)
        raw = self._descriptors.describe(crops)
        return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def confidence(score: float) -> float:
    """0..1 of a HOG score; 0.5 at `EVEN_SCORE`."""
    return 1 / (1 + math.exp(-SCORE_STEEPNESS * (score - EVEN_SCORE)))


def hog_score(min_confidence: float) -> float:
    """The inverse of `confidence`, within what the detector can be asked for."""
    if min_confidence <= 0:
        return _LOWEST_SCORE
    odds = max(1 - min_confidence, 1e-9) / min_confidence
    return max(_LOWEST_SCORE, EVEN_SCORE - math.log(odds) / SCORE_STEEPNESS)


def _mean_face_over(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """The mean face carried onto a face's five points by dlib's fit: least squares in the picture's pixels.

    Fitted the other way, in the chip's pixels, a turned face comes out up to a tenth larger and its
    descriptor 0.26 (raw Euclidean) away from dlib's own.
    """
    mean_face = CHIP_LANDMARKS.astype(np.float64)
    source, target = mean_face @ (1, 1j), points @ (1, 1j)  # in the plane a similarity is one complex factor
    centred = source - source.mean()
    factor = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred)
    carried = target.mean() + factor * centred
    return np.stack([carried.real, carried.imag], axis=1).astype(np.float32)


def _frontality(points: NDArray[np.float64]) -> float:
    outer_right, inner_right, outer_left, inner_left, nose = points.astype(np.float32)
    left_eye, right_eye = (outer_left + inner_left) / 2, (outer_right + inner_right) / 2
    return frontality(left_eye, right_eye, nose, _PROFILE_OFFSET)


def load_dlib(expect: ModelCard | None = None) -> DlibEngine:
    """The engine on the weights of the package face_recognition_models, without importing that package.

    (Its import needs setuptools' pkg_resources.) With `expect`, exactly that model or ModelMissing, which is
    raised too when the package is absent.
    """
    files = [find_weights() / name for name in (LANDMARKS_FILE, DESCRIPTOR_FILE)]
    card = _card(files)
    require_card(card, expect)
    return DlibEngine(files[0], files[1], card)


def find_weights() -> Path:
    """The folder of the weights. Raises ModelMissing."""
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or spec.origin is None or importlib.util.find_spec("dlib") is None:
        message = "dlib's face models are missing: pip install dlib-bin face_recognition_models"
        raise ModelMissing("ModelMissing", message)
    return Path(spec.origin).parent / "models"


def _card(files: list[Path]) -> ModelCard:
    try:
        hashes = [(path.name, file_sha256(path)) for path in files]
    except OSError as error:
        message = f"{error.filename} cannot be read: {error.strerror}; reinstall face_recognition_models"
        raise ModelMissing("ModelMissing", message) from error
    return ModelCard(
        kind="face",
        engine="dlib",
        name="dlib",
        weights_sha256=combined_sha256(hashes),
        preprocess_version=PREPROCESS_VERSION,
        dimension=DESCRIPTOR_DIMENSION,
        collection="faces-dlib",
        thresholds=THRESHOLDS,
    )
