"""Nodes without machines: kwok plays their kubelets, and tests say when and how a pod ends (see stages.yaml)."""

import json
from typing import Any

from tests.cluster.components import FAKE_NODE
from tests.cluster.control_plane import ControlPlane
from tests.local_runs import wait_until

EXIT_CODE = "test.trainyard.dev/exit-code"
MESSAGE = "test.trainyard.dev/message"
GPU = "nvidia.com/gpu"
SILENT = {  # what the controller manager writes after 50 s without a sign; after that all is its own doing
    "type": "Ready",
    "status": "Unknown",
    "reason": "NodeStatusUnknown",
    "message": "Kubelet stopped posting node status.",
}
CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


class FakeNodes:
    """The nodes of one test; `remove_all` at its end."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._names: list[str] = []

    def add(self, name: str, gpus: int = 8, taints: tuple[dict[str, str], ...] = ()) -> None:
        """A node that is ready for pods."""
        self._names.append(name)
        self._control_plane.create(_node(name, gpus, taints))
        wait_until(lambda: self._is_ready(name), f"node {name} to be ready")

    def lose(self, name: str) -> None:
        """Nobody speaks for the node any more: its pods are deleted and stay Terminating, for ever.

        They are deleted when what they tolerate is over, which is a second unless they say otherwise.
        """
        self._control_plane.kubectl("label", "node", name, f"{FAKE_NODE.split('=')[0]}-")
        lost = json.dumps({"status": {"conditions": [SILENT]}})
        self._control_plane.kubectl("patch", "node", name, "--subresource=status", f"--patch={lost}")

    def end_pod(self, namespace: str, name: str, exit_code: int, message: str = "") -> None:
        """End a running pod's containers with this exit code; the message is what the container left behind."""
        annotations = (f"{EXIT_CODE}={exit_code}", f"{MESSAGE}={message}")
        self._control_plane.kubectl("annotate", "pod", name, f"--namespace={namespace}", "--overwrite", *annotations)

    def remove_all(self) -> None:
        if self._names:
            self._control_plane.kubectl("delete", "node", "--ignore-not-found", *self._names)
            self._names.clear()

    def _is_ready(self, name: str) -> bool:
        node = self._control_plane.get("node", name)
        conditions = {condition["type"]: condition["status"] for condition in node["status"].get("conditions", [])}
        kept_out = [taint for taint in node["spec"].get("taints", []) if taint["key"].endswith("/not-ready")]
        return conditions.get("Ready") == "True" and not kept_out


def _node(name: str, gpus: int, taints: tuple[dict[str, str], ...]) -> dict[str, Any]:
    has = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110"} | (
        {GPU: str(gpus)} if gpus else {}
    )
    key, value = FAKE_NODE.split("=")
    labels = {key: value, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints)},
        "status": {"capacity": has, "allocatable": has},
    }
