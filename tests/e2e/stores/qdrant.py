"""A Qdrant for pods: a server that is given by its URL, or a stand-in for one, as none can be had from a registry.

`python -m tests.e2e.stores.qdrant --host --port --folder --api-key-file` is the stand-in as a process of its own. It
takes any number of connections, keeps everything in the folder, and can be killed and started again.
"""

import argparse
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from tests.e2e.stores.qdrant_calls import NOT_KNOWN, Server

REPOSITORY = Path(__file__).parents[3]
URL, KEY = "TRAINYARD_E2E_QDRANT_URL", "TRAINYARD_E2E_QDRANT_API_KEY"  # of a real server, where there is one


@dataclass(frozen=True)
class Qdrant:
    url: str
    api_key: str | None


class StandIn:
    """The process; its folder keeps what it holds between `stop` and `start`."""

    def __init__(self, host: str, port: int, folder: Path, api_key: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host, self.folder = host, folder
        self.port = port or free_port(host)
        self.qdrant = Qdrant(f"http://{host}:{self.port}", api_key)
        self.log = folder / "qdrant.log"
        self._key_file = folder / "api-key"
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(api_key)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from tests.local_runs import wait_until  # whose imports, of seconds, the process itself has no use for

        command = [sys.executable, "-m", "tests.e2e.stores.qdrant", "--host", self.host, "--port", str(self.port)]
        command += ["--folder", str(self.folder), "--api-key-file", str(self._key_file), "--until-stdin-ends"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=log, stderr=log, process_group=0
            )
        wait_until(self._ready, f"{self.qdrant.url} to be ready")

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the stand-in for Qdrant ended:\n{self.log.read_text()}"
        try:
            return httpx.get(f"{self.qdrant.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """As a server whose machine is gone: nothing is said to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def check(self) -> None:
        """Every call was one that is known; raises AssertionError with those that were not."""
        record = self.folder / NOT_KNOWN
        assert not record.exists(), f"calls that the stand-in for Qdrant does not know:\n{record.read_text()}"


@contextmanager
def stand_in(host: str, folder: Path, api_key: str, port: int = 6333) -> Iterator[StandIn]:
    """Started, and at the end stopped and asked whether all it was asked is known to it."""
    server = StandIn(host, port, folder, api_key)
    try:
        server.start()
        yield server
    finally:
        server.stop()
    server.check()


@contextmanager
def qdrant(host: str, folder: Path, api_key: str, port: int = 6333) -> Iterator[Qdrant]:
    """The server that TRAINYARD_E2E_QDRANT_URL names, or a stand-in at this address."""
    if url := os.environ.get(URL):
        yield Qdrant(url, os.environ.get(KEY))
        return
    with stand_in(host, folder, api_key, port) as server:
        yield server.qdrant


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for a Qdrant server, for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6333)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--api-key-file", type=Path, help="without one, everybody may call")
    parser.add_argument("--until-stdin-ends", action="store_true", help="end with whoever started this")
    wish = parser.parse_args()
    wish.folder.mkdir(parents=True, exist_ok=True)
    served = Server(wish.folder, wish.api_key_file.read_text().strip() if wish.api_key_file else None)
    server = uvicorn.Server(uvicorn.Config(served.app, wish.host, wish.port, log_level="warning"))
    if wish.until_stdin_ends:
        threading.Thread(target=_end_with_stdin, args=[server], daemon=True).start()
    server.run()
    served.close()


def _end_with_stdin(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    main()
