"""The cgroups of one run: by them every process it ever started is found, whoever its parent is now."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROGRAMS = "programs"  # beside the kubelet's `kubepods`; version 2 wants processes in leaves
TRIES = 200  # killed processes need a moment to be gone
TRY_SECONDS = 0.05


def create(name: str) -> None:
    """In every hierarchy, as the kubelet expects its root to be."""
    for hierarchy in _mounted("cgroup2"):
        _hand_down(hierarchy)
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir()
    (_of_processes() / name / PROGRAMS).mkdir()


def _hand_down(hierarchy: Path) -> None:
    """All that version 2 controls here: the kubelet refuses a cgroup that lacks what the machine has."""
    for controller in (hierarchy / "cgroup.controllers").read_text().split():
        with suppress(OSError):  # one that is in use elsewhere, which the kubelet can do without
            (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")


def join(name: str) -> None:
    """Put the calling process into it, with all that it will start."""
    (_of_processes() / name / PROGRAMS / "cgroup.procs").write_text(str(os.getpid()))


def names(prefix: str) -> set[str]:
    """Those that there are, of this prefix."""
    return {folder.name for hierarchy in _hierarchies() for folder in hierarchy.glob(f"{prefix}*/")}


def remove(name: str) -> None:
    """Kill what runs in it, then remove it."""
    for _ in range(TRIES):
        for pid in _processes(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if all(_is_removed(hierarchy / name) for hierarchy in _hierarchies()):
            return
        time.sleep(TRY_SECONDS)


def _processes(name: str) -> Iterator[int]:
    for folder in _with_inner(_of_processes() / name):
        with suppress(OSError):  # it went meanwhile
            listed = map(int, (folder / "cgroup.procs").read_text().split())
            yield from filter(None, listed)  # 0 is one of another pid namespace; a signal to 0 would be our own


def _with_inner(cgroup: Path) -> list[Path]:
    """The innermost first."""
    with suppress(OSError):  # another is removing them
        return [*sorted(cgroup.rglob("*/"), reverse=True), cgroup]
    return [cgroup]


def _is_removed(cgroup: Path) -> bool:
    for folder in _with_inner(cgroup):
        with suppress(OSError):  # a process is still ending
            folder.rmdir()
    return not cgroup.exists()


def _hierarchies() -> list[Path]:
    return [*_mounted("cgroup"), *_mounted("cgroup2")]


def _of_processes() -> Path:
    """The hierarchy that is asked who belongs to a run: that of version 2, which most of version 1 have beside it."""
    return next(iter(_mounted("cgroup2")), Path("/sys/fs/cgroup/pids"))


def _mounted(kind: str) -> list[Path]:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(mount[1]) for mount in mounts if mount[2] == kind]
