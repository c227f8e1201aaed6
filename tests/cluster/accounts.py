"""The controller's service account, with the rights that an installation grants it and no others."""

from pathlib import Path
from typing import Any

import yaml

from tests.cluster.control_plane import ControlPlane

RULES = Path(__file__).parents[2] / "charts/trainyard/files/controller-rules.yaml"
NAME = "trainyard-controller"


def controller_rules() -> list[dict[str, list[str]]]:
    return list(yaml.safe_load(RULES.read_text()))


def granted() -> set[tuple[str, str]]:
    """Every verb with its resource."""
    return {(verb, resource) for rule in controller_rules() for resource in rule["resources"] for verb in rule["verbs"]}


def controller_account(control_plane: ControlPlane, namespace: str) -> Path:
    """Made in this namespace; a kubeconfig of its own."""
    for manifest in (_account(), _role(), _binding(namespace)):
        control_plane.create(manifest, namespace)
    return control_plane.kubeconfig_of_service_account(namespace, NAME)


def _account() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}}


def _role() -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": NAME},
        "rules": controller_rules(),
    }


def _binding(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
    }
