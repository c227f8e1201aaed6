"""`trainyard models …`: which networks there are, under which licence, and fetching them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.models_switch import forget, switch
from trainyard.settings import load_settings

if TYPE_CHECKING:
    from jobs.engines.download import Download, Progress

ModelName = Literal["clip", "insightface"]
DataDirOption = Annotated[Path | None, typer.Option(help="Models are kept in its folder `models`.")]

app = typer.Typer(help="List and download the networks' weights; switch to another one's faces.", no_args_is_help=True)
app.command("switch")(switch)
app.command("forget")(forget)


@app.command("list")
def list_models(data_dir: DataDirOption = None) -> None:
    """What can be had, its size and licence, and what is here."""
    from rich.table import Table

    from cli.display import make_console
    from jobs.engines.download import DOWNLOADS, is_downloaded

    models_dir = load_settings(data_dir=data_dir).models_path
    table = Table("Name", "Model", "Size", "Licence", "Here", box=None, header_style="bold", pad_edge=False)
    for name, download in DOWNLOADS.items():
        here = "yes" if is_downloaded(download, models_dir) else "no"
        table.add_row(name, download.title, megabytes(download.size_bytes), download.licence, here)
    table.add_row("dlib", "HOG detector and ResNet descriptor", "", "CC0", _dlib_here())
    console = make_console()
    console.print(table)
    console.print(f"\nKept in {models_dir}. dlib's come with the installation.", markup=False)


def _dlib_here() -> str:
    from importlib.util import find_spec

    return "yes" if find_spec("dlib") and find_spec("face_recognition_models") else "no"


@app.command("download")
def download_models(
    name: Annotated[
        ModelName | None, typer.Argument(help="Which one; all that the licence allows when left out.")
    ] = None,
    accept_non_commercial: Annotated[
        bool, typer.Option("--accept-non-commercial", help="My use is non-commercial, as InsightFace's models ask.")
    ] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Fetch weights, checked by size and SHA-256, and prepare search by words; what is here is only checked."""
    from jobs.engines.download import DOWNLOADS

    models_dir = load_settings(data_dir=data_dir).models_path
    for download in [DOWNLOADS[name]] if name else DOWNLOADS.values():
        if name is None and download.non_commercial and not accept_non_commercial:
            typer.echo(f"{download.title}: left out ({download.licence}); --accept-non-commercial adds it.")
            continue
        folder = fetch_with_bar(download, models_dir, accept_non_commercial=accept_non_commercial)
        typer.echo(f"{download.title}: in {folder}.")
        if download.name == "clip":
            export_text_tower(models_dir)


def export_text_tower(models_dir: Path, *, quiet: bool = False) -> None:
    """Have search by words beside the CLIP weights that are here, unless it is: some 15 s, once.

    Raises ExportFailed, and ModelMissing for weights that are not CLIP's.
    """
    from jobs.engines.clip_text_export import export, is_exported

    if is_exported(models_dir):
        return
    if not quiet:
        typer.echo("Preparing CLIP's text tower for search by words; this takes a moment.", err=True)
    export(models_dir)


def fetch_with_bar(
    download: "Download", models_dir: Path, *, quiet: bool = False, accept_non_commercial: bool = False
) -> Path:
    """Fetch a model and return its folder, with a bar on a terminal and two plain lines on a pipe, on stderr.

    Raises DownloadFailed; ModelMissing if a file is here with other bytes than recorded.
    """
    from jobs.engines.download import fetch

    with _showing(download, quiet) as progress:
        return fetch(download, models_dir, accept_non_commercial, progress)


@contextmanager
def _showing(download: "Download", quiet: bool) -> "Iterator[Progress | None]":
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar(download) as progress:
            yield progress
    else:
        with _lines(download) as progress:
            yield progress


@contextmanager
def _bar(download: "Download") -> "Iterator[Progress]":
    from rich import progress as bars
    from rich.console import Console

    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.DownloadColumn())
    with bars.Progress(
        *columns, bars.TransferSpeedColumn(), bars.TimeRemainingColumn(), console=Console(stderr=True)
    ) as bar:
        task = bar.add_task(download.name, total=download.size_bytes, visible=False)

        def progress(done_bytes: int, total_bytes: int) -> None:
            bar.update(task, completed=done_bytes, total=total_bytes, visible=True)

        yield progress


@contextmanager
def _lines(download: "Download") -> "Iterator[Progress]":
    """Said at the first byte: a model that is here already says nothing."""
    begun: list[bool] = []

    def progress(done_bytes: int, total_bytes: int) -> None:
        if not begun:
            begun.append(True)
            typer.echo(f"Downloading {download.title}, {megabytes(total_bytes)}.", err=True)

    yield progress
    if begun:
        typer.echo(f"Downloaded {download.title}.", err=True)


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"
