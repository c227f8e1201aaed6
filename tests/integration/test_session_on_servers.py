"""Whole sessions as on a cluster: PostgreSQL over TLS, by a password, and a Qdrant server, by a key.

The certificate is checked as the controller has its workers check it (PGSSLMODE and PGSSLROOTCERT). Only the networks
are fake, and workers are threads.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest

from tests.cluster.certificates import Authority
from tests.e2e.stores.postgres import PASSWORD, PostgresServer, postgres
from tests.e2e.stores.qdrant import Qdrant, StandIn, free_port, stand_in
from tests.libraries import write_broken, write_photos
from tests.local_runs import REPOSITORY, Run, data_directory, running
from tests.natural_keys import everything
from tests.processes import settings_of_tests
from trainyard.database import CHANNEL, Database, migrate, notify
from trainyard.vectors import Vectors

HOST, KEY = "127.0.0.1", "a key: %41+/="
OUTAGE_SECONDS = 60.0


# A thread that ends by an error, as one that listens may, fails the test whose session goes on without it.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


class ServedRun(Run):
    """An installation on servers that are not its own."""

    def __init__(self, folder: Path, database_url: str, qdrant: Qdrant, **settings: Any) -> None:
        super().__init__(folder, outage_seconds=OUTAGE_SECONDS, **settings)
        self._url, self._qdrant = database_url, qdrant

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            migrate(self._url)
            self.database = Database(self._url, outage_seconds=OUTAGE_SECONDS, pool_size=8)
            opening.callback(self.database.close)
            self._steering = Database(self._url, pool_size=2)
            opening.callback(self._steering.close)
            self.vectors = opening.enter_context(closing(Vectors.server(self._qdrant.url, self._qdrant.api_key)))
            self._make_controller()
            self._open = opening.pop_all()
        self.start()
        return self

    def bring_back_postgres(self) -> None:
        """It is not ours."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp("postgres")
    with postgres(HOST, folder / "data", Authority(folder / "ca"), free_port(HOST)) as server:
        yield server


@pytest.fixture
def database_url(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(server.ca))
    yield server.create("photos")
    server.drop("photos")


@pytest.fixture
def qdrant(tmp_path: Path) -> Iterator[StandIn]:
    with stand_in(HOST, tmp_path / "qdrant", KEY, port=0) as server:
        yield server


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_photos(tmp_path_factory.mktemp("photos"), 24)
    write_broken(folder)
    return folder


@pytest.fixture(scope="module")
def made_at_home(photos: Path) -> dict[str, Any]:
    """What a session makes of the photos on one machine, with the stores of its own."""
    with data_directory() as folder, running(folder) as run:
        assert run.run(photos)["overallStatus"] == "completed"
        return everything(run)


def test_a_session_makes_what_it_makes_on_one_machine(
    database_url: str,
    server: PostgresServer,
    qdrant: StandIn,
    photos: Path,
    made_at_home: dict[str, Any],
    tmp_path: Path,
) -> None:
    with ServedRun(tmp_path / "data", database_url, qdrant.qdrant) as run:
        assert run.run(photos)["overallStatus"] == "completed"
        assert everything(run) == made_at_home
    assert "COPY public.training_evidence" in server.dump("photos")


def test_a_session_rides_out_the_loss_of_both_servers(
    database_url: str,
    server: PostgresServer,
    qdrant: StandIn,
    photos: Path,
    made_at_home: dict[str, Any],
    tmp_path: Path,
) -> None:
    lost = threading.Event()

    def lose(_: object) -> None:
        if not lost.is_set():
            server.stop()
            qdrant.stop()
            lost.set()

    with ServedRun(tmp_path / "data", database_url, qdrant.qdrant) as run:
        run.engines.fake_clip.on_encode = lose
        session_id = run.begin(photos)
        assert lost.wait(OUTAGE_SECONDS)
        server.start()
        run.waiting_code(session_id, "VectorsUnavailable")
        qdrant.start()
        assert run.ended(session_id)["overallStatus"] == "completed"
        assert everything(run) == made_at_home


def test_a_connection_of_ones_own_is_told_of_changes(database_url: str) -> None:
    with closing(Database(database_url)) as database, database.connect() as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        database.transact(notify)
        assert [told.channel for told in connection.notifies(timeout=30, stop_after=1)] == [CHANNEL]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("authority", "certificate verify failed"),
        ("password", "password authentication failed"),
        ("encryption", "takes connections over TLS only"),
    ],
)
def test_a_connection_that_the_server_does_not_take_is_told_in_a_line_without_the_password(
    database_url: str, server: PostgresServer, tmp_path: Path, wrong: str, words: str
) -> None:
    stranger = Authority(tmp_path / "ca").certificate
    ours = {"TRAINYARD_DATABASE_URL": database_url, "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(server.ca)}
    theirs = {
        "authority": {"PGSSLROOTCERT": str(stranger)},
        "password": {"TRAINYARD_DATABASE_URL": database_url.replace("p%40ss", "s3cret")},
        "encryption": {"TRAINYARD_DATABASE_URL": f"{database_url}?sslmode=disable"},
    }
    command = [sys.executable, "-m", "cli.main", "migrate"]
    environment = {**settings_of_tests(), **ours, **theirs[wrong]}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not any(secret in done.stderr for secret in ("s3cret", PASSWORD, quote(PASSWORD, safe="")))
