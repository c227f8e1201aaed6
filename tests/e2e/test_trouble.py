"""Workers that are killed in every way a cluster has, in one session: its end is that of an undisturbed one."""

from collections.abc import Callable

from tests import natural_keys
from tests.e2e.client import LONGEST_SESSION_SECONDS
from tests.e2e.installation import Installation
from tests.e2e.node.node import Node
from tests.e2e.whole_session import GPUS, LIBRARY, WholeSession
from tests.local_runs import wait_until


def test_a_session_whose_workers_die_ends_like_an_undisturbed_one(
    whole_session: WholeSession, install: Callable[[str], Installation], node: Node
) -> None:
    node.set_gpus(GPUS)
    troubled = install("troubled")
    with troubled.api() as api:
        session = api.begin(LIBRARY)

        killed = troubled.worker_at_work(session, "embed")
        node.kill(troubled.namespace, killed)
        assert _ended(troubled, killed)["exitCode"] == 137

        exhausted = troubled.worker_at_work(session, "detect")
        node.exhaust_memory(troubled.namespace, exhausted)
        assert _ended(troubled, exhausted)["reason"] == "OOMKilled"

        deleted = troubled.worker_at_work(session, "detect")
        troubled.kubectl("delete", "pod", deleted, "--wait=false")
        _is_replaced(troubled, session, deleted)

        evicted = troubled.worker_at_work(session, "detect")
        node.evict(troubled.namespace, evicted)
        _is_replaced(troubled, session, evicted)

        api.completed(session)

    assert natural_keys.everything(troubled) == whole_session.keys


def _ended(installation: Installation, pod: str) -> dict:
    """How its container ended, once it has."""

    def look() -> dict | None:
        statuses = installation.get("pod", pod)["status"].get("containerStatuses", [{}])
        return statuses[0].get("state", {}).get("terminated")

    found = wait_until(look, f"{pod} to end")
    assert found is not None
    return found


def _is_replaced(installation: Installation, session: int, pod: str) -> None:
    """Another pod of the same index runs, and this one no longer."""
    index = pod.rsplit("-", 1)[0]

    def names() -> list[str]:
        return [each["metadata"]["name"] for each in installation.running_workers(session, "detect")]

    def look() -> bool:
        running = names()
        return pod not in running and any(name.startswith(index) for name in running)

    wait_until(look, f"{pod} to be replaced", LONGEST_SESSION_SECONDS)
