"""Finding and embedding faces, to committed rows: against insightface's own loop, which decodes in full.

With real networks where TRAINYARD_MODEL_DIR has a detector and a recogniser, else with fakes of their cost.
The loop is FaceAnalysis.get on cv2.imread, at onnxruntime's own threads; it stores nothing.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from jobs.engines.insightface import DETECT_SIDE_PX, InsightFaceEngine, load_insightface
from jobs.engines.loading import Engines
from jobs.engines.weights import ModelMissing
from tests.bench.costly_onnx import write_costly_pair
from tests.bench.crops import Pair, crop_pairs, full_size_bgr
from tests.bench.pictures import DISTINCT, write_photos
from tests.bench.results import Row, at_least, at_most, interleaved, median_ratio, wall_seconds
from tests.bench.stage import fresh_stage, postgres_server, workplace
from trainyard.cores import cpu_count
from trainyard.settings import load_settings

PHOTOS = 32
MEGAPIXELS = (2, 12)
LEAST_TIMES_THE_LOOP = {2: 1.05, 12: 1.3}
MOST_CROP_DIFFERENCE = 3.0  # mean, of 255
LEAST_COSINE = 0.99


@dataclass(frozen=True)
class Networks:
    """Where the pair lies, and which of the two know faces."""

    models_dir: Path
    name: str
    real_detector: bool
    real_recogniser: bool


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
            return Networks(given, name, real_detector=True, real_recogniser="fake" not in name)
        except ModelMissing:
            pass
    write_costly_pair(folder / "models")
    return Networks(folder / "models", load_insightface(folder / "models", "cpu").card.name, False, False)


def _measure_size(url: str, folder: Path, engines: Engines, networks: Networks, megapixels: int) -> list[Row]:
    root = folder / f"photos-{megapixels}"
    paths = write_photos(root, PHOTOS, megapixels, marked=not networks.real_detector)
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
            return wall_seconds(lambda: [self.app.get(full_size_bgr(path)) for path in paths])
        finally:
            cv2.setNumThreads(1)


def _crop_rows(megapixels: int, paths: list[bytes], networks: Networks, loop: Loop) -> list[Row]:
    engine = load_insightface(networks.models_dir, "cpu")
    pairs = [
        pair for path in paths for pair in crop_pairs(engine, path, loop.app.get if networks.real_detector else None)
    ]
    differences = [pair.difference for pair in pairs]
    decoding = statistics.fmean(pair.decoding_difference for pair in pairs)
    crops = at_most(
        f"detect {megapixels} MP, aligned crops from full size",
        statistics.fmean(differences),
        MOST_CROP_DIFFERENCE,
        "/255",
        f"mean over {len(pairs)} faces, the worst {max(differences):.2g}; at the same landmarks {decoding:.2g}",
    )
    return [crops, _cosine_row(megapixels, engine, pairs)] if networks.real_recogniser else [crops]


def _cosine_row(megapixels: int, engine: InsightFaceEngine, pairs: list[Pair]) -> Row:
    ours, full = (engine.embed(np.stack(crops)) for crops in zip(*((p.ours, p.full) for p in pairs), strict=True))
    cosines = (ours * full).sum(axis=1)
    note = f"the lowest of {len(pairs)}; median {float(np.median(cosines)):.4f}"
    return at_least(f"detect {megapixels} MP, cosine to full size", float(cosines.min()), LEAST_COSINE, "", note)
