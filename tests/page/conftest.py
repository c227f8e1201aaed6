"""A real browser, a page in it that may ask nobody but the server, and a server with photos."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.libraries import write_broken, write_photos
from tests.local_runs import data_directory
from tests.page.browsing import WAIT_MILLISECONDS, Witness, open_browser
from tests.page.gallery import finished_gallery
from tests.people_libraries import Library, copied
from tests.served import Served, served

SETTINGS: dict[str, Any] = {"progress_weights": "30/65/5", "loaders": 1, "face_engine": "insightface"}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that is checked in the end: it asked nobody else for anything, and its console had nothing to say."""
    # Without motion, so that pictures show where a bar is, not where it comes from.
    view = {"viewport": {"width": 1200, "height": 900}, "reduced_motion": "reduce", "timezone_id": "Europe/Berlin"}
    with browser.new_context(**view) as context:  # type: ignore[arg-type]
        context.set_default_timeout(WAIT_MILLISECONDS)
        page = context.new_page()
        witness = Witness(page)
        yield page
        assert witness.elsewhere() == []
        assert witness.complaints == []


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("TRAINYARD_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with data_directory() as folder:
        yield folder


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Forty photos in two folders."""
    return write_photos(tmp_path / "photos", 40)


@pytest.fixture
def broken_library(library: Path) -> Path:
    """Forty photos and three files that are none."""
    write_broken(library)
    return library


@pytest.fixture
def server(data_dir: Path, library: Path) -> Iterator[Served]:
    with served(data_dir, library, **SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with finished_gallery(tmp_path_factory.mktemp("gallery")) as made:
        yield made


@pytest.fixture
def known(original: Library, tmp_path: Path) -> Iterator[Served]:
    """A server whose photos are done: six groups of faces (tests/page/gallery.py), of which nobody has a name."""
    with copied(original, tmp_path) as here, served(here.data_dir, here.photos, **SETTINGS) as server:
        yield server
