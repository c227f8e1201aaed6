"""`trainyard doctor`: what this machine has, what would be used of it, what is missing and what to type."""

import os
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from cli.doctor_databases import database_findings
from cli.doctor_models import model_findings
from cli.findings import INSTALL, Finding, print_findings, version_of
from trainyard.settings import Settings, load_settings


def doctor(
    data_dir: Annotated[Path | None, typer.Option(help="Where database, vectors and models are kept.")] = None,
) -> None:
    """Devices, threads, models and databases: what is here, what is missing and what to type. Exit 1 if missing."""
    settings = load_settings(data_dir=data_dir)
    looks: tuple[Callable[[Settings], Iterable[Finding]], ...] = (
        _machine,
        _networks,
        model_findings,
        database_findings,
    )
    findings = [finding for look in looks for finding in look(settings)]
    print_findings(findings)
    raise typer.Exit(int(any(finding.mark == "missing" for finding in findings)))


def _machine(settings: Settings) -> Iterable[Finding]:
    from trainyard.cores import cpu_count

    here = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Finding("Trainyard", f"{version('trainyard')}, {here}")
    yield Finding("Cores", f"{cpu_count()} usable (affinity and cgroup) of {os.cpu_count()}")


def _networks(settings: Settings) -> Iterable[Finding]:
    """Device, onnxruntime and what is in force on them; importing torch takes seconds."""
    from jobs.engines.devices import DeviceMissing, choose_device
    from jobs.streams import loader_count

    try:
        device = choose_device(settings.device)
        if device == "cpu":
            present = f"torch {version_of('torch')} finds no other" if settings.device == "auto" else "as set"
        else:
            present = f"torch {version_of('torch')}"
    except DeviceMissing as error:
        yield Finding("Device", error.message, "missing", "export TRAINYARD_DEVICE=auto")
        return
    except ImportError as error:
        yield Finding("Device", f"torch cannot be loaded: {error}", "missing", INSTALL)
        return
    yield Finding("Device", f"{device} ({present})")
    yield _onnxruntime(device)
    loaders = loader_count(settings, device)
    threads = f"{loaders} streams, each decoding and running the networks on one thread"
    yield Finding("Threads", threads if device == "cpu" else f"{loaders} loaders beside the {device} device")
    yield Finding(
        "Batches",
        f"{settings.embed_batch} photos a commit embedding, {settings.detect_batch} detecting; "
        f"{settings.network_batch} in one pass of CLIP",
    )
    limits = f"{settings.photo_timeout_seconds:g} s and {settings.photo_memory_mib} MiB at most to decode one"
    yield Finding("Photos", limits)


def _onnxruntime(device: str) -> Finding:
    from jobs.engines.devices import providers

    try:
        import onnxruntime

        found = ", ".join(onnxruntime.get_available_providers())
        used = [provider if isinstance(provider, str) else provider[0] for provider in providers(device)]
    except ImportError as error:
        return Finding("onnxruntime", f"cannot be loaded: {error}", "missing", INSTALL)
    text = f"{onnxruntime.__version__}, uses {used[0]} of {found}"
    if device == "cuda" and used[0] == "CPUExecutionProvider":
        line = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        return Finding("onnxruntime", f"{text}: InsightFace would run on the CPU", "note", line)
    return Finding("onnxruntime", text)
