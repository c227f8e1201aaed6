"""Containers of the node from below: their processes and their memory, as this machine's kernel knows them."""

import subprocess
import sys
from pathlib import Path

from tests.e2e.node.image_store import NAMESPACE

SPARE_BYTES = 64 << 20  # above what the container has, so that it comes to its end soon, whatever its limit is
FIRST_TO_GO = "1000"  # the kernel's highest mark
# Files in memory count for the container, but for no process of it: so the greedy one is not itself the largest.
IN_MEMORY = "/run"
FILL = """
import os, sys, tempfile
with open(sys.argv[1], "w") as procs:
    procs.write(str(os.getpid()))
with tempfile.TemporaryFile(dir=sys.argv[2]) as file:
    while True:
        file.write(bytes(1 << 20))
"""


def main_process(container_id: str) -> int:
    tasks = subprocess.run(["ctr", f"--namespace={NAMESPACE}", "tasks", "list"], capture_output=True, text=True)
    assert tasks.returncode == 0, tasks.stderr
    found = {line.split()[0]: int(line.split()[1]) for line in tasks.stdout.splitlines()[1:]}
    return found[container_id]


def exhaust_memory(pid: int) -> None:
    """Another process fills up the container's memory; at its limit the kernel kills the one that is marked for it."""
    cgroup = _memory_cgroup(pid)
    Path(f"/proc/{pid}/oom_score_adj").write_text(FIRST_TO_GO)
    _lower_limit(cgroup)
    filling = [sys.executable, "-c", FILL, str(cgroup / "cgroup.procs"), IN_MEMORY]
    with subprocess.Popen(filling, stderr=subprocess.DEVNULL) as greedy:
        greedy.wait()  # it is killed last, or with the container


def _lower_limit(cgroup: Path) -> None:
    """To a little more than is used."""
    for limit, used in (("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")):
        if (cgroup / limit).exists():
            (cgroup / limit).write_text(str(int((cgroup / used).read_text()) + SPARE_BYTES))


def _memory_cgroup(pid: int) -> Path:
    """Of version 1 the hierarchy `memory`, else the only one."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    paths = {controllers: path for _, controllers, path in lines}
    root = Path("/sys/fs/cgroup")
    return root / "memory" / paths["memory"][1:] if "memory" in paths else root / paths[""][1:]
