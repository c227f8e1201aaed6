"""Serving the app: a socket that is bound before anything else starts, and a shutdown that waits for nobody."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
from fastapi import FastAPI

from api.app import CONNECTIONS
from api.services import Services
from api.stream import ProgressStream
from api.thumbnails import Thumbnails
from api.tokens import Tokens
from trainyard.database import Database
from trainyard.settings import Settings
from trainyard.vectors import Vectors

SHUTDOWN_SECONDS = 5  # given to requests that are being answered
BACKLOG = 1_024


class CannotListen(Exception):
    """The address cannot be had."""


class NeedsTokens(Exception):
    """Others than this machine could call, and nothing says who may."""


@contextmanager
def open_services(settings: Settings, database_url: str, vectors: Vectors) -> Iterator[Services]:
    """Everything the routes need, on stores that are there."""
    with closing(Database(database_url, pool_size=CONNECTIONS, pool_pre_ping=True)) as database:
        yield Services(
            settings=settings,
            database=database,
            vectors=vectors,
            tokens=Tokens(settings.tokens_file),
            stream=ProgressStream(database),
            thumbnails=Thumbnails(settings),
        )


def listen(host: str, port: int, settings: Settings) -> socket.socket:
    """A socket bound to the address; port 0 takes a free one. Raises CannotListen and NeedsTokens."""
    if settings.tokens_file is None and not is_loopback(host):
        raise NeedsTokens(
            f"Without tokens only this machine may call; {host} lets others in. Leave --host out, or set "
            "TRAINYARD_TOKENS_FILE to a file with lines such as: operator SOME-LONG-RANDOM-TEXT"
        )
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, number)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise CannotListen(f"Cannot listen on {host}, port {port}: {why}. Choose another with --port.") from error
    return bound


def is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def url_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """Ends the event streams before it waits for answers to end: they would go on as long as sessions run."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self._services: Services = app.state.services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.stream.close()
        await super().shutdown(sockets)


@contextmanager
def serving(app: FastAPI, bound: socket.socket) -> Iterator[str]:
    """The app served by a thread of this process; gives its URL."""
    server = Server(app)
    thread = threading.Thread(target=server.run, args=([bound],), name="server", daemon=True)
    thread.start()
    try:
        yield url_of(bound)
    finally:
        server.should_exit = True
        thread.join()
