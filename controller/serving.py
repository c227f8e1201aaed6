"""A few pages over HTTP, for probes and Prometheus: a request a connection, and none that others wait for."""

import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 32  # whoever comes then takes the place of the one that has been there longest
CONNECTION_SECONDS = 10.0  # for a request to come and its answer to go
LOOK_SECONDS = 0.5
BACKLOG = 32
TEXT = "text/plain; charset=utf-8"


class CannotListen(Exception):
    """The address cannot be had."""


@dataclass(frozen=True)
class Answer:
    status: HTTPStatus
    body: str
    content_type: str = TEXT


Routes = Mapping[str, Callable[[], Answer]]  # by path


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address; port 0 takes a free one. Raises CannotListen."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        raise _cannot_listen(host, port, error) from error
    return bound


def _cannot_listen(host: str, port: int, error: Exception) -> CannotListen:
    why = getattr(error, "strerror", None) or error
    return CannotListen(
        f"Cannot listen on {host}, port {port}, for probes and metrics: {why}. "
        "Choose another with --port (0 takes a free one) or --host."
    )


def url_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def serving(bound: socket.socket, routes: Routes) -> Iterator[None]:
    """The routes answered on this socket, by threads of this process, until the block ends; the socket ends too."""
    server = _Server(bound, routes)
    thread = threading.Thread(target=server.serve_forever, args=(LOOK_SECONDS,), name="serving", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True  # a slow client does not keep the process from ending

    def __init__(self, bound: socket.socket, routes: Routes) -> None:
        super().__init__(bound.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.routes = routes
        self._lock = threading.Lock()
        self._begun: dict[socket.socket, float] = {}  # open connections, the oldest first

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._begun) >= MOST_CONNECTIONS:
                oldest = next(iter(self._begun))
                del self._begun[oldest]
                _interrupt(oldest)
            self._begun[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Called all the time: ends the connections that take too long."""
        overdue = time.monotonic() - CONNECTION_SECONDS
        with self._lock:
            for request in [request for request, begun in self._begun.items() if begun < overdue]:
                _interrupt(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._begun.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to write about."""
        log.debug("a connection broke", exc_info=True)


def _interrupt(request: socket.socket) -> None:
    """Its thread is told that the client has gone, and ends."""
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a line that names none, which is rubbish: it is answered in full

    def _get(self) -> None:
        route = self.server.routes.get(self.path.partition("?")[0])
        self._send(_answer(route) if route else self._no_such_page())

    do_GET = do_HEAD = _get  # names the library looks for

    def _no_such_page(self) -> Answer:
        return Answer(HTTPStatus.NOT_FOUND, f"There is no such page; there are {', '.join(self.server.routes)}.")

    def _send(self, answer: Answer, **headers: str) -> None:
        body = f"{answer.body.rstrip()}\n".encode()
        self.send_response(answer.status)
        length = {"Content-Type": answer.content_type, "Content-Length": str(len(body))}
        for name, value in {**length, "Cache-Control": "no-store", "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The library's word on what it cannot read, and on methods that there are no names for above."""
        self.close_connection = True
        if code != HTTPStatus.NOT_IMPLEMENTED:
            self._send(Answer(HTTPStatus(code), f"{HTTPStatus(code).phrase}."))
        elif self.path.partition("?")[0] not in self.server.routes:
            self._send(self._no_such_page())
        else:
            self._send(Answer(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered."), Allow="GET, HEAD")

    def version_string(self) -> str:
        return "trainyard"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Probes come every few seconds: nothing to write about."""


def _answer(route: Callable[[], Answer]) -> Answer:
    try:
        return route()
    except Exception:
        log.exception("a request could not be answered")
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "That is a defect; the log says more.")
