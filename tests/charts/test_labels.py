"""What selects what: each object its own pods, and none a worker's that is not meant for workers."""

from typing import Any
from uuid import UUID

import pytest

from controller.backend import JobSpec
from controller.kubernetes.names import job_labels
from tests.charts.rendering import RELEASE, Manifest, Rendering, render

WORKER = job_labels(JobSpec(1, "embed", 1, 4, "token"), UUID(int=7))
SELECTING = {
    "Deployment": ("spec", "selector", "matchLabels"),
    "StatefulSet": ("spec", "selector", "matchLabels"),
    "PodDisruptionBudget": ("spec", "selector", "matchLabels"),
    "Service": ("spec", "selector"),
    "NetworkPolicy": ("spec", "podSelector", "matchLabels"),
}


def test_each_selects_the_pods_of_its_component_and_no_others(rendering: Rendering) -> None:
    components = {pod.component: pod.labels for pod in rendering.pods()} | {"worker": WORKER}
    for manifest, labels in _selectors(rendering):
        own = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        selected = {name for name, theirs in components.items() if labels.items() <= theirs.items()}
        assert selected == {own} & set(components), f"{manifest['kind']}/{manifest['metadata']['name']}"


def test_workers_are_selected_by_their_policy_alone(rendering: Rendering) -> None:
    selecting = {
        (m["kind"], m["metadata"]["name"]) for m, labels in _selectors(rendering) if labels.items() <= WORKER.items()
    }
    there = bool(rendering.of_kind("NetworkPolicy"))
    assert selecting == ({("NetworkPolicy", "trainyard-worker")} if there else set())


def _selectors(rendering: Rendering) -> list[tuple[Manifest, dict[str, str]]]:
    kinds = [m for m in rendering.manifests if m["kind"] in SELECTING]
    return [(manifest, _at(manifest, *SELECTING[manifest["kind"]])) for manifest in kinds]


def _at(manifest: Any, *path: str) -> Any:
    for key in path:
        manifest = manifest[key]
    return manifest


def test_another_release_selects_none_of_these_pods(rendering: Rendering) -> None:
    other = render({"evaluation": {"enabled": True}}, release="other-trainyard")
    pods = list(rendering.pods())
    for manifest, labels in _selectors(other):
        if manifest["metadata"]["labels"]["app.kubernetes.io/component"] != "worker":
            assert not any(labels.items() <= pod.labels.items() for pod in pods)


def test_a_service_monitor_finds_the_port_of_its_service(rendering: Rendering) -> None:
    services = rendering.of_kind("Service")
    for name, monitor in rendering.of_kind("ServiceMonitor").items():
        labels = monitor["spec"]["selector"]["matchLabels"]
        found = {s for s, service in services.items() if labels.items() <= service["metadata"]["labels"].items()}
        (endpoint,) = monitor["spec"]["endpoints"]
        assert found == {name}
        assert endpoint["port"] in {port["name"] for port in services[name]["spec"]["ports"]}


def test_a_service_leads_to_a_port_of_its_pods(rendering: Rendering) -> None:
    for name, service in rendering.of_kind("Service").items():
        pod = rendering.pod(service["metadata"]["labels"]["app.kubernetes.io/component"])
        ports = {port["name"] for container in pod.containers for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, name


def test_everything_is_of_the_release_and_its_namespace(rendering: Rendering) -> None:
    for manifest in rendering.manifests:
        metadata = manifest["metadata"]
        assert metadata["namespace"] == "photos"
        assert metadata["name"].startswith(f"{RELEASE}-")
        assert metadata["labels"]["app.kubernetes.io/instance"] == RELEASE
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_nothing_is_made_twice(rendering: Rendering) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in rendering.manifests]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("release", "begin"), [("yard", "yard-trainyard-"), ("my-trainyard", "my-trainyard-"), ("a" * 53, "a" * 40)]
)
def test_names_begin_with_the_release_and_stay_short(release: str, begin: str) -> None:
    for manifest in render({"evaluation": {"enabled": True}}, release=release).manifests:
        name = manifest["metadata"]["name"]
        assert name.startswith(begin)
        longest = 52 if manifest["kind"] == "StatefulSet" else 63  # its pods are labelled with it and a hash
        assert len(name) <= longest
