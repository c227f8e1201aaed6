"""The node of the end-to-end tests is a real one: pods run on it, meet their limits, and die in every way."""

import json
import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.kubectl import KubectlFailed
from tests.e2e.node.node import GPU, Node
from tests.local_runs import wait_until

SLEEP = ("sleep", "infinity")
SERVE = ("python3", "-m", "http.server", "8080", "--directory", "/usr/share")
FETCH = "import urllib.request; print(urllib.request.urlopen('http://{}', timeout=5).status)"


class Pods:
    """Pods of the base image in a namespace that refuses any above the restricted level."""

    def __init__(self, node: Node, namespace: str, image: str) -> None:
        self.node, self.namespace, self.image = node, namespace, image

    def create(self, name: str, command: tuple[str, ...], **limits: str) -> None:
        self.node.create(restricted(name, self.image, command, limits), self.namespace)

    def running(self, name: str, command: tuple[str, ...] = SLEEP, **limits: str) -> str:
        self.create(name, command, **limits)
        self.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=50s")
        return name

    def kubectl(self, *arguments: str) -> str:
        return self.node.kubectl(f"--namespace={self.namespace}", *arguments)

    def python(self, pod: str, program: str) -> str:
        return self.kubectl("exec", pod, "--", "python3", "-c", program).strip()

    def ended(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            (status,) = self.node.get("pod", name, f"--namespace={self.namespace}")["status"]["containerStatuses"]
            return dict(status["state"].get("terminated", {}))

        return wait_until(look, f"{name} to end")


@pytest.fixture
def pods(node: Node) -> Iterator[Pods]:
    namespace = f"node-{uuid4().hex[:8]}"
    node.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }
    )
    wait_until(lambda: has_account(node, namespace), "the namespace to have its service account")
    yield Pods(node, namespace, json.loads(os.environ["TRAINYARD_E2E_IMAGES"])["base"])
    node.kubectl("delete", "namespace", namespace, "--wait=false")


def test_a_pod_says_what_it_does_and_has_names_resolved(pods: Pods) -> None:
    pod = pods.running("talking", ("python3", "-c", "print('begun', flush=True); import time; time.sleep(1000)"))
    assert wait_until(lambda: pods.kubectl("logs", pod), "its words to be logged") == "begun\n"
    assert pods.python(pod, "import socket; print(socket.gethostbyname('kubernetes.default.svc'))") == "10.96.0.1"


def test_a_pod_is_reached_by_its_service(pods: Pods) -> None:
    pods.running("server", SERVE)
    client = pods.running("client")
    pods.kubectl("expose", "pod", "server", "--name=web", "--port=80", "--target-port=8080")
    assert wait_until(lambda: fetched(pods, client, "web"), "the service to answer") == "200"
    assert fetched(pods, "server", "web") == "200"  # itself, by way of the node


def test_a_pod_over_its_memory_limit_is_killed(pods: Pods) -> None:
    pods.create("greedy", ("python3", "-c", "x = b'1' * (200 << 20)"), memory="64Mi")
    ended = pods.ended("greedy")
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


def test_a_pod_within_its_limit_can_be_brought_over_it(pods: Pods, node: Node) -> None:
    node.exhaust_memory(pods.namespace, pods.running("modest", memory="1Gi"))
    assert pods.ended("modest")["reason"] == "OOMKilled"


def test_the_main_process_of_a_pod_can_be_killed(pods: Pods, node: Node) -> None:
    node.kill(pods.namespace, pods.running("killed"))
    ended = pods.ended("killed")
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")


def test_a_pod_can_be_evicted_and_deleted(pods: Pods, node: Node) -> None:
    node.evict(pods.namespace, pods.running("evicted"))
    pods.kubectl("wait", "pod/evicted", "--for=delete", "--timeout=50s")
    pods.kubectl("delete", "pod", pods.running("deleted"), "--timeout=50s")
    assert node.get("pods", f"--namespace={pods.namespace}")["items"] == []


def test_a_pod_waits_for_a_gpu_until_the_node_has_one(pods: Pods, node: Node) -> None:
    node.set_gpus(0)
    pods.create("learning", SLEEP, **{GPU: "1"})
    waiting = wait_until(lambda: condition(pods, "learning", "PodScheduled"), "the scheduler's word")
    assert waiting["reason"] == "Unschedulable"
    assert "1 Insufficient nvidia.com/gpu" in waiting["message"]
    node.set_gpus(1)
    pods.kubectl("wait", "pod/learning", "--for=condition=Ready", "--timeout=50s")
    node.set_gpus(0)


def test_the_namespace_refuses_a_pod_above_the_restricted_level(pods: Pods, node: Node) -> None:
    manifest = restricted("root", pods.image, SLEEP, {})
    manifest["spec"]["securityContext"]["runAsNonRoot"] = False
    with pytest.raises(KubectlFailed, match='violates PodSecurity "restricted'):
        node.create(manifest, pods.namespace)


def restricted(name: str, image: str, command: tuple[str, ...], limits: dict[str, str]) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": image,
        "command": list(command),
        "resources": {"limits": limits},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": security,
            "containers": [container],
        },
    }


def fetched(pods: Pods, pod: str, host: str) -> str:
    try:
        return pods.python(pod, FETCH.format(host))
    except KubectlFailed:
        return ""


def condition(pods: Pods, pod: str, kind: str) -> dict[str, Any]:
    conditions = pods.node.get("pod", pod, f"--namespace={pods.namespace}")["status"].get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def has_account(node: Node, namespace: str) -> bool:
    try:
        return bool(node.get("serviceaccount", "default", f"--namespace={namespace}"))
    except KubectlFailed:
        return False
