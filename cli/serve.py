"""`trainyard serve`: the whole thing behind a page; `trainyard api`: the API alone, beside a cluster's stores."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from cli.pieces import database_url, open_vectors, stop_signals
from cli.serve_display import ApiDisplay, ServeDisplay
from cli.weights import FaceEngineOption, need_models
from trainyard.settings import BadSetting, Settings, load_settings

HOST = "127.0.0.1"
PORT = 8080
LOOK_SECONDS = 1.0

HostOption = Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs tokens.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
ImageRootOption = Annotated[
    list[str] | None,
    typer.Option(metavar="DIRECTORY", help="A folder that sessions may read; may be given more than once."),
]


def serve(
    image_root: ImageRootOption = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where database, vectors and models are kept.")] = None,
    host: HostOption = HOST,
    port: PortOption = PORT,
    face_engine: FaceEngineOption = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="CLIP weights from a fixed seed: for trying without internet.")
    ] = False,
) -> None:
    """Serve the API and its page, with everything embedded. Sessions that had not ended go on by themselves."""
    settings = load_settings(
        data_dir=data_dir,
        face_engine=face_engine,
        untrained=untrained or None,
        image_roots=_roots(image_root, "trainyard serve"),
    )
    _check_roots(settings, "trainyard serve")
    need_models(settings, faces=True, quiet=False)
    display = ServeDisplay()
    if settings.untrained:
        display.untrained()

    from api.connections import raise_file_limit
    from local.serve import serve as run
    from trainyard.logs import log_to_stderr

    log_to_stderr()
    raise_file_limit()
    with stop_signals() as stop:
        run(settings, host, port, stop=stop, display=display)


def api(image_root: ImageRootOption = None, host: HostOption = HOST, port: PortOption = PORT) -> None:
    """Serve the API and its page alone: a controller elsewhere drives the sessions.

    PostgreSQL and Qdrant are TRAINYARD_DATABASE_URL and TRAINYARD_QDRANT_URL; the photos must be mounted here too.
    """
    settings = load_settings(image_roots=_roots(image_root, "trainyard api"))
    _check_roots(settings, "trainyard api")
    display = ApiDisplay()

    from api.app import create_app
    from api.connections import raise_file_limit
    from api.server import listen, open_services, serving
    from trainyard.logs import log_to_stderr

    log_to_stderr()
    raise_file_limit()
    url = database_url(settings)
    with (
        stop_signals() as stop,
        listen(host, port, settings) as bound,
        closing(open_vectors(settings)) as vectors,
        open_services(settings, url, vectors) as services,
        serving(create_app(services), bound) as server,
    ):
        display.ready(server.url)
        while not stop.wait(LOOK_SECONDS):
            server.check()
        display.stopping()


def _roots(given: list[str] | None, command: str) -> str | None:
    """Raises BadSetting for an empty one: it would be the folder that the command was typed in."""
    if given and not all(given):
        raise BadSetting(f"An --image-root is empty. Type:  {command} --image-root ~/Pictures")
    return ":".join(str(Path(path).expanduser().absolute()) for path in given) if given else None


def _check_roots(settings: Settings, command: str) -> None:
    """The API reads what anybody asks for, so what may be asked for has to be said. Raises BadSetting."""
    if not settings.image_roots:
        raise BadSetting(
            "Which folders may be read is not said, and the page would have none to offer. "
            f"Type:  {command} --image-root ~/Pictures"
        )
    missing = [root for root in settings.allowed_roots if not Path(root).is_dir()]
    if missing:
        raise BadSetting(f"There is no folder {missing[0]} (of --image-root, or TRAINYARD_IMAGE_ROOTS).")
