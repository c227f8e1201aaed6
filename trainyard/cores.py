"""How many threads this process may really use.

The networks' own defaults count the host's cores. In a container with a quota that starts too many threads,
so the count here also reads the affinity mask and the cgroup.
"""

import math
import os
from pathlib import Path
from typing import Any

_CGROUP_ROOT = Path("/sys/fs/cgroup")


def cpu_count(cgroup_root: Path = _CGROUP_ROOT, proc_cgroup: Path = Path("/proc/self/cgroup")) -> int:
    """Cores this process may use: the smaller of the affinity mask and the cgroup's quota, at least 1.

    A quota of part of a core counts as a whole one. The arguments are for tests.
    """
    cores = _affinity_count()
    quota = _cgroup_quota_cores(cgroup_root, proc_cgroup)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _affinity_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota_cores(root: Path, proc_cgroup: Path) -> float | None:
    """The tightest CPU quota on this process, in cores; None without one (or outside Linux)."""
    try:
        lines = proc_cgroup.read_text().splitlines()
    except OSError:
        return None
    quotas = [quota for line in lines for quota in _quotas_of_line(root, line)]
    return min(quotas, default=None)


def _quotas_of_line(root: Path, line: str) -> list[float]:
    """Quotas of one line of /proc/self/cgroup, `id:controllers:path`; version 2 names no controllers."""
    _, controllers, path = line.split(":", 2)
    if controllers == "":
        return _quotas_upwards(root, path, _quota_v2)
    if "cpu" in controllers.split(","):
        return [q for name in (controllers, "cpu") for q in _quotas_upwards(root / name, path, _quota_v1)]
    return []


def _quotas_upwards(root: Path, path: str, read: Any) -> list[float]:
    """A quota binds all groups below it. In a container the path may be the host's: only `root` is there."""
    inner = root / path.lstrip("/")
    groups = [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
    found = [read(group) for group in groups]
    return [quota for quota in found if quota is not None]


def _quota_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return None if quota < 0 else quota / period
