"""An HTTP server that answers as told, for what the real API server does only on a bad day."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Answer:
    """Answers with this status and body."""

    body: Any = field(default_factory=dict)  # JSON, or the bytes themselves
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lines:
    """Streams these, then ends (properly, or in the middle of a chunk), or says nothing more till the server ends."""

    lines: tuple[Any, ...]
    then: str = "end"  # "end", "break" or "wait"


@dataclass(frozen=True)
class NoAnswer:
    """Takes the request and closes the connection, or says nothing till the server ends."""

    waits: bool = False


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class ScriptedApi:
    """Gives the answers in order, the last one again and again; `asked` is what came."""

    def __init__(self) -> None:
        self.answers: list[Answer | Lines | NoAnswer] = []
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def take(self, asked: Asked) -> Answer | Lines | NoAnswer:
        with self._lock:
            self.asked.append(asked)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def status(code: int, reason: str, message: str) -> dict[str, Any]:
    """What the API server explains itself by."""
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


@contextmanager
def scripted_api(kubeconfig: Path) -> Iterator[ScriptedApi]:
    """On a loopback port, with a kubeconfig that leads there."""
    api = ScriptedApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    write_kubeconfig(kubeconfig, f"http://127.0.0.1:{server.server_port}")
    try:
        yield api
    finally:
        api.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def write_kubeconfig(path: Path, server: str) -> None:
    """For a cluster there, and the bearer of a token."""
    config = {
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {"token": "of-a-test"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(config))


def _handler(api: ScriptedApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            match api.take(self._asked()):
                case Answer(body, code, headers):
                    self._send(code, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)
                case Lines(lines, then):
                    self._stream(lines, then)
                case NoAnswer(waits):
                    self.close_connection = True
                    if waits:
                        api.closing.wait()

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # names the server looks for

        def _asked(self) -> Asked:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = dict(parse_qsl(url.query))
            return Asked(
                self.command,
                url.path,
                query,
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(body) if body else None,
            )

        def _send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, lines: tuple[Any, ...], then: str) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in lines:
                text = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            if then == "end":
                self.wfile.write(b"0\r\n\r\n")
            elif then == "break":
                self.wfile.write(b'ff\r\n{"type": "MODI')
                self.close_connection = True
            else:
                self.wfile.flush()
                api.closing.wait()
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Tests say what went wrong."""

    return Handler
