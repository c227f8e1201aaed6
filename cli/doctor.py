"""`trainyard doctor`: what this machine has, what would be used of it, what is missing and what to type."""

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from trainyard.settings import Settings, load_settings

MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}
INSTALL = "make demo   (in the checkout; or: pip install 'trainyard[local]')"


@dataclass(frozen=True)
class Finding:
    """One line. `missing` means that `run`, as it is set, cannot work; `to_type` mends it."""

    subject: str
    text: str
    mark: Literal["ok", "note", "missing"] = "ok"
    to_type: str | None = None


def doctor(
    data_dir: Annotated[Path | None, typer.Option(help="Where database, vectors and models are kept.")] = None,
) -> None:
    """Devices, threads, models and databases: what is here, what is missing and what to type. Exit 1 if missing."""
    settings = load_settings(data_dir=data_dir)
    looks: tuple[Callable[[Settings], Iterable[Finding]], ...] = (_machine, _networks, _models, _databases)
    findings = [finding for look in looks for finding in look(settings)]
    _print(findings)
    raise typer.Exit(int(any(finding.mark == "missing" for finding in findings)))


def _print(findings: list[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cli.display import make_console

    console = make_console()
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        table.add_row(MARKS[finding.mark], finding.subject, escape(finding.text))
    console.print(table)
    lines = [finding.to_type for finding in findings if finding.to_type]
    if lines:
        console.print("\nTo type:")
    for line in dict.fromkeys(lines):
        console.print(f"  {line}", markup=False)


def _machine(settings: Settings) -> Iterable[Finding]:
    from jobs.engines.devices import cpu_count

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
            present = f"torch {_version('torch')} finds no other" if settings.device == "auto" else "as set"
        else:
            present = f"torch {_version('torch')}"
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


def _models(settings: Settings) -> Iterable[Finding]:
    from jobs.engines.download import CLIP, INSIGHTFACE, is_downloaded
    from jobs.engines.loading import choose_face_engine

    yield Finding("Models", f"in {settings.models_path}")
    if is_downloaded(CLIP, settings.models_path):
        yield Finding("  CLIP", f"{CLIP.title}, {CLIP.licence}")
    elif settings.untrained:
        yield Finding("  CLIP", "untrained weights, as TRAINYARD_UNTRAINED asks: search finds nothing sensible", "note")
    else:
        text = f"{CLIP.title} is not here; the first `run` fetches it ({CLIP.size_bytes / 1e6:.0f} MB, {CLIP.licence})"
        yield Finding("  CLIP", text, "note", "trainyard models download clip")
    chosen = choose_face_engine(settings.face_engine, settings.models_path)
    yield _insightface(settings, chosen, is_downloaded(INSIGHTFACE, settings.models_path))
    yield _dlib(chosen)


def _insightface(settings: Settings, chosen: str, downloaded: bool) -> Finding:
    from jobs.engines.download import INSIGHTFACE
    from jobs.engines.insightface import find_models
    from jobs.engines.weights import ModelMissing

    line = "trainyard models download insightface --accept-non-commercial"
    remark = f"NON-COMMERCIAL USE ONLY ({INSIGHTFACE.licence})"
    if downloaded:
        used = "finds the faces" if chosen == "insightface" else "not used, by TRAINYARD_FACE_ENGINE"
        return Finding("  InsightFace", f"{INSIGHTFACE.title}, {used}; {remark}", "note")
    if chosen != "insightface":
        size = f"{INSIGHTFACE.size_bytes / 1e6:.0f} MB"
        text = f"{INSIGHTFACE.title} is not here ({size}); it finds more faces than dlib. {remark}"
        return Finding("  InsightFace", text, "note", line)
    try:
        return Finding("  InsightFace", f"{find_models(settings.models_path).name}; mind its licence", "note")
    except ModelMissing as error:
        return Finding("  InsightFace", error.message, "missing", line)


def _dlib(chosen: str) -> Finding:
    from importlib.util import find_spec

    here = find_spec("dlib") and find_spec("face_recognition_models")
    if chosen != "dlib":
        return Finding("  dlib", f"{'installed' if here else 'not installed'}, not used")
    if here:
        return Finding("  dlib", f"{_version('dlib-bin')}, finds the faces; free weights")
    return Finding("  dlib", "not installed", "missing", "pip install dlib-bin face_recognition_models")


def _databases(settings: Settings) -> Iterable[Finding]:
    """The data directory is only looked at; one that is not there yet is not made."""
    folder = settings.data_dir
    if folder.is_dir():
        yield _holder(folder)
    else:
        yield Finding("Data", f"{folder} is not there yet; the first `run` makes it")
    if settings.database_url:
        yield _database(settings.database_url, "TRAINYARD_DATABASE_URL", "trainyard migrate")
    else:
        yield _embedded_postgres(folder)
    yield _qdrant(settings)


def _holder(folder: Path) -> Finding:
    from local.data_dir import DataDir, DataDirBusy, DataDirUnusable

    try:
        DataDir(folder).close()
    except DataDirBusy as error:
        return Finding("Data", str(error), "note")
    except DataDirUnusable as error:
        return Finding("Data", str(error), "missing")
    return Finding("Data", f"{folder}, held by nobody")


def _embedded_postgres(folder: Path) -> Finding:
    from local.postgres import EmbeddedPostgres, PostgresFailed

    try:
        installed = version("embedded-postgres")
        url = EmbeddedPostgres.url_of_running(folder)
    except PackageNotFoundError:
        return Finding("PostgreSQL", "its programs are not installed", "missing", INSTALL)
    except PostgresFailed as error:
        return Finding("PostgreSQL", str(error), "missing")
    if url is None:
        return Finding("PostgreSQL", f"{installed}, not running; `run` starts it and stops it again")
    return _database(url, f"{installed}, running for this data directory", None)


def _database(url: str, what: str, migrate: str | None) -> Finding:
    import sqlalchemy as sa

    from trainyard.database import Database, SchemaMismatch, check_schema, first_line

    try:
        database = Database(url)
        database.transact(check_schema)
        database.close()
    except SchemaMismatch as error:
        return Finding("PostgreSQL", f"{what}. {error}", "missing" if migrate else "note", migrate)
    except sa.exc.SQLAlchemyError as error:
        return Finding("PostgreSQL", f"{what}: {first_line(error)}", "missing")
    return Finding("PostgreSQL", f"{what}, schema up to date")


def _qdrant(settings: Settings) -> Finding:
    if settings.qdrant_url is None:
        folder = settings.data_dir / "qdrant"
        held = f"{_megabytes(folder)} in {folder}" if folder.is_dir() else "made by the first `run`"
        return Finding("Qdrant", f"{_version('qdrant-client')}, embedded: {held}")
    import httpx

    key = settings.qdrant_api_key
    headers = {"api-key": key.get_secret_value()} if key else {}
    try:
        answer = httpx.get(f"{settings.qdrant_url.rstrip('/')}/collections", headers=headers, timeout=5.0)
        answer.raise_for_status()
        names = [collection["name"] for collection in answer.json()["result"]["collections"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return Finding("Qdrant", f"TRAINYARD_QDRANT_URL={settings.qdrant_url}: {error}", "missing")
    return Finding("Qdrant", f"{settings.qdrant_url}: {', '.join(names) or 'no collection yet'}")


def _megabytes(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e6:,.0f} MB"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
