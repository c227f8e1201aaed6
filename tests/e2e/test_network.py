"""Who may reach whom, where the cluster enforces NetworkPolicies; a probe finds out whether it does."""

from typing import Any

import pytest

from tests.e2e.installation import RELEASE, Installation
from tests.local_runs import wait_until

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)"
WORKER = {"app.kubernetes.io/name": "trainyard", "app.kubernetes.io/component": "worker"}


@pytest.fixture
def enforced(installation: Installation) -> None:
    """A pod that may reach nothing reaches the API all the same: then this cluster enforces no policies."""
    name = "nothing"
    deny = {"podSelector": {"matchLabels": {"probe": name}}, "policyTypes": ["Egress"]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": deny}
    installation.cluster.create(policy, installation.namespace)
    assert reaches(installation, "anything", {"probe": "anything"}, *api_address(installation))
    if reaches(installation, name, {"probe": name}, *api_address(installation)):
        pytest.skip("NetworkPolicies: not enforced here")


@pytest.mark.usefixtures("enforced")
def test_a_worker_reaches_the_stores_and_no_more(installation: Installation) -> None:
    host, port = installation.stores.qdrant_url.removeprefix("http://").split(":")
    assert reaches(installation, "to-qdrant", WORKER, host, port)
    assert not reaches(installation, "to-api", WORKER, *api_address(installation))
    assert not reaches(installation, "to-kubernetes", WORKER, "kubernetes.default.svc", "443")


def api_address(installation: Installation) -> tuple[str, str]:
    spec = installation.get("service", f"{RELEASE}-api")["spec"]
    return spec["clusterIP"], str(spec["ports"][0]["port"])


def reaches(installation: Installation, name: str, labels: dict[str, str], host: str, port: str) -> bool:
    """Whether a pod with these labels can connect."""
    installation.cluster.create(_pod(installation, name, labels, [host, port]), installation.namespace)

    def phase() -> str | None:
        now = installation.get("pod", name)["status"].get("phase")
        return now if now in {"Succeeded", "Failed"} else None

    ended = wait_until(phase, f"the pod {name} to end")
    said = installation.kubectl("logs", name)
    assert ended == "Succeeded" or "OSError" in said or "Error" in said, said
    return ended == "Succeeded"


def _pod(installation: Installation, name: str, labels: dict[str, str], arguments: list[str]) -> dict[str, Any]:
    container = {
        "name": "probe",
        "image": installation.images["base"],
        "command": ["python3", "-c", CONNECT, *arguments],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
