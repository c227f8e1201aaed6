"""The photos' storage hangs: what has to do with it says so, and nothing else waits for it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from api import storage
from api.app import THREADS
from api.routes import directories
from api.storage import STORAGE_THREADS
from tests.served_rows import ServedRows, served_rows

DIRECTORIES = "/api/v1/directories"


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ServedRows]:
    with served_rows(database_url, tmp_path, image_roots=str(tmp_path)) as found:
        yield found


def test_a_mount_that_hangs_holds_up_nothing_else(server: ServedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, hanging = threading.Event(), threading.Semaphore(0)
    look = directories._roots

    def hang(*given: Any) -> Any:
        hanging.release()
        assert go_on.wait(120)
        return look(*given)

    monkeypatch.setattr(directories, "_roots", hang)
    with ThreadPoolExecutor(STORAGE_THREADS) as clients:
        asked = [clients.submit(server.client.get, DIRECTORIES) for _ in range(STORAGE_THREADS)]
        try:
            assert all(hanging.acquire(timeout=60) for _ in range(STORAGE_THREADS))
            monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.01)
            for _ in range(THREADS):
                refused = server.client.get(DIRECTORIES)
                assert (refused.status_code, refused.json()["code"]) == (503, "StorageBusy")
            assert refused.headers["retry-after"] == "5"
            assert server.progress(server.add()).status_code == 200
            assert server.client.get("/readyz").status_code == 200
        finally:
            go_on.set()
        assert [answer.result().status_code for answer in asked] == [200] * STORAGE_THREADS
    assert server.client.get(DIRECTORIES).status_code == 200
