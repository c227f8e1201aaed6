"""One session that nothing disturbs, from its beginning to its end; several tests look at what was seen of it.

It begins where no node has a GPU, as on the day before the nodes come, so that it has to wait and say what for.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests import natural_keys
from tests.e2e.client import Api
from tests.e2e.installation import WORKERS, Installation
from tests.e2e.node.node import Node
from tests.e2e.witness import Witness, watching
from tests.local_runs import wait_until
from tests.page.browsing import shoot

LIBRARY = "/photos/library"
GPUS = 4
SCREENSHOTS = os.environ.get("TRAINYARD_SCREENSHOTS")  # where to leave them, for whoever wants to look


@dataclass(frozen=True)
class Waited:
    """How the missing GPU was told of, everywhere."""

    api: dict[str, Any]
    resource: dict[str, Any]
    table: str  # as `kubectl get trainingsessions` prints it
    page: str


@dataclass(frozen=True)
class WholeSession:
    installation: Installation
    id: int
    summary: dict[str, Any]
    waited: Waited
    witness: Witness
    pods: list[dict[str, Any]]  # its workers'
    keys: dict[str, Any]  # tests/natural_keys.py


def run_whole_session(installation: Installation, node: Node, page: Page) -> WholeSession:
    node.set_gpus(0)
    with installation.api() as api:
        session = api.begin(LIBRARY)
        resource = f"session-{session}"
        with watching(api, session, lambda: installation.status(resource)) as witness:
            waited = _waited(installation, api, session, page)
            early = _pods(installation, session)  # a Job is kept for five minutes
            node.set_gpus(GPUS)
            summary = api.completed(session)
            installation.kubectl("wait", f"ts/{resource}", "--for=condition=Complete", "--timeout=15s")
    pods = {**early, **_pods(installation, session)}
    keys = natural_keys.everything(installation)
    return WholeSession(installation, session, summary, waited, witness, list(pods.values()), keys)


def _pods(installation: Installation, session: int) -> dict[str, dict[str, Any]]:
    found = installation.pods(f"{WORKERS},trainyard.dev/session={session}")
    return {pod["metadata"]["uid"]: pod for pod in found}


def _waited(installation: Installation, api: Api, session: int, page: Page) -> Waited:
    def is_told(waiting: dict[str, Any] | None) -> bool:
        return waiting is not None and waiting["code"] == "Unschedulable"

    resource = f"session-{session}"
    of_api = api.until(session, lambda progress: is_told(progress["waiting"]), "to wait for a GPU")["waiting"]
    wait_until(lambda: is_told(installation.status(resource).get("waiting")), "the resource to say so")
    return Waited(
        of_api,
        installation.status(resource)["waiting"],
        installation.kubectl("get", "trainingsessions"),
        _told_on_page(page, api, session),
    )


def _told_on_page(page: Page, api: Api, session: int) -> str:
    """What a person reads there, signed in as an operator."""
    page.goto(f"{api.url}/#/sessions/{session}")
    page.get_by_label("Token").fill(api.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("main")).to_contain_text(re.compile("Insufficient"))
    if SCREENSHOTS:
        shoot(page, Path(SCREENSHOTS), "waiting-for-a-gpu")
    return page.locator("main").inner_text()
