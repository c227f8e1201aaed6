"""What an installation finds in its namespace: volumes of photos and models, and the settings that name them."""

from typing import Any
from uuid import uuid4

from controller.kubernetes.settings import KubernetesSettings
from tests.cluster.control_plane import ControlPlane
from tests.local_runs import wait_until

VOLUMES = ("photos", "models")


def bind_volumes(control_plane: ControlPlane, namespace: str) -> None:
    """The claims that the settings name, without which no pod of theirs is given a node."""
    for name in VOLUMES:
        control_plane.create(_volume(f"{namespace}-{name}", namespace, name))
        control_plane.create(_claim(f"{namespace}-{name}", name), namespace)
    wait_until(lambda: _are_bound(control_plane, namespace), "the claims to be bound")


def kubernetes_settings(
    namespace: str, steps: dict[str, dict[str, Any]] | None = None, **defaults: Any
) -> KubernetesSettings:
    """`defaults` are those of every step, over ones that suit pods that end at once; `steps` are single ones' own."""
    content = {
        "namespace": namespace,
        "image": "trainyard-jobs",
        "photos": {"claimName": "photos", "mountPath": "/photos"},
        "models": {"claimName": "models", "mountPath": "/models"},
        "database": {"secretName": "postgres", "key": "url"},
        "qdrant": {"secretName": "qdrant", "key": "url"},
        "defaults": {"parallelism": 8, "terminationGracePeriodSeconds": 1, **defaults},
        "steps": steps or {},
    }
    return KubernetesSettings.model_validate(content)


def _volume(name: str, namespace: str, claim: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "claimRef": {"namespace": namespace, "name": claim},
            "hostPath": {"path": f"/{claim}"},
        },
    }


def _claim(volume: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def _are_bound(control_plane: ControlPlane, namespace: str) -> bool:
    """Has those that are not looked at again, by touching them: Kubernetes alone does so every 15 seconds."""
    claims = control_plane.get("persistentvolumeclaims", f"--namespace={namespace}")["items"]
    unbound = [claim["metadata"]["name"] for claim in claims if claim["status"].get("phase") != "Bound"]
    if unbound:
        touched = f"test.trainyard.dev/touched={uuid4()}"
        claim = ("persistentvolumeclaim", *unbound, f"--namespace={namespace}")
        control_plane.kubectl("annotate", *claim, "--overwrite", touched)
    return not unbound
