"""Serving the app: a socket that is bound before anything else starts, and a shutdown that waits for nobody."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
from fastapi import FastAPI

from api.app import CONNECTIONS, FOLLOW_UP_CONNECTIONS
from api.connections import Connection
from api.follow_up import FollowUp
from api.services import Services
from api.stream import ProgressStream
from api.text_tower import TextTower
from api.thumbnails import Thumbnails
from api.tokens import Tokens
from trainyard.database import Database
from trainyard.settings import Settings
from trainyard.vectors import Vectors

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5  # given to requests that are being answered
BACKLOG = 128  # connections that nobody has accepted yet


class CannotListen(Exception):
    """The address cannot be had."""


class ServerDied(Exception):
    """The server's thread ended though nobody stopped it; nobody is answered any more."""


class NeedsTokens(Exception):
    """Others than this machine could call, and nothing says who may."""


@contextmanager
def open_services(settings: Settings, database_url: str, vectors: Vectors) -> Iterator[Services]:
    """Everything the routes need, on stores that are there."""
    with (
        closing(Database(database_url, pool_size=CONNECTIONS - FOLLOW_UP_CONNECTIONS, pool_pre_ping=True)) as database,
        closing(Database(database_url, pool_size=FOLLOW_UP_CONNECTIONS, pool_pre_ping=True)) as following,
    ):
        yield Services(
            settings=settings,
            database=database,
            vectors=vectors,
            tokens=Tokens(settings.tokens_file),
            stream=ProgressStream(database),
            thumbnails=Thumbnails(settings),
            text=TextTower(settings.models_path),
            follow_up=FollowUp(following, vectors, settings),
        )


def listen(host: str, port: int, settings: Settings) -> socket.socket:
    """A socket bound to the address; port 0 takes a free one.

    Raises CannotListen, NeedsTokens and, so that it is known before stores are opened, TokensUnusable.
    """
    if settings.tokens_file is None and not is_loopback(host):
        raise NeedsTokens(
            f"Without tokens only this machine may call; {host} lets others in. Leave --host out, or set "
            "TRAINYARD_TOKENS_FILE to a file with lines such as: operator SOME-LONG-RANDOM-TEXT"
        )
    Tokens(settings.tokens_file)
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
                http=Connection,
                backlog=BACKLOG,
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


class Serving:
    """The server in a thread of this process, and where it is."""

    def __init__(self, app: FastAPI, bound: socket.socket) -> None:
        self.url = url_of(bound)
        self._server = Server(app)
        self._thread = threading.Thread(target=self._serve, args=(bound,), name="server", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises ServerDied."""
        if not self._thread.is_alive():
            raise ServerDied(f"The server at {self.url} ended by itself; the log says why. Start it again.")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _serve(self, bound: socket.socket) -> None:
        try:
            self._server.run([bound])
        except BaseException:  # SystemExit, too, which would end the thread without a word
            log.exception("the server died")


@contextmanager
def serving(app: FastAPI, bound: socket.socket) -> Iterator[Serving]:
    """The app served until the block ends."""
    server = Serving(app, bound)
    try:
        yield server
    finally:
        server.stop()
