"""What the end-to-end tests share: the cluster that the launcher started, stores for pods, photos, installations.

`make e2e` (tests/e2e/__main__.py) starts the cluster, and says where everything is by environment variables.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from local.demo_photos import PEOPLE, gather
from tests.cluster.certificates import Authority
from tests.e2e.installation import Installation, Stores
from tests.e2e.node.node import Node
from tests.e2e.stores.postgres import PostgresServer, postgres
from tests.e2e.stores.qdrant import qdrant
from tests.e2e.whole_session import GPUS, WholeSession, run_whole_session
from tests.page.browsing import WAIT_MILLISECONDS, open_browser

KEY = "a-key-of-qdrant"
SOME = ("paused", "cancelled", "replaced", "upgraded", "left")  # folders of sixteen photos, each for one session


@pytest.fixture(scope="session")
def node() -> Node:
    return Node.from_environment()


@pytest.fixture(scope="session")
def photos() -> Path:
    """Pods see it as /photos: the demo's library, folders of sixteen photos, and ones of a single photo."""
    root = Path(os.environ["TRAINYARD_E2E_PHOTOS"])
    gather(root / "library")
    portraits = sorted((root / "library" / PEOPLE).glob("person *"))
    for folder in SOME:
        _copy(portraits[:16], root / folder)
    for folder in ("one", "asked"):
        _copy(portraits[:1], root / folder)
    return root


def _copy(photos: list[Path], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for photo in photos:
        shutil.copy(photo, folder)


@pytest.fixture(scope="session")
def address() -> str:
    """Of this machine, as pods reach it."""
    return os.environ["TRAINYARD_E2E_ADDRESS"]


@pytest.fixture(scope="session")
def postgres_server(address: str) -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)  # under root PostgreSQL's own uid passes, and keeps all it has in here
        data = Path(folder) / "data"
        data.mkdir(mode=0o711)
        with postgres(address, data, Authority(Path(folder) / "pki")) as server:
            yield server


@pytest.fixture(scope="session")
def install(
    node: Node, photos: Path, address: str, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Installation]]:
    """Installs the chart in a new namespace of this name, with stores of its own."""
    images = json.loads(os.environ["TRAINYARD_E2E_IMAGES"])
    with ExitStack() as opened:

        def make(name: str) -> Installation:
            vectors = opened.enter_context(qdrant(address, tmp_path_factory.mktemp(name), KEY, port=_port()))
            url = postgres_server.create(name)
            stores = Stores(url, postgres_server.ca, vectors.url, vectors.api_key)
            installation = Installation(node, name, stores, photos, images)
            opened.callback(installation.close)
            installation.prepare()
            installation.install()
            return installation

        ports = iter(range(6333, 6400))

        def _port() -> int:
            return next(ports)

        yield make


@pytest.fixture(scope="session")
def whole_session(install: Callable[[str], Installation], node: Node, browser: Browser) -> WholeSession:
    with browser.new_context() as context:
        context.set_default_timeout(WAIT_MILLISECONDS)
        return run_whole_session(install("calm"), node, context.new_page())


@pytest.fixture
def installation(whole_session: WholeSession, node: Node) -> Installation:
    """One that works, has done its first session, and has a node with GPUs."""
    node.set_gpus(GPUS)
    return whole_session.installation


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser
