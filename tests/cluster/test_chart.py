"""The chart's renderings against a real API server: each is taken, its pods at the restricted level."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from controller.backend import JobSpec
from controller.kubernetes.manifests import job_manifest
from controller.kubernetes.names import job_name
from tests.charts.cases import CASES, EVALUATION
from tests.charts.rendering import render
from tests.cluster.control_plane import ControlPlane, KubectlFailed
from trainyard.steps import STEPS

RESTRICTED = "charts-restricted"
LEVELS = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
DRY = ("--dry-run=server", "--validate=strict", "--filename=-", f"--namespace={RESTRICTED}")


@pytest.fixture(scope="module")
def restricted(with_crd: ControlPlane) -> Iterator[ControlPlane]:
    """Has a namespace at the restricted level in which the chart's accounts are, without which no pod is taken."""
    with_crd.kubectl("create", "namespace", RESTRICTED)
    with_crd.kubectl("label", "namespace", RESTRICTED, *LEVELS)
    with_crd.kubectl("apply", "--filename=-", stdin=json.dumps(_service_monitors()))
    with_crd.kubectl("wait", "--for=condition=Established", "crd/servicemonitors.monitoring.coreos.com")
    for account in render(EVALUATION, namespace=RESTRICTED).of_kind("ServiceAccount").values():
        with_crd.create(account, RESTRICTED)
    yield with_crd
    with_crd.kubectl("delete", "namespace", RESTRICTED, "--wait=false")


def _service_monitors() -> dict[str, Any]:
    """The kind as the Prometheus operator serves it, of its schema only what the chart writes."""
    text = {"type": "string"}
    credentials = {"type": "object", "required": ["key"], "properties": {"name": text, "key": text}}
    authorization = {"type": "object", "properties": {"type": text, "credentials": credentials}}
    endpoint = {
        "type": "object",
        "properties": {"port": text, "path": text, "interval": text, "authorization": authorization},
    }
    labels = {"type": "object", "additionalProperties": text}
    spec = {
        "type": "object",
        "required": ["endpoints", "selector"],
        "properties": {
            "selector": {"type": "object", "properties": {"matchLabels": labels}},
            "endpoints": {"type": "array", "items": endpoint},
        },
    }
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec}}
    names = {"kind": "ServiceMonitor", "plural": "servicemonitors", "singular": "servicemonitor"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
        "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


@pytest.mark.parametrize("case", CASES)
def test_every_rendering_is_taken(restricted: ControlPlane, case: str) -> None:
    rendering = render(CASES[case], namespace=RESTRICTED)
    said = restricted.kubectl("apply", *DRY, stdin=rendering.text)
    assert said.count("(server dry run)") == len(rendering.manifests)


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_taken_at_the_restricted_level(restricted: ControlPlane, case: str, tmp_path: Path) -> None:
    """The chart's, and those of the Jobs that its settings lead to. Only pods are held to the level, not templates."""
    rendering = render(CASES[case], namespace=RESTRICTED)
    pods = [_pod(pod.component, pod.spec) for pod in rendering.pods()]
    settings = rendering.settings(tmp_path)
    for step in STEPS:
        spec = JobSpec(1, step, 1, 4, "token")
        job = job_manifest(spec, settings, installation=UUID(int=7), owner=None, number=0)
        pods.append(_pod(job_name(spec, 0), job["spec"]["template"]["spec"]))
    pods = [pod for pod in pods if "runtimeClassName" not in pod["spec"]]
    said = restricted.kubectl("create", *DRY, stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    assert said.count("(server dry run)") == len(pods)


def test_a_pod_that_is_not_restricted_is_refused_there(restricted: ControlPlane) -> None:
    """Or the test above would say nothing."""
    (spec,) = (pod.spec for pod in render(EVALUATION, namespace=RESTRICTED).pods() if pod.component == "test")
    (container,) = spec["containers"]
    loose = {**spec, "containers": [{**container, "securityContext": {}}]}
    with pytest.raises(KubectlFailed, match="violates PodSecurity"):
        restricted.kubectl("create", *DRY, stdin=json.dumps(_pod("loose", loose)))


def _pod(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Volumes of claims made by a template are a claim's."""
    claimed = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
    missing = claimed - {volume["name"] for volume in spec["volumes"]}
    claims = [{"name": volume, "persistentVolumeClaim": {"claimName": volume}} for volume in sorted(missing)]
    spec = {"restartPolicy": "Always", **spec, "volumes": [*spec["volumes"], *claims]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
