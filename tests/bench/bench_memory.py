"""Peak memory of discover, embed and detect: it must not grow with the library.

Each step runs in a process of its own over many small pictures, with networks that answer constants of the real
shape and vectors that are counted and thrown away (Qdrant's local engine keeps them all, by its nature).
TRAINYARD_BENCH_FULL=1 takes 10,000 and 100,000 pictures for embed and detect too, which is minutes more.

python -m tests.bench.bench_memory STEP SESSION DATABASE_URL: one such process.
"""

import json
import os
import resource
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any, cast

from PIL import Image

from jobs.context import Context
from jobs.engines.loading import Engines
from jobs.worker import run_shard
from tests.bench.constant_networks import ConstantEngines, CountedVectors
from tests.bench.results import Row, at_most
from tests.bench.stage import Stage, begin_step, postgres_server, workplace
from tests.conftest import TEMPLATE, execute, url_of
from tests.pictures import encoded
from trainyard.database import Database
from trainyard.settings import Settings, load_settings
from trainyard.shards import ShardKey
from trainyard.vectors import Vectors

FULL = bool(os.environ.get("TRAINYARD_BENCH_FULL"))
LISTED = (10_000, 100_000)  # of discover, which opens no file
READ = LISTED if FULL else (2_000, 20_000)
STEPS = {"discover": LISTED, "embed": READ, "detect": READ}
FILES_A_FOLDER = 1_000
SIDE_PX = 32
MOST_GROWTH = 0.05
_ROOT = Path(__file__).parents[2]


def measure() -> list[Row]:
    with workplace() as folder, postgres_server(folder) as url:
        peaks: dict[str, dict[int, int]] = {step: {} for step in STEPS}
        for count in sorted({count for counts in STEPS.values() for count in counts}):
            root = folder / f"pictures-{count}"
            write_links(root, count)
            for step, peak in _peaks(url, root, [step for step, counts in STEPS.items() if count in counts]).items():
                peaks[step][count] = peak
        return [_row(step, by_count) for step, by_count in peaks.items()]


def write_links(root: Path, count: int) -> None:
    """`count` names of one small JPEG, a thousand a folder, each folder with a file of its own (links are limited)."""
    content = encoded(Image.new("RGB", (SIDE_PX, SIDE_PX), "grey"))
    for start in range(0, count, FILES_A_FOLDER):
        folder = root / f"folder-{start // FILES_A_FOLDER:04}"
        folder.mkdir(parents=True)
        (folder / "00000.jpg").write_bytes(content)
        for index in range(1, min(FILES_A_FOLDER, count - start)):
            (folder / f"{index:05}.jpg").hardlink_to(folder / "00000.jpg")


def _peaks(url: str, root: Path, wanted: list[str]) -> dict[str, int]:
    """Peak bytes by step; the steps before the last wanted one run too, as they make its rows."""
    name = f"memory_{root.name.replace('-', '_')}"
    execute(url, "CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE)
    database = Database(url_of(url, name))
    session_id = Stage(_context(database)).begin_session(root, {"untrained": True, "face_engine": "dlib"})
    found: dict[str, int] = {}
    for step in STEPS:
        if step == "discover" or step in wanted:
            database.transact(partial(begin_step, session_id=session_id, step=step))
            found[step] = _peak_of_process(step, session_id, database.url)
    database.close()
    return {step: found[step] for step in wanted}


def _peak_of_process(step: str, session_id: int, url: str) -> int:
    command = [sys.executable, "-m", "tests.bench.bench_memory", step, str(session_id), url]
    answer = subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(json.loads(answer)["peak_bytes"])


def _row(step: str, peaks: dict[int, int]) -> Row:
    (small, low), (large, high) = sorted(peaks.items())
    note = f"{low / 2**20:.0f} MiB at {small:,} pictures, {high / 2**20:.0f} MiB at {large:,}"
    growth = 100 * (high / low - 1)
    return at_most(f"{step}, growth of peak memory", growth, 100 * MOST_GROWTH, " %", note, peaks=peaks)


def peak_bytes() -> int:
    """The most memory this process ever had resident."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10  # macOS counts bytes, Linux KiB


def _context(database: Database) -> Context:
    settings: Settings = load_settings(device="cpu", exclude=())
    vectors, engines = cast(Vectors, CountedVectors()), cast(Engines, ConstantEngines())
    return Context(database, vectors, settings, engines, threading.Event(), "bench")


def _run(step: str, session_id: int, url: str) -> dict[str, Any]:
    database = Database(url)
    run_shard(_context(database), ShardKey(session_id, step, 1, 0))
    database.close()
    return {"peak_bytes": peak_bytes()}


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
