"""InsightFace: SCRFD finds faces, ArcFace embeds them, both through insightface's own classes.

A model is a directory of two ONNX files, a detector and a recogniser; its name is the directory's. buffalo_l
is the one `trainyard models download insightface` fetches (for non-commercial use only).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.engines import DetectedFace, FaceThresholds, ModelCard
from jobs.engines.devices import providers
from jobs.engines.weights import (
    BUFFALO_FILES,
    BUFFALO_FOLDER,
    ModelMissing,
    combined_sha256,
    require_card,
    verified_sha256,
)
from jobs.quality import frontality

DETECT_SIDE_PX = 640
CROP_SIDE_PX = 112
EMBED_BATCH = 8
PREPROCESS_VERSION = 1  # raise it when the pixels given to the networks for the same photo change
_PROFILE_OFFSET = 1.0  # SCRFD's third landmark is the tip of the nose
_DETECTOR_OUTPUTS_AT_LEAST = 5  # SCRFD: scores and boxes (and landmarks) of three or five strides

THRESHOLDS = FaceThresholds(
    assign=0.45,
    margin=0.05,
    suggestion=0.40,
    verification=0.40,
    source=(
        "for buffalo_l deepface (deepface/config/threshold.py) takes two faces at a cosine distance up to 0.55 "
        "(similarity 0.45) for one person. 0.40 groups best on made-up people with ArcFace's published "
        "distances (python -m tests.bench recognition, chosen on the tuning seed); not measured on real faces"
    ),
)


class InsightFaceEngine:
    """A FaceEngine. `detect` and `embed` may be called from several threads at once."""

    def __init__(self, detector: Any, recogniser: Any, card: ModelCard, device: str) -> None:
        from insightface.utils.face_align import arcface_dst

        self.card = card
        self.device = device
        self.detect_side_px = DETECT_SIDE_PX
        self.crop_side_px = CROP_SIDE_PX
        self.crop_landmarks: NDArray[np.float32] = np.array(arcface_dst, np.float32)
        self._detector = detector
        self._recogniser = recogniser

    def detect(self, picture: NDArray[np.uint8], min_confidence: float) -> list[DetectedFace]:
        """Faces in one upright picture, (h, w, 3) uint8 RGB, the most confident first.

        SCRFD fits the picture into 640 × 640 at the top left, on black, enlarging a smaller one; boxes and
        landmarks (eyes, nose, corners of the mouth) come back in the given picture's pixels.
        """
        boxes, landmarks = self._detector.detect(
            _bgr(picture), input_size=(DETECT_SIDE_PX, DETECT_SIDE_PX), det_thresh=min_confidence
        )
        return [_face(box, points) for box, points in zip(boxes, landmarks, strict=True)]

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings, (n, 512) float32 L2-normalised, of aligned faces, (n, 112, 112, 3) uint8 RGB."""
        embeddings = np.empty((len(crops), self.card.dimension), np.float32)
        for start in range(0, len(crops), EMBED_BATCH):
            part = crops[start : start + EMBED_BATCH]
            embeddings[start : start + len(part)] = self._forward(part)[: len(part)]
        return embeddings

    def _forward(self, part: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One pass of the fixed shape (8, 3, 112, 112); a short part is filled with black crops."""
        full = np.zeros((EMBED_BATCH, CROP_SIDE_PX, CROP_SIDE_PX, 3), np.uint8)
        full[: len(part)] = _bgr(part)
        raw: NDArray[np.float32] = self._recogniser.get_feat(list(full))
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def _bgr(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """InsightFace reads pictures as OpenCV does."""
    return np.ascontiguousarray(rgb[..., ::-1])


def _face(box: NDArray[np.float32], landmarks: NDArray[np.float32]) -> DetectedFace:
    left, top, right, bottom, confidence = (float(value) for value in box)
    points = np.ascontiguousarray(landmarks, np.float32)
    left_eye, right_eye, nose = points[:3]
    return DetectedFace(
        (left, top, right, bottom), confidence, points, frontality(left_eye, right_eye, nose, _PROFILE_OFFSET)
    )


def load_insightface(models_dir: Path, device: str, expect: ModelCard | None = None) -> InsightFaceEngine:
    """The detector and recogniser of `models_dir/buffalo_l`, or of the only other directory with a pair.

    With `expect`, exactly that model is loaded (from the directory of its name) or ModelMissing raised; it is
    raised too when nothing fits, or files changed since their download. Without onnxruntime's CUDA provider a
    "cuda" engine runs on the CPU; `device` of the engine says so.
    """
    import cv2

    cv2.setNumThreads(1)  # one thread a stream; OpenCV's own pool would count the host's cores
    pair = find_models(models_dir, expect.name if expect else None)
    card = _card(pair)
    require_card(card, expect)
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.model_zoo.scrfd import SCRFD

    sessions = [_session(path, providers(device)) for path in (pair.detector, pair.recogniser)]
    detector = SCRFD(str(pair.detector), sessions[0], static_shape_sessions=False)
    recogniser = ArcFaceONNX(str(pair.recogniser), sessions[1])
    return InsightFaceEngine(detector, recogniser, card, "cuda" if all(map(_is_on_cuda, sessions)) else "cpu")


def _is_on_cuda(session: Any) -> bool:
    """What was asked for says little: a CUDA provider that cannot be loaded is left out with a line in the log."""
    return "CUDAExecutionProvider" in session.get_providers()


def _session(path: Path, chosen: list[Any]) -> Any:
    """A session of one thread: streams fill the cores (onnxruntime would count the host's)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=chosen)
    except Exception as error:  # onnxruntime has its own kind for each stage
        message = f"onnxruntime cannot load {path}: {error}; delete it and download or copy it again"
        raise ModelMissing("ModelUnreadable", message) from error


@dataclass(frozen=True)
class _Pair:
    name: str
    detector: Path
    recogniser: Path


def find_models(models_dir: Path, name: str | None = None) -> _Pair:
    """By name if one is given; else buffalo_l, else the only directory with a detector and a recogniser."""
    for wanted in [name] if name else [BUFFALO_FOLDER]:
        pair = _pair_of(models_dir / wanted)
        if pair is not None:
            return pair
    others = [] if name else [pair for pair in map(_pair_of, _folders(models_dir)) if pair is not None]
    if len(others) == 1:
        return others[0]
    raise ModelMissing("ModelMissing", missing_message(models_dir, name, [pair.name for pair in others]))


def missing_message(models_dir: Path, name: str | None, found: list[str]) -> str:
    """What a person without a pair of face models, or with several, may do."""
    if found:
        return f"{models_dir} holds several face models ({', '.join(found)}): keep one, or name it buffalo_l"
    names = " and ".join(weight_file.name for weight_file in BUFFALO_FILES)
    return (
        f"no face model in {models_dir / (name or BUFFALO_FOLDER)} ({names}): run `trainyard models download "
        "insightface --accept-non-commercial`; or download on a machine with internet and copy the folder "
        "there; or set TRAINYARD_MODEL_DIR to the folder that has it; or use --face-engine dlib"
    )


def _folders(models_dir: Path) -> list[Path]:
    return sorted(path for path in models_dir.iterdir() if path.is_dir()) if models_dir.is_dir() else []


def _pair_of(folder: Path) -> _Pair | None:
    """The pair in a folder, None without exactly one of each. The published files need no look inside."""
    published = [folder / weight_file.name for weight_file in BUFFALO_FILES]
    if all(path.is_file() for path in published):
        return _Pair(folder.name, *published)
    tasks = {path: _task(path) for path in sorted(folder.glob("*.onnx"))}
    detectors = [path for path, task in tasks.items() if task == "detection"]
    recognisers = [path for path, task in tasks.items() if task == "recognition"]
    if len(detectors) != 1 or len(recognisers) != 1:
        return None
    return _Pair(folder.name, detectors[0], recognisers[0])


def _task(path: Path) -> str:
    """Detection, recognition or other, by the graph's outputs and input, as insightface itself decides."""
    import onnx

    try:
        graph = onnx.load_model(str(path), load_external_data=False).graph
    except Exception as error:  # protobuf's own kinds
        message = f"{path} is not an ONNX file: {error}; delete it and download or copy it again"
        raise ModelMissing("ModelUnreadable", message) from error
    if len(graph.output) >= _DETECTOR_OUTPUTS_AT_LEAST:
        return "detection"
    sides = [axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim[2:4]]
    return "recognition" if len(graph.output) == 1 and sides == [CROP_SIDE_PX] * 2 else "other"


def _card(pair: _Pair) -> ModelCard:
    """Only buffalo_l's published files may fill the collection `faces`."""
    hashes = [(path.name, verified_sha256(path)) for path in (pair.detector, pair.recogniser)]
    published = [(weight_file.name, weight_file.sha256) for weight_file in BUFFALO_FILES]
    is_buffalo = pair.name == BUFFALO_FOLDER and hashes == published
    return ModelCard(
        kind="face",
        engine="insightface",
        name=pair.name,
        weights_sha256=combined_sha256(hashes),
        preprocess_version=PREPROCESS_VERSION,
        dimension=_dimension(pair.recogniser),
        collection="faces" if is_buffalo else f"faces-{pair.name}",
        thresholds=THRESHOLDS if is_buffalo else _borrowed_thresholds(pair.name),
    )


def _borrowed_thresholds(name: str) -> FaceThresholds:
    source = f"not measured for {name}: taken from buffalo_l ({THRESHOLDS.source})"
    return replace(THRESHOLDS, source=source)


def _dimension(recogniser: Path) -> int:
    import onnx

    graph = onnx.load_model(str(recogniser), load_external_data=False).graph
    return int(graph.output[0].type.tensor_type.shape.dim[-1].dim_value)
