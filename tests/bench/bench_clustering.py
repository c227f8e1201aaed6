"""How long grouping faces takes, and how much memory: each size in a process of its own.

python -m tests.bench.bench_clustering
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_PHOTOS = (1, 60)  # of each person


@dataclass(frozen=True)
class Case:
    name: str
    faces: int
    rounds: int  # warm runs, of which the median counts; 0: the whole process counts, imports and all
    seconds: float | None = None  # at most
    peak_mib: float | None = None  # at most

    @property
    def target(self) -> str:
        limits = [f"≤ {self.seconds:g} s"] if self.seconds else []
        return ", ".join([*limits, *([f"≤ {self.peak_mib:g} MiB"] if self.peak_mib else [])]) or "shown"


CASES = (
    Case("cluster 1,000 cold", 1_000, rounds=0, seconds=5),
    Case("cluster 10,000 x 512 warm", 10_000, rounds=3, seconds=2),
    Case("cluster 30,000 x 512 warm", 30_000, rounds=1),
    Case("cluster 100,000 x 512 warm", 100_000, rounds=1, peak_mib=2048),
)


def measure() -> list[dict[str, Any]]:
    """Rows {name, faces, seconds, peak_mib, target, met, people, groups}; peaks hold the faces themselves too."""
    return [_row(case) for case in CASES]


def _row(case: Case) -> dict[str, Any]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "tests.bench.bench_clustering", str(case.faces), str(case.rounds)]
    answer = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True).stdout
    found = {"seconds": time.perf_counter() - started, **json.loads(answer)}
    met = found["seconds"] <= (case.seconds or 1e9) and found["peak_mib"] <= (case.peak_mib or 1e9)
    return {"name": case.name, "faces": case.faces, **found, "target": case.target, "met": met}


def _run(faces: int, rounds: int) -> dict[str, Any]:
    from jobs.clustering import group_faces
    from tests.faces import VERIFICATION, counts, people

    library = people(counts(faces, *_PHOTOS))
    if rounds:
        group_faces(library.vectors[:1000], library.photo[:1000], VERIFICATION)
    seconds = []
    for _ in range(max(1, rounds)):
        started = time.perf_counter()
        labels = group_faces(library.vectors, library.photo, VERIFICATION)
        seconds.append(time.perf_counter() - started)
    found = {
        "peak_mib": _peak_mib(),
        "people": int(library.person.max()) + 1,
        "groups": int(labels.max()) + 1,
    }
    return {**found, "seconds": statistics.median(seconds)} if rounds else found


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))  # macOS counts bytes, Linux KiB


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(_run(int(sys.argv[1]), int(sys.argv[2]))))
    else:
        for row in measure():
            print(json.dumps(row))
