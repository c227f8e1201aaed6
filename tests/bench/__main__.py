"""make bench: `python -m tests.bench [NAME…]` measures, prints a table and writes bench.json.

Times are medians of rounds in which all ways take turns; ratios are taken within a round. A figure beyond its
target is marked as a miss, with what is known of the cause beside it; nothing is hidden by an exit code.
"""

import importlib
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.results import Row
from trainyard.cores import cpu_count

# The order is that of the table; each is a module `bench_<name>` with `measure()`.
PARTS = (
    "embed", "detect", "clustering", "recognition", "progress", "discovery", "memory", "api", "page", "gpu", "truth",
    "kubernetes_latency", "kubernetes_shards", "kubernetes_start",
)  # fmt: skip
OUTPUT = Path("bench.json")
VERSIONS = ("torch", "open_clip_torch", "onnxruntime", "pillow", "qdrant-client", "insightface", "dlib-bin", "numpy")
_CLUSTERING = {"name", "seconds", "peak_mib", "target", "met"}  # columns that are shown; the rest are figures


def main(names: list[str]) -> None:
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        sys.exit(f"There is no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}.")
    console = Console(width=None if sys.stdout.isatty() else 160)
    found: dict[str, dict[str, Any]] = {}
    rows: list[Row] = []
    for name in [part for part in PARTS if part in (names or PARTS)]:
        part_rows, seconds = _measure(console, name)
        rows += part_rows
        found[name] = {"seconds": seconds, "rows": [row.to_json() for row in part_rows]}
    console.print(_table(rows))
    _write(found)


def _measure(console: Console, name: str) -> tuple[list[Row], float]:
    console.print(f"[dim]{name} …")
    begun = time.perf_counter()
    measure = importlib.import_module(f"tests.bench.bench_{name}").measure
    rows = [row if isinstance(row, Row) else _clustering_row(row) for row in measure()]
    return rows, time.perf_counter() - begun


def _clustering_row(found: dict[str, Any]) -> Row:
    measured = f"{found['seconds']:.2f} s, {found['peak_mib']:.0f} MiB"
    figures = {key: value for key, value in found.items() if key not in _CLUSTERING}
    met = None if found["target"] == "shown" else bool(found["met"])
    note = ", ".join(f"{value:,} {key}" for key, value in figures.items() if key in {"people", "groups"})
    figures |= {"seconds": found["seconds"], "peak_mib": found["peak_mib"]}
    return Row(found["name"], measured, found["target"], met, note, figures)


def _table(rows: list[Row]) -> Table:
    table = Table("what", "measured", "target", "", "beside it")
    for row in rows:
        verdict = {None: "", True: "[green]met", False: "[bold red]MISS"}[row.met]
        table.add_row(row.name, row.measured, row.target, verdict, row.note)
    return table


def _write(found: dict[str, dict[str, Any]]) -> None:
    machine = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": cpu_count(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
    }
    OUTPUT.write_text(json.dumps({"machine": machine, "parts": found}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
