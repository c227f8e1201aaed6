"""`trainyard run PATH`: everything embedded, one command, to the end."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from cli.weights import FaceEngineOption, need_models
from trainyard.settings import load_settings

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def run(
    path: Annotated[Path, typer.Argument(help="The folder of photos. Its files are only ever read.")],
    subdirectory: Annotated[
        list[str] | None, typer.Option(help="Only this folder inside PATH; may be given more than once.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where database, vectors and models are kept.")] = None,
    category: Annotated[str | None, typer.Option(help="Category the photos get.")] = None,
    no_faces: Annotated[bool, typer.Option("--no-faces", help="Embeddings only.")] = False,
    face_engine: FaceEngineOption = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="CLIP weights from a fixed seed: for trying without internet.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end.")] = False,
) -> None:
    """Find the photos in PATH, embed them, find faces, group people; resume if it was interrupted."""
    settings = load_settings(data_dir=data_dir, face_engine=face_engine, untrained=untrained or None)
    root = _check_folder(path)
    for name in subdirectory or []:
        _check_folder(path / name)
    need_models(settings, faces=not no_faces, quiet=as_json)

    from cli.display import show
    from local.run import run_session
    from trainyard.sessions import NewSession

    options: dict[str, object] = {"faces": not no_faces, "untrained": settings.untrained}
    if not no_faces:
        options["face_engine"] = settings.face_engine
    wish = NewSession(root, [os.path.normpath(name) for name in subdirectory or []], category, options)
    with show(as_json=as_json) as display:
        summary = run_session(settings, wish, display)
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    raise typer.Exit({"completed": 0, "paused": EXIT_INTERRUPTED}.get(summary["overallStatus"], EXIT_FAILED))


def _check_folder(path: Path) -> str:
    real = os.path.realpath(path)
    problem = None
    if not os.path.exists(real):
        problem = "there is no such folder"
    elif not os.path.isdir(real):
        problem = "it is no folder; name the folder the photos are in"
    elif not os.access(real, os.R_OK | os.X_OK):
        problem = "this user may not read it"
    else:
        try:
            real.encode()
        except UnicodeEncodeError:
            problem = "its name is not UTF-8; rename it (files inside may have any name)"
    if problem:
        raise typer.BadParameter(f"{path}: {problem}.", param_hint="PATH")
    return real
