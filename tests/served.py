"""`trainyard serve` inside a test: the real server on a free port, the real engine with fake networks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from api.app import create_app
from api.server import listen, open_services, serving
from api.services import Services
from tests.local_runs import Run
from trainyard.lifecycle import ENDED

DOWN_TO_HERE = 30.0  # seconds a request may take on a machine with much else to do


class Served:
    """A server and a client of it; `run` is the installation behind them."""

    def __init__(self, url: str, run: Run, services: Services) -> None:
        self.url = url
        self.run = run
        self.services = services
        self.client = httpx.Client(base_url=url, timeout=DOWN_TO_HERE)

    def create(self, root: Path, **body: Any) -> int:
        """The id of a new session of this folder."""
        answer = self.client.post("/api/v1/training/sessions", json={"rootPath": str(root), **body})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def session(self, session_id: int) -> dict[str, Any]:
        answer = self.client.get(f"/api/v1/training/sessions/{session_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ended(self, session_id: int) -> dict[str, Any]:
        """The session as the API shows it, once it has ended."""
        self.run.ended(session_id)
        session = self.session(session_id)
        assert session["overallStatus"] in ENDED
        return session

    def ask(self, session_id: int, verb: str) -> httpx.Response:
        return self.client.post(f"/api/v1/training/sessions/{session_id}/{verb}")


@contextmanager
def served(data_dir: Path, image_root: Path, **settings: Any) -> Iterator[Served]:
    """Serve this data directory; `image_root` is what sessions may read."""
    with Run(data_dir, image_roots=str(image_root), **settings) as run:
        run.start()
        with (
            listen("127.0.0.1", 0, run.settings) as bound,
            open_services(run.settings, run.database.url, run.vectors) as services,
            serving(create_app(services), bound) as serves,
        ):
            server = Served(serves.url, run, services)
            with server.client:
                yield server


def hold(event: threading.Event) -> Any:
    """A hook for fake networks (`on_encode`) that waits for the event: sessions stay in that phase until it is set."""

    def wait(_: Any) -> None:
        assert event.wait(120), "nobody let the networks go on"

    return wait
