"""Decoding and CLIP on an NVIDIA GPU, overlapped as the step embed overlaps them, against the slower of the two alone.

Needs torch, open_clip and pillow only, so that it runs on a bare GPU machine; without CUDA it says so.
Rows and vectors are left out: there is no database here.

python -m tests.bench.bench_gpu: this part by itself, as lines of JSON.
"""

import importlib.util
import json
import shutil
import statistics
import sys
import tempfile
import threading
import types
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.bench.results import Row, at_least, interleaved, wall_seconds
from trainyard.cores import cpu_count

PHOTOS = 1_024
MEGAPIXELS = (2, 12)
DISTINCT = 8
CHUNK = 8  # photos a loader takes at a time, as the step does
LOADERS = 4  # the default beside an accelerator
NETWORK_BATCHES = (8, 32, 128, 256)
LEAST_SHARE_PERCENT = 95.0


@dataclass(frozen=True)
class Setting:
    loaders: int
    batch: int

    def __str__(self) -> str:
        return f"{self.loaders} loaders, batch {self.batch}"


def measure() -> list[Row]:
    if importlib.util.find_spec("torch") is None or not _has_cuda():
        return [Row("gpu", "no GPU here", f"≥ {LEAST_SHARE_PERCENT:g} % of the slower part alone")]
    folder = Path(tempfile.mkdtemp(prefix="trainyard-bench-gpu-"))
    try:
        return [row for megapixels in MEGAPIXELS for row in _measure_size(folder, megapixels)]
    finally:
        shutil.rmtree(folder)


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _measure_size(folder: Path, megapixels: int) -> list[Row]:
    paths = write_noise_photos(folder / str(megapixels), PHOTOS, megapixels)
    settings = [Setting(LOADERS, CHUNK), Setting(cpu_count(), CHUNK), Setting(cpu_count(), 32)]
    engines = {batch: _engine(batch) for batch in NETWORK_BATCHES}
    with ProcessPoolExecutor(cpu_count(), get_context("forkserver"), initializer=without_heif) as pool:
        views = np.concatenate(list(pool.map(decode, _chunks(paths))))
        ways: dict[str, Callable[[], float]] = {"decode": partial(_decode_all, pool, paths)}
        ways |= {f"network {batch}": partial(_encode_all, engine, views) for batch, engine in engines.items()}
        ways |= {str(setting): partial(_both, pool, setting, engines[setting.batch], paths) for setting in settings}
        seconds = interleaved(ways)
    return [_row(megapixels, str(setting), seconds) for setting in settings]


def _row(megapixels: int, name: str, seconds: dict[str, list[float]]) -> Row:
    rates = {way: PHOTOS / statistics.median(values) for way, values in seconds.items()}
    network = max(rate for way, rate in rates.items() if way.startswith("network"))
    share = 100 * rates[name] / min(rates["decode"], network)
    note = f"{rates[name]:.0f} images/s; bare decode {rates['decode']:.0f}, bare network {network:.0f}"
    title = f"gpu {megapixels} MP, {name}, share of the slower part alone"
    return at_least(title, share, LEAST_SHARE_PERCENT, " %", note, **seconds)


def _engine(batch: int) -> Any:
    from jobs.engines.openclip import load_clip

    return load_clip(Path("none"), "cuda", untrained=True, batch=batch)


def write_noise_photos(folder: Path, count: int, megapixels: int) -> list[bytes]:
    """`count` files of some distinct JPEGs: smooth shapes under a sensor's noise, as heavy to decode as photos."""
    folder.mkdir(parents=True)
    contents = [_noise_jpeg(seed, megapixels) for seed in range(DISTINCT)]
    paths = [folder / f"{index:05}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        path.write_bytes(contents[index % DISTINCT])
    return [bytes(path) for path in paths]


def _noise_jpeg(seed: int, megapixels: int) -> bytes:
    rng = np.random.default_rng(seed)
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    shapes = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    smooth = np.asarray(shapes.resize((width, width * 3 // 4), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = smooth + rng.integers(-5, 6, smooth.shape, dtype=np.int16)
    content = BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()


def without_heif() -> None:
    """Lets our decoders load where pillow_heif is not installed; these are JPEGs."""
    if importlib.util.find_spec("pillow_heif") is None:
        stand_in: Any = types.ModuleType("pillow_heif")
        stand_in.register_heif_opener = lambda **_: None
        sys.modules["pillow_heif"] = stand_in


def decode(paths: list[bytes]) -> NDArray[np.uint8]:
    """(n, 224, 224, 3) uint8 RGB: what CLIP sees of n photos."""
    from trainyard import photos

    return np.stack([photos.clip_view(path)[1] for path in paths])


def _chunks(paths: list[bytes]) -> list[list[bytes]]:
    return [paths[at : at + CHUNK] for at in range(0, len(paths), CHUNK)]


def _decode_all(pool: Executor, paths: list[bytes]) -> float:
    return wall_seconds(lambda: list(pool.map(decode, _chunks(paths))))


def _encode_all(engine: Any, views: NDArray[np.uint8]) -> float:
    return wall_seconds(lambda: engine.encode(views))


def _both(pool: Executor, setting: Setting, engine: Any, paths: list[bytes]) -> float:
    """Each loader waits for its chunk's pixels, then takes its turn at the network; others decode meanwhile."""
    turn = threading.Lock()

    def work(chunk: list[bytes]) -> None:
        views = pool.submit(decode, chunk).result()
        with turn:
            engine.encode(views)

    chunks = [paths[at : at + setting.batch] for at in range(0, len(paths), setting.batch)]
    with ThreadPoolExecutor(setting.loaders) as loaders:
        return wall_seconds(lambda: list(loaders.map(work, chunks)))


if __name__ == "__main__":
    for row in measure():
        print(json.dumps(row.to_json()))
