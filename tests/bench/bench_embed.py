"""Embedding, from files to committed vectors and rows: against what decoding and the network cost, and the obvious.

The bound is the wall of decoding alone with every core busy, plus that of the same network alone on pictures
already in memory, at its best thread setting.
"""

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.engines import ClipEngine
from jobs.engines.loading import Engines
from tests.bench.obvious_loop import BATCH, Obvious, with_torch_threads
from tests.bench.pictures import write_photos
from tests.bench.results import Row, at_least, at_most, interleaved, median_ratio, wall_seconds
from tests.bench.stage import Spent, fresh_stage, postgres_server, workplace
from trainyard import photos
from trainyard.cores import cpu_count
from trainyard.settings import load_settings

PHOTOS = 192
OBVIOUS_PHOTOS = 64  # the obvious loop is slow and even: a third tells its rate
MEGAPIXELS = (2, 12)
MOST_TIMES_THE_BOUND = 1.10
LEAST_TIMES_THE_OBVIOUS = {2: 1.1, 12: 2.5}
MOST_SHARE_OF_WRITES = 0.05


def measure() -> list[Row]:
    with workplace() as folder, postgres_server(folder) as url:
        engines = Engines(load_settings(data_dir=folder / "ours", device="cpu", untrained=True))
        engines.clip(untrained=True)
        return [row for megapixels in MEGAPIXELS for row in _measure_size(url, folder, engines, megapixels)]


def _measure_size(url: str, folder: Path, engines: Engines, megapixels: int) -> list[Row]:
    root = folder / f"photos-{megapixels}"
    paths = write_photos(root, PHOTOS, megapixels)
    engine = engines.clip(untrained=True)
    shares: list[Spent] = []
    context = get_context("forkserver")
    with context.Pool(cpu_count()) as pool:
        views = np.stack(pool.map(_view, paths, chunksize=BATCH))  # the pool is warm afterwards
        obvious = Obvious(url, folder, f"obvious_{megapixels}")
        ways: dict[str, Callable[[], float]] = {
            "ours": partial(_ours, url, folder, engines, root, shares),
            "decode": partial(_decode, pool, paths),
            "streams": partial(_encode_in_streams, engine, views),
            "threads": partial(_encode_with_threads, engine, views),
            "obvious": partial(obvious.seconds, paths[:OBVIOUS_PHOTOS]),
        }
        seconds = interleaved(ways)
    return [*_speed_rows(megapixels, seconds), _share_row(megapixels, seconds["ours"], shares)]


def _speed_rows(megapixels: int, seconds: dict[str, list[float]]) -> list[Row]:
    network = [min(pair) for pair in zip(seconds["streams"], seconds["threads"], strict=True)]
    bound = [decode + encode for decode, encode in zip(seconds["decode"], network, strict=True)]
    obvious = [value * PHOTOS / OBVIOUS_PHOTOS for value in seconds["obvious"]]
    rates = {
        name: PHOTOS / statistics.median(values) for name, values in (("ours", seconds["ours"]), ("obvious", obvious))
    }
    note = (
        f"{rates['ours']:.1f} images/s; decoding alone {PHOTOS / statistics.median(seconds['decode']):.1f}, "
        f"network alone {PHOTOS / statistics.median(network):.1f}"
    )
    ours = seconds["ours"]
    return [
        at_most(
            f"embed {megapixels} MP, wall ÷ bound",
            median_ratio(ours, bound),
            MOST_TIMES_THE_BOUND,
            " ×",
            note,
            **seconds,
        ),
        at_least(
            f"embed {megapixels} MP, times the obvious loop",
            median_ratio(obvious, ours),
            LEAST_TIMES_THE_OBVIOUS[megapixels],
            " ×",
            f"obvious loop {rates['obvious']:.1f} images/s",
        ),
    ]


def _share_row(megapixels: int, walls: list[float], shares: list[Spent]) -> Row:
    share = statistics.median(spent.wall_seconds / wall for spent, wall in zip(shares, walls, strict=True))
    thread = statistics.median(spent.thread_seconds / wall for spent, wall in zip(shares, walls, strict=True))
    return at_most(
        f"embed {megapixels} MP, rows and vectors",
        100 * share,
        100 * MOST_SHARE_OF_WRITES,
        " % of the wall",
        f"processor time of the writing thread: {100 * thread:.2g} % of the wall",
    )


def _ours(url: str, folder: Path, engines: Engines, root: Path, shares: list[Spent]) -> float:
    with fresh_stage(url, folder, engines) as stage:
        session_id = stage.discover(root, faces=False, untrained=True)
        key = stage.prepare(session_id, "embed")
        stage.spent.wall_seconds = stage.spent.thread_seconds = 0.0
        seconds = wall_seconds(lambda: stage.run(key))
        shares.append(stage.spent)
        stored = stage.database.transact(
            lambda c: c.execute(sa.text("SELECT count(*) FROM training_evidence")).scalar_one()
        )
        assert stored == PHOTOS, f"{stored} of {PHOTOS} photos were embedded"
        return seconds


def _view(path: bytes) -> NDArray[np.uint8]:
    return photos.clip_view(path)[1]


def _decode_only(path: bytes) -> None:
    photos.clip_view(path)


def _decode(pool: Pool, paths: list[bytes]) -> float:
    return wall_seconds(lambda: pool.map(_decode_only, paths, chunksize=1))


def _encode_in_streams(engine: ClipEngine, views: NDArray[np.uint8]) -> float:
    parts = [views[at : at + BATCH] for at in range(0, len(views), BATCH)]
    with ThreadPoolExecutor(cpu_count()) as streams:
        return wall_seconds(lambda: list(streams.map(engine.encode, parts)))


def _encode_with_threads(engine: ClipEngine, views: NDArray[np.uint8]) -> float:
    return with_torch_threads(cpu_count(), lambda: wall_seconds(lambda: engine.encode(views)))
