"""What an operator and a person at the page do to sessions and pods in the middle of the day."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.e2e.client import SESSIONS, Api
from tests.e2e.installation import Installation
from tests.e2e.node.node import Node
from tests.local_runs import wait_until

API, CONTROLLER = (f"app.kubernetes.io/component={name}" for name in ("api", "controller"))


def names(installation: Installation, selector: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in installation.pods(selector)}


def test_a_session_is_paused_and_goes_on_where_it_was(installation: Installation) -> None:
    with installation.api() as api:
        session = api.begin("/photos/paused")
        api.is_under_way(session, "faceDetection")
        assert api.ask(session, "pause") == 202
        paused = api.until(session, lambda shown: shown["overallStatus"] == "paused", "to be paused")
        wait_until(lambda: not _unended(installation, session), "its pods to end")
        assert api.progress(session)["overallProgress"] == paused["overallProgress"] | {"etaSeconds": None}
        assert api.ask(session, "resume") == 202
        assert api.completed(session)["images"]["processed"] == 16


def test_a_cancelled_session_leaves_no_pod_and_no_job(installation: Installation) -> None:
    with installation.api() as api:
        session = api.begin("/photos/cancelled")
        installation.worker_at_work(session, "embed")
        assert api.ask(session, "cancel") == 202
        assert api.ended(session)["overallStatus"] == "cancelled"
    wait_until(lambda: not _unended(installation, session), "its pods to end")


def _unended(installation: Installation, session: int) -> list[str]:
    pods = installation.pods(f"trainyard.dev/session={session}")
    return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] in {"Pending", "Running"}]


def test_controllers_and_apis_are_replaced_while_a_session_runs(installation: Installation) -> None:
    before = {selector: names(installation, selector) for selector in (API, CONTROLLER)}
    with installation.api() as api:
        session = api.begin("/photos/replaced")
        api.is_under_way(session, "faceDetection")
        for selector in before:
            installation.kubectl("delete", "pods", f"--selector={selector}", "--wait=false")
        ended = api.completed(session)
    assert ended["images"]["processed"] == 16
    for selector, deleted in before.items():
        assert not names(installation, selector) & deleted
        installation.kubectl("wait", "pods", f"--selector={selector}", "--for=condition=Ready", "--timeout=90s")


def test_an_api_killed_while_it_makes_a_session_makes_one(installation: Installation, node: Node) -> None:
    """The client asks again with the same key, as one does that heard no answer."""
    key = "asked-again-until-it-is-answered"
    apis = [node.host_pid(installation.namespace, name) for name in names(installation, API)]
    with installation.api() as api, ThreadPoolExecutor() as pool:
        asking = [pool.submit(_ask, api, key) for _ in range(16)]
        for pid in apis:
            os.kill(pid, signal.SIGKILL)
        for each in asking:
            each.result()
        answer = wait_until(lambda: _ask(api, key), "an answer")
        assert answer is not None
        session = answer.json()["id"]
        same = installation.rows("SELECT id FROM training_sessions WHERE idempotency_key = :key", key=key)
        assert [row.id for row in same] == [session]
        assert api.ask(session, "cancel") == 202


def _ask(api: Api, key: str) -> httpx.Response | None:
    try:
        answer = api.post(SESSIONS, key=key, rootPath="/photos/asked")
    except httpx.TransportError:
        api.renew()
        return None
    return answer if answer.is_success else None
