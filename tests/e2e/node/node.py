"""The cluster as the tests of this run have it: kubectl's view, and on a node of ours what may befall it."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

from tests.cluster.kubectl import Kubectl, KubectlFailed
from tests.cluster.process_group import last_lines
from tests.e2e.node import containers
from tests.local_runs import wait_until

GPU = "nvidia.com/gpu"
EVENTS_SHOWN = 20


class Node(Kubectl):
    """The cluster of KUBECONFIG. `folder` is that of the one node of this machine; others have none."""

    def __init__(self, kubeconfig: Path, cache: Path, folder: Path | None) -> None:
        super().__init__(kubeconfig, cache)
        self.folder = folder

    @classmethod
    def from_environment(cls) -> Self:
        """As the launcher set it. Raises KeyError."""
        folder = os.environ.get("TRAINYARD_E2E_NODE")
        cache = Path(os.environ["TMPDIR"]) / "kubectl"
        return cls(Path(os.environ["KUBECONFIG"]), cache, Path(folder) if folder else None)

    def evict(self, namespace: str, pod: str) -> None:
        """As `kubectl drain` asks for it."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        self.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))

    def set_gpus(self, count: int) -> None:
        """What every node says it has, which is simulated; none at all for 0."""
        if "TRAINYARD_E2E_SIMULATED_GPUS" not in os.environ:
            pytest.skip("GPUs come and go: only where TRAINYARD_E2E_SIMULATED_GPUS lets tests change what nodes say")
        for node in self.get("nodes")["items"]:
            patch = [_change(node["status"], kind, count) for kind in ("capacity", "allocatable")]
            changes = json.dumps([change for change in patch if change])
            name = node["metadata"]["name"]
            self.kubectl("patch", "node", name, "--subresource=status", "--type=json", f"--patch={changes}")

    # Only on the node that is of this machine

    def host_pid(self, namespace: str, pod: str, container: str | None = None) -> int:
        """Of the main process of the pod's container, as this process sees it."""
        self._needs_own_node()
        return containers.main_process(self._container_id(namespace, pod, container))

    def kill(self, namespace: str, pod: str, container: str | None = None) -> None:
        """SIGKILL, which a process cannot get from its own container."""
        os.kill(self.host_pid(namespace, pod, container), signal.SIGKILL)

    def exhaust_memory(self, namespace: str, pod: str, container: str | None = None) -> None:
        """Let the kernel kill the container's main process at the container's own memory limit."""
        containers.exhaust_memory(self.host_pid(namespace, pod, container))

    def last_lines(self) -> str:
        """What the cluster's programs said last, as far as they are of this machine, and its last events."""
        ours = (self.folder / "control-plane" / "logs", self.folder / "logs") if self.folder else ()
        return "\n".join([*map(last_lines, ours), self._last_events()])

    def _last_events(self) -> str:
        try:
            events = self.kubectl("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp").splitlines()
        except (KubectlFailed, subprocess.TimeoutExpired) as failure:
            return f"no events: {failure}"
        return "\n".join(["--- events, the last:", *events[-EVENTS_SHOWN:]])

    def _container_id(self, namespace: str, pod: str, container: str | None) -> str:
        def look() -> str:
            statuses = self.get("pod", pod, f"--namespace={namespace}")["status"].get("containerStatuses", [])
            running = [each for each in statuses if "running" in each["state"] and container in (None, each["name"])]
            return running[0]["containerID"].removeprefix("containerd://") if running else ""

        return wait_until(look, f"the container of {pod} to run")

    def _needs_own_node(self) -> None:
        if self.folder is None:
            pytest.skip("processes of containers are out of reach: only on the node that `make e2e` makes by itself")


def _change(status: dict[str, Any], kind: str, count: int) -> dict[str, Any] | None:
    """A JSON patch's operation, if one is needed."""
    path = f"/status/{kind}/{GPU.replace('/', '~1')}"
    if count:
        return {"op": "add", "path": path, "value": str(count)}
    return {"op": "remove", "path": path} if GPU in status[kind] else None
