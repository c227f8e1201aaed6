"""Connections to the server: no more than the process can do with, and none kept for those who ask nothing."""

import asyncio
import resource
from contextlib import suppress
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MOST_CONNECTIONS = 2_000
REQUEST_SECONDS = 10.0  # within which a request must have come, head and body
PLENTY_OF_FILES = 65_536  # where the system names no limit


class Connection(H11Protocol):
    """Closed when it would be one too many, and when it brings no whole request in time."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= most_connections():
            self.transport = transport  # which `connection_lost` closes
            transport.abort()
            return
        super().connection_made(transport)
        self._time()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timing()
        super().connection_lost(exc)

    def _time(self) -> None:
        """Called when a connection or some of a request has come; between requests keep-alive's time runs."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_timing()
        elif self._overdue is None:
            self._overdue = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _stop_timing(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None


def most_connections() -> int:
    """Half of the files this process may have open at most: running sessions need the others."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, files // 2)


def raise_file_limit() -> None:
    """Let this process, and those it starts, have as many files open as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = PLENTY_OF_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
