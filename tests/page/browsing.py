"""What tests of the page share: a browser that is there, and networks that let only so many photos through."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from tests.engines import FakeEngines
from tests.local_runs import LONGEST_WAIT_SECONDS
from tests.served import Served

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
WAIT_MILLISECONDS = 60_000  # on a machine with much else to do
PICTURES_THERE = """() => [...document.images].every((picture) => (
    picture.complete || !picture.checkVisibility() || picture.getBoundingClientRect().top > innerHeight))"""
AN_ANSWER = "Failed to load resource"  # how the console speaks of 401 or of a server that is away


def launch_options() -> dict[str, Any]:
    """For playwright's launch; its own browser is used where none is on the PATH."""
    found = next(filter(_answers, CHROMIUMS), None)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {"executable_path": shutil.which(found), "args": arguments} if found else {"args": arguments}


def _answers(name: str) -> bool:
    """Some systems have a script of that name which only says what to install."""
    return shutil.which(name) is not None and subprocess.run([name, "--version"], capture_output=True).returncode == 0


def fail_without_browser(error: Exception) -> None:
    pytest.fail(f"No browser could be started, which these tests look at the page with. Type: make test-page\n{error}")


@contextmanager
def open_browser() -> Iterator[Browser]:
    expect.set_options(timeout=WAIT_MILLISECONDS)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(**launch_options())
        except Error as error:
            fail_without_browser(error)
        yield browser
        browser.close()


class Witness:
    """What a page asked for and what its console said."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", self._requested)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _requested(self, request: Request) -> None:
        self.requests.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(AN_ANSWER):
            self.complaints.append(message.text)

    def elsewhere(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("http://127.0.0.1:", "data:"))]


class Gate:
    """Lets so many photos through a network and holds the others."""

    def __init__(self, photos: int = 0) -> None:
        self._left: float = photos
        self._changed = threading.Condition()

    def let(self, photos: float) -> None:
        """So many more."""
        with self._changed:
            self._left += photos
            self._changed.notify_all()

    def open(self) -> None:
        self.let(float("inf"))

    def enter(self, photos: int) -> None:
        with self._changed:
            enough = self._changed.wait_for(lambda: self._left >= photos, LONGEST_WAIT_SECONDS)
            assert enough, "nobody let the networks go on"
            self._left -= photos


def hold_embedding(engines: FakeEngines, photos: int = 0) -> Gate:
    gate = Gate(photos)
    engines.fake_clip.on_encode = lambda pictures: gate.enter(len(pictures))
    return gate


def hold_detection(engines: FakeEngines, photos: int = 0) -> Gate:
    gate = Gate(photos)
    detect = engines.fake_faces.detect

    def held(picture: Any, min_confidence: float) -> Any:
        gate.enter(1)
        return detect(picture, min_confidence)

    engines.fake_faces.detect = held  # type: ignore[method-assign]
    return gate


def let_pause(server: Served, gate: Gate) -> None:
    """Let the batches under way pass, once their workers know that they are the last."""

    def told(_: object) -> bool:
        return any(job.state == "stopping" for job in server.run.jobs.observe())

    server.run.wait_for(told, "the workers to be told to stop")
    gate.let(16)


def shoot(page: Page, folder: Path, name: str) -> Path:
    """A picture of the whole page, once the pictures in sight are there."""
    page.wait_for_function(PICTURES_THERE)
    path = folder / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path


def bars(page: Page) -> dict[str, str]:
    """The phases' labels by what stands before the colon."""
    labels = page.locator(".phase-label").all_inner_texts()
    return dict(label.split(": ") for label in labels)
