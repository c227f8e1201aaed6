"""`trainyard serve`: everything embedded, with the API and its page in the same process."""

import threading
from collections.abc import Sequence
from typing import Protocol

import sqlalchemy as sa

from api.app import create_app
from api.server import listen, open_services, serving
from local.installation import LocalInstallation
from trainyard.lifecycle import ACTIVE, retry_due
from trainyard.settings import Settings
from trainyard.tables import training_sessions

LOOK_SECONDS = 1.0


class Display(Protocol):
    """Who sits at the terminal."""

    def ready(self, url: str, going_on: Sequence[int]) -> None: ...

    def stopping(self) -> None: ...


def serve(settings: Settings, host: str, port: int, *, stop: threading.Event, display: Display) -> None:
    """Serve until `stop` is set; `display` is told the URL once requests are answered.

    Sessions that had not ended go on by themselves. Raises CannotListen, NeedsTokens, TokensUnusable, ServerDied and
    what LocalInstallation raises.
    """
    with listen(host, port, settings) as bound, LocalInstallation(settings) as installation:
        going_on = installation.database.transact(read_going_on)
        installation.start()
        with (
            open_services(settings, installation.database.url, installation.vectors) as services,
            serving(create_app(services), bound) as server,
        ):
            display.ready(server.url, going_on)
            while not stop.wait(LOOK_SECONDS):
                installation.check()
                server.check()
            display.stopping()


def read_going_on(connection: sa.Connection) -> list[int]:
    """The sessions that the controller takes up by itself, oldest first."""
    s = training_sessions.c
    unfinished = sa.or_(s.status.in_(ACTIVE), retry_due())
    ids = sa.select(s.id).where(unfinished, s.requested == "run", s.deleted_at.is_(None)).order_by(s.id)
    return list(connection.execute(ids).scalars())
