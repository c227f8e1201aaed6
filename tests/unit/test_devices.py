"""Threads follow the cgroup and the affinity mask; devices are chosen or refused by name."""

import os
from pathlib import Path

import pytest

from jobs.engines.devices import DeviceMissing, choose_device, providers
from trainyard.cores import cpu_count


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


def cgroup(tmp_path: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    root, proc = tmp_path / "cgroup", tmp_path / "proc_cgroup"
    root.mkdir()
    proc.write_text(membership)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root, proc


def version_1(group: str, quota: str) -> dict[str, str]:
    return {f"{group}/cpu.cfs_quota_us": quota, f"{group}/cpu.cfs_period_us": "100000"}


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/pod/box\n", {"pod/box/cpu.max": "200000 100000\n"}, 2),
        ("0::/pod/box\n", {"pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "350000 100000\n"}, 4),
        ("0::/pod/box\n", {"pod/box/cpu.max": "50000 100000\n"}, 1),
        ("0::/not/visible/here\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "6400000 100000\n"}, 8),
        ("4:cpu,cpuacct:/box\n", version_1("cpu,cpuacct/box", "150000"), 2),
        ("4:cpu,cpuacct:/box\n", version_1("cpu", "100000"), 1),
        ("4:cpu,cpuacct:/\n", version_1("cpu", "-1"), 8),
    ],
)
def test_cores_are_the_smaller_of_affinity_and_quota(
    tmp_path: Path, membership: str, files: dict[str, str], cores: int
) -> None:
    assert cpu_count(*cgroup(tmp_path, membership, files)) == cores


@pytest.mark.usefixtures("eight_cores")
def test_without_cgroups_the_affinity_mask_counts(tmp_path: Path) -> None:
    assert cpu_count(tmp_path, tmp_path / "absent") == 8


def test_the_cpu_is_always_there_and_unknown_devices_are_named() -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="'gpu' is unknown: use auto"):
        choose_device("gpu")


def test_auto_prefers_an_accelerator_and_a_missing_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.engines.devices._torch_devices", lambda: ["mps", "cpu"])
    assert choose_device("auto") == "mps"
    with pytest.raises(DeviceMissing, match="torch finds only mps, cpu"):
        choose_device("cuda")


def test_onnxruntime_without_cuda_runs_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert providers("cuda") == providers("mps") == providers("cpu") == ["CPUExecutionProvider"]


def test_onnxruntime_with_cuda_is_asked_for_fixed_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    (name, options), fallback = providers("cuda")
    assert (name, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options["arena_extend_strategy"] == "kSameAsRequested"
