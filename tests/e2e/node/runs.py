"""One run of the node and what it leaves on the machine: cgroups and a folder, both of its name.

All else (processes, mounts, networks) lies in namespaces that end with the run. A guardian removes the two when the
run ends, by whatever signal; the next run removes what a guardian that was killed too has left.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import cache_root
from tests.e2e.node import cgroups

CHECKOUT = Path(__file__).parents[3]
PREFIX = "trainyard-e2e-"
# What containerd's network plugins and the kubelet write to, whatever they are told; covered in the run's namespace.
# PostgreSQL's programs are copied to ours, where the checkout is closed to its uid.
COVERED = ("/var/lib/cni", "/var/lib/kubelet", "/var/lib/trainyard", "/var/log")


@dataclass(frozen=True)
class Run:
    name: str

    @property
    def folder(self) -> Path:
        """On the disk that has the image store, so that both can share files."""
        return _runs() / self.name

    @property
    def lock(self) -> Path:
        return _runs() / f"{self.name}.lock"


@contextmanager
def run() -> Iterator[Run]:
    """A run of this process; at the end nothing of it is left."""
    sweep()
    started = Run(f"{PREFIX}{os.getpid()}")
    with _guarded(started), _claimed(started):  # the guardian claims it when it is let go
        started.folder.mkdir(mode=0o711)  # PostgreSQL's own uid passes through
        cgroups.create(started.name)
        for folder in COVERED:
            Path(folder).mkdir(parents=True, exist_ok=True)
        yield started


def sweep() -> None:
    """Remove what killed runs left; each has a lock for as long as it has anything."""
    _runs().mkdir(parents=True, exist_ok=True)
    for lock in sorted(_runs().glob(f"{PREFIX}*.lock")):
        left = Run(lock.stem)
        with suppress(BlockingIOError), _claimed(left):  # else it is alive
            remove(left)


def remove(left: Run) -> None:
    cgroups.remove(left.name)
    shutil.rmtree(left.folder, ignore_errors=True)
    if not cgroups.names(PREFIX):  # nobody else's namespace has them
        for folder in COVERED:
            with suppress(OSError):  # the machine has its own use for it
                Path(folder).rmdir()
    if left.name not in cgroups.names(PREFIX) and not left.folder.exists():
        left.lock.unlink(missing_ok=True)  # else its processes are still ending, and the next run tries again


@contextmanager
def _claimed(claimed: Run, *, wait: bool = False) -> Iterator[None]:
    """Held by a living process alone. Raises BlockingIOError unless it waits."""
    with claimed.lock.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def _guarded(guarded: Run) -> Iterator[None]:
    """By a process in a group of its own, which no Ctrl-C reaches: it removes the run when this process lets go."""
    command = [sys.executable, "-m", __name__, guarded.name]
    guardian = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, process_group=0)
    try:
        yield
    finally:
        guardian.communicate()


def _runs() -> Path:
    return cache_root() / "node"


if __name__ == "__main__":
    sys.stdin.buffer.read()
    ended = Run(sys.argv[1])
    with _claimed(ended, wait=True):
        remove(ended)
