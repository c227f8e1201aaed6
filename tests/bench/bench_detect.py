"""Finding and embedding faces, to committed rows: against insightface's own loop, which decodes in full.

With real networks where TRAINYARD_MODEL_DIR has a detector and a recogniser, else with fakes of their cost.
The loop is FaceAnalysis.get on cv2.imread, at onnxruntime's own threads; it stores nothing.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from PIL import Image

from jobs.engines.devices import cpu_count
from jobs.engines.insightface import DETECT_SIDE_PX, InsightFaceEngine, load_insightface
from jobs.engines.loading import Engines
from jobs.engines.weights import ModelMissing
from tests.bench.costly_onnx import write_costly_pair
from tests.bench.pictures import DISTINCT, write_photos
from tests.bench.results import Row, at_least, at_most, interleaved, median_ratio, wall_seconds
from tests.bench.stage import fresh_stage, postgres_server, workplace
from trainyard import photos
from trainyard.photo_geometry import edges_from_centres, inverse, similarity, warp
from trainyard.settings import load_settings

PHOTOS = 48
MEGAPIXELS = (2, 12)
LEAST_TIMES_THE_LOOP = {2: 1.05, 12: 1.3}
MOST_CROP_DIFFERENCE = 3.0  # mean, of 255
LEAST_COSINE = 0.99
SAME_FACE_OVERLAP = 0.5  # intersection over union of two boxes


@dataclass(frozen=True)
class Networks:
    """Where the pair lies, and whether it is one that knows faces."""

    models_dir: Path
    name: str
    real: bool


def measure() -> list[Row]:
    with workplace() as folder, postgres_server(folder) as url:
        networks = _networks(folder)
        settings = load_settings(
            data_dir=folder / "ours",
            model_dir=networks.models_dir,
            device="cpu",
            untrained=True,
            face_engine="insightface",
        )
        engines = Engines(settings)
        return [row for size in MEGAPIXELS for row in _measure_size(url, folder, engines, networks, size)]


def _networks(folder: Path) -> Networks:
    """The real pair of TRAINYARD_MODEL_DIR; without one, fakes in `folder`."""
    given = load_settings().model_dir
    if given is not None:
        try:
            name = load_insightface(given, "cpu").card.name
            return Networks(given, name, real="fake" not in name)
        except ModelMissing:
            pass
    write_costly_pair(folder / "models")
    return Networks(folder / "models", load_insightface(folder / "models", "cpu").card.name, real=False)


def _measure_size(url: str, folder: Path, engines: Engines, networks: Networks, megapixels: int) -> list[Row]:
    root = folder / f"photos-{megapixels}"
    paths = write_photos(root, PHOTOS, megapixels, marked=not networks.real)
    loop = Loop(networks)
    faces: list[int] = []
    ways: dict[str, Callable[[], float]] = {
        "ours": partial(_ours, url, folder, engines, root, faces),
        "loop": partial(loop.seconds, paths),
    }
    seconds = interleaved(ways)
    rates = {name: PHOTOS / statistics.median(values) for name, values in seconds.items()}
    speed = at_least(
        f"detect {megapixels} MP, times FaceAnalysis.get",
        median_ratio(seconds["loop"], seconds["ours"]),
        LEAST_TIMES_THE_LOOP[megapixels],
        " ×",
        f"{networks.name}: {rates['ours']:.1f} against {rates['loop']:.1f} images/s, {faces[-1]} faces",
        **seconds,
    )
    return [speed, *_crop_rows(megapixels, paths[:DISTINCT], networks, loop)]


def _ours(url: str, folder: Path, engines: Engines, root: Path, faces: list[int]) -> float:
    with fresh_stage(url, folder, engines) as stage:
        session_id = stage.discover(root, untrained=True, face_engine="insightface")
        key = stage.prepare(session_id, "detect")
        seconds = wall_seconds(lambda: stage.run(key))
        faces.append(
            stage.database.transact(lambda c: c.execute(sa.text("SELECT count(*) FROM face_instances")).scalar_one())
        )
        assert faces[-1] > 0, "no face was found: nothing was measured"
        return seconds


class Loop:
    """insightface as its own examples use it."""

    def __init__(self, networks: Networks) -> None:
        from insightface.app import FaceAnalysis

        folder = str(networks.models_dir / networks.name)
        self.app = FaceAnalysis(
            name=folder, allowed_modules=["detection", "recognition"], providers=["CPUExecutionProvider"]
        )
        self.app.prepare(ctx_id=-1, det_size=(DETECT_SIDE_PX, DETECT_SIDE_PX))

    def seconds(self, paths: list[bytes]) -> float:
        import cv2

        cv2.setNumThreads(cpu_count())  # as it is without us
        try:
            return wall_seconds(lambda: [self.faces(path) for path in paths])
        finally:
            cv2.setNumThreads(1)

    def faces(self, path: bytes) -> list[Any]:
        found: list[Any] = self.app.get(full_size_bgr(path))
        return found


def full_size_bgr(path: bytes) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.imread(path.decode()), np.uint8)


@dataclass(frozen=True)
class Pair:
    """One face, found by us in a smaller picture and by the loop in the full one."""

    ours: NDArray[np.uint8]
    full: NDArray[np.uint8]

    @property
    def difference(self) -> float:
        return float(np.abs(self.ours.astype(np.int16) - self.full.astype(np.int16)).mean())


def _crop_rows(megapixels: int, paths: list[bytes], networks: Networks, loop: Loop) -> list[Row]:
    engine = load_insightface(networks.models_dir, "cpu")
    pairs = [pair for path in paths for pair in _pairs(engine, networks, loop, path)]
    differences = [pair.difference for pair in pairs]
    crops = at_most(
        f"detect {megapixels} MP, aligned crops from full size",
        statistics.fmean(differences),
        MOST_CROP_DIFFERENCE,
        "/255",
        f"mean over {len(pairs)} faces{_whose(networks)}; the worst {max(differences):.2g}",
    )
    return [crops, _cosine_row(megapixels, engine, pairs)] if networks.real else [crops]


def _whose(networks: Networks) -> str:
    return "" if networks.real else " at the same landmarks"


def _cosine_row(megapixels: int, engine: InsightFaceEngine, pairs: list[Pair]) -> Row:
    ours, full = (engine.embed(np.stack(crops)) for crops in zip(*((p.ours, p.full) for p in pairs), strict=True))
    cosines = (ours * full).sum(axis=1)
    note = f"the lowest of {len(pairs)}; median {float(np.median(cosines)):.4f}"
    return at_least(f"detect {megapixels} MP, cosine to full size", float(cosines.min()), LEAST_COSINE, "", note)


def _pairs(engine: InsightFaceEngine, networks: Networks, loop: Loop, path: bytes) -> list[Pair]:
    _, view, scale = photos.detection_view(path, engine.detect_side_px)
    detected = engine.detect(view, 0.5)
    if not detected:
        return []
    landmarks = np.stack([face.landmarks for face in detected]) * np.float32(scale)
    crops = photos.aligned_faces(path, landmarks, engine.crop_landmarks, engine.crop_side_px)
    picture = full_size_bgr(path)
    if not networks.real:  # their landmarks lie on a grid: another cell is no error of a crop
        return [
            Pair(crop, _full_size_crop(picture, points, engine)) for crop, points in zip(crops, landmarks, strict=True)
        ]
    return list(_matched(engine, loop.app.get(picture), picture, [np.array(f.box) * scale for f in detected], crops))


def _matched(
    engine: InsightFaceEngine,
    full: list[Any],
    picture: NDArray[np.uint8],
    boxes: list[NDArray[Any]],
    crops: NDArray[np.uint8],
) -> Iterator[Pair]:
    """Our crops beside those of the faces that were found in the full picture where ours were."""
    for box, crop in zip(boxes, crops, strict=True):
        match = max(full, key=lambda other: overlap(box, other.bbox), default=None)
        if match is not None and overlap(box, match.bbox) >= SAME_FACE_OVERLAP:
            yield Pair(crop, _full_size_crop(picture, match.kps, engine))


def _full_size_crop(
    picture: NDArray[np.uint8], landmarks: NDArray[np.float32], engine: InsightFaceEngine
) -> NDArray[np.uint8]:
    """From every pixel of the full picture, averaged where several make one: skipping some would compare noise."""
    source_from_crop = inverse(edges_from_centres(similarity(landmarks, engine.crop_landmarks)))
    return warp(Image.fromarray(np.ascontiguousarray(picture[..., ::-1])), source_from_crop, engine.crop_side_px)


def overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (sides <= 0).any():
        return 0.0
    shared = float(sides.prod())
    return shared / (float((one[2:] - one[:2]).prod()) + float((other[2:] - other[:2]).prod()) - shared)
