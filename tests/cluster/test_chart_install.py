"""The chart installed, upgraded and uninstalled by helm on a real API server; no node runs its pods."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from tests.charts.cases import CASES, EVALUATION
from tests.charts.rendering import CHART, HelmRefused, Values, helm, merged
from tests.cluster.control_plane import ControlPlane, KubectlFailed

Install = Callable[..., str]


@pytest.fixture
def install(with_crd: ControlPlane, namespace: str) -> Install:
    """helm in the namespace of the test; it waits for no pod."""

    def call(*arguments: str, values: Values | None = None) -> str:
        who = (f"--kubeconfig={with_crd.admin}", f"--namespace={namespace}")
        return helm(*arguments, *who, *(["--values=-"] if values else []), stdin=json.dumps(values) if values else None)

    return call


def up(install: Install, values: Values, release: str = "trainyard") -> str:
    return install("upgrade", "--install", release, str(CHART), values=values)


def test_evaluation_keeps_what_it_made_up(with_crd: ControlPlane, namespace: str, install: Install) -> None:
    """Through an upgrade, and from one install to the next: the database has its password on disk."""

    def secret() -> dict[str, Any]:
        return dict(with_crd.get("secret", "trainyard-evaluation", f"--namespace={namespace}")["data"])

    up(install, EVALUATION)
    before = secret()
    up(install, merged(EVALUATION, {"api": {"replicas": 1}}))
    assert secret() == before
    install("uninstall", "trainyard")
    assert secret() == before
    up(install, EVALUATION)
    assert secret() == before


def test_uninstalling_leaves_claims_secret_and_the_resources_kind(
    with_crd: ControlPlane, namespace: str, install: Install
) -> None:
    up(install, EVALUATION)
    resource = {"apiVersion": "trainyard.dev/v1alpha1", "kind": "TrainingSession", "metadata": {"name": "kept"}}
    with_crd.create({**resource, "spec": {"rootPath": "/photos"}}, namespace)
    install("uninstall", "trainyard")
    kinds = "deployments,statefulsets,services,configmaps,roles,rolebindings,networkpolicies,poddisruptionbudgets"
    left = with_crd.get(kinds, f"--namespace={namespace}", "--selector=app.kubernetes.io/instance=trainyard")
    assert left["items"] == []
    for kind, name in (
        ("persistentvolumeclaim", "photos"),
        ("persistentvolumeclaim", "models"),
        ("secret", "evaluation"),
    ):
        assert with_crd.get(kind, f"trainyard-{name}", f"--namespace={namespace}")
    assert with_crd.get("trainingsession", "kept", f"--namespace={namespace}")


def test_a_namespace_takes_one_installation(install: Install) -> None:
    up(install, EVALUATION)
    with pytest.raises(HelmRefused, match=r"has an installation already, release trainyard\. One installation is one"):
        up(install, EVALUATION, release="second")


def test_upgrades_follow_one_another(with_crd: ControlPlane, namespace: str, install: Install) -> None:
    """Through every rendering there is: nothing is changed that Kubernetes lets nobody change."""
    for case, values in CASES.items():
        if "evaluation" not in case and not values.get("serviceMonitor"):
            up(install, values)
    deployments = with_crd.get("deployments", f"--namespace={namespace}")["items"]
    assert {found["metadata"]["name"] for found in deployments} == {"trainyard-api", "trainyard-controller"}


def test_the_notes_say_how_to_read_the_token(with_crd: ControlPlane, namespace: str, install: Install) -> None:
    notes = up(install, EVALUATION)
    (line,) = (line.strip() for line in notes.splitlines() if "get secret" in line)
    program, *arguments = shlex.split(line)
    tokens = with_crd.kubectl(*arguments)
    assert program == "kubectl"
    lines = with_crd.kubectl(
        *("get", "secret", "trainyard-evaluation", f"--namespace={namespace}"),
        "--output=go-template={{ .data.tokens | base64decode }}",
    )
    assert f"operator {tokens}\n" in lines


def test_the_notes_commands_are_ones_that_kubectl_has(with_crd: ControlPlane, install: Install) -> None:
    """Each is parsed by kubectl, which then finds that nothing is there yet, or that time is up."""
    notes = up(install, EVALUATION)
    waits = [
        shlex.split(line)[1:] for line in notes.splitlines() if line.strip().startswith("kubectl") and " wait " in line
    ]
    assert len(waits) == 2
    for arguments in waits:
        shortened = ["--timeout=0" if argument.startswith("--timeout") else argument for argument in arguments]
        with pytest.raises(KubectlFailed, match=r"condition not met|timed out"):
            with_crd.kubectl(*shortened)
