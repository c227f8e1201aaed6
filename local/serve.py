"""`trainyard serve`: everything embedded, with the API and its page in the same process."""

import threading
from collections.abc import Callable
from typing import Any

from api.app import create_app
from api.server import listen, open_services, serving
from local.installation import LocalInstallation
from trainyard.settings import Settings

LOOK_SECONDS = 1.0


def serve(
    settings: Settings,
    host: str,
    port: int,
    *,
    stop: threading.Event,
    ready: Callable[[str], Any],
) -> None:
    """Serve until `stop` is set; `ready` is told the URL once requests are answered.

    Sessions that had not ended go on by themselves. Raises CannotListen, NeedsTokens and what LocalInstallation
    raises.
    """
    with listen(host, port, settings) as bound, LocalInstallation(settings) as installation:
        installation.start()
        with (
            open_services(settings, installation.database.url, installation.vectors) as services,
            serving(create_app(services), bound) as url,
        ):
            ready(url)
            while not stop.wait(LOOK_SECONDS):
                installation.check()
