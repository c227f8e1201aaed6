"""Whether the networks that a command is about to need are here; fetched where they may be."""

import sys
from typing import Annotated

import typer

from trainyard.settings import FaceEngineChoice, Settings

EXIT_USAGE = 2

FaceEngineOption = Annotated[
    FaceEngineChoice | None,
    typer.Option(
        help="Which network finds faces; auto: the one whose faces are shown. Another one's are shown instead as soon "
        "as it has searched every photo that this one has."
    ),
]


def need_models(settings: Settings, *, faces: bool, quiet: bool) -> None:
    """Fetch the CLIP weights with the first run; exit 2 naming the ways out where they cannot be had."""
    from jobs.engines.download import CLIP, INSIGHTFACE, DownloadFailed, is_downloaded

    problem = None
    if not settings.untrained and not is_downloaded(CLIP, settings.models_path):
        from cli.models import fetch_with_bar

        try:
            fetch_with_bar(CLIP, settings.models_path, quiet=quiet)
            _prepare_words(settings, quiet)
        except DownloadFailed as error:
            problem = error.message
    if problem is None and faces and settings.face_engine == "insightface":
        problem = _missing_face_models(settings, is_downloaded(INSIGHTFACE, settings.models_path))
    if problem:
        print(problem, file=sys.stderr)
        raise typer.Exit(EXIT_USAGE)


def _prepare_words(settings: Settings, quiet: bool) -> None:
    """What search by words needs is made once with the download; a run does without it where that fails."""
    from cli.models import export_text_tower
    from jobs.engines.clip_text_export import ExportFailed

    try:
        export_text_tower(settings.models_path, quiet=quiet)
    except ExportFailed as error:
        print(f"Photos cannot be searched by words: {error.message}.", file=sys.stderr)


def _missing_face_models(settings: Settings, downloaded: bool) -> str | None:
    if downloaded:
        return None
    from jobs.engines.insightface import find_models
    from jobs.engines.weights import ModelMissing

    try:
        find_models(settings.models_path)
    except ModelMissing as error:
        return error.message
    return None
