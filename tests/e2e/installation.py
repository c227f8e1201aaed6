"""One installation: the chart, installed by helm in a namespace of its own, and what is asked of it."""

import secrets
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import sqlalchemy as sa
import yaml

from tests.cluster.binaries import binary
from tests.e2e.client import LONGEST_SESSION_SECONDS, Api
from tests.e2e.forwarding import Forward
from tests.local_runs import wait_until
from trainyard.database import Database
from trainyard.vectors import Vectors

CHART = Path(__file__).parents[2] / "charts/trainyard"
RELEASE = "trainyard"
HELM_SECONDS = 300
VOLUMES = ("photos", "models")
GPU = "nvidia.com/gpu"
WORKERS = "app.kubernetes.io/component=worker"


class HelmFailed(Exception):
    """helm ended with an error, which is the message."""


class Cluster(Protocol):
    kubeconfig: Path
    folder: Path | None

    def kubectl(self, *arguments: str, seconds: float = ...) -> str: ...

    def get(self, *arguments: str) -> dict[str, Any]: ...

    def create(self, manifest: dict[str, Any], namespace: str = "default") -> dict[str, Any]: ...


@dataclass(frozen=True)
class Stores:
    """Where an installation's PostgreSQL and Qdrant are, for pods and for tests alike."""

    database_url: str
    database_ca: Path
    qdrant_url: str
    qdrant_key: str


class Installation:
    """Installed with `install`. `rows` and `vectors` are what natural_keys reads."""

    def __init__(self, cluster: Cluster, namespace: str, stores: Stores, photos: Path, images: dict[str, str]) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.stores = stores
        self.photos = photos
        self.images = images
        self.token = secrets.token_urlsafe(24)
        url = sa.make_url(stores.database_url).update_query_dict(
            {"sslmode": "verify-full", "sslrootcert": str(stores.database_ca)}
        )
        self.database = Database(url.render_as_string(hide_password=False))
        self.vectors = Vectors.server(stores.qdrant_url, stores.qdrant_key)

    # An operator's doing

    def prepare(self) -> None:
        """What an operator has before: a namespace at the restricted level, volumes, and secrets."""
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": _meta(self.namespace, labels)})
        for name, path in zip(VOLUMES, (self.photos, self.photos.parent / "models"), strict=True):
            path.mkdir(exist_ok=True)
            self.cluster.create(_volume(self.namespace, name, path))
            self.cluster.create(_claim(self.namespace, name), self.namespace)
        for name, content in self._secrets().items():
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": _meta(name), "stringData": content}
            self.cluster.create(secret, self.namespace)

    def _secrets(self) -> dict[str, dict[str, str]]:
        return {
            "postgres": {"url": self.stores.database_url, "ca.crt": self.stores.database_ca.read_text()},
            "qdrant": {"url": self.stores.qdrant_url, "api-key": self.stores.qdrant_key},
            "tokens": {"tokens": f"operator {self.token}\nreader {secrets.token_urlsafe(24)}\n"},
        }

    def values(self, version: str) -> dict[str, Any]:
        """The chart's values; `version` is a suffix of the images' names, empty or -next."""
        return {
            "images": {name: _image(self.images[name + version]) for name in ("api", "controller", "jobs")},
            "database": {"existingSecret": "postgres", "ca": {"existingSecret": "postgres"}},
            "qdrant": {"existingSecret": "qdrant", "apiKey": {"existingSecret": "qdrant"}},
            "tokens": {"existingSecret": "tokens"},
            "photos": {"existingClaim": "photos"},
            "models": {"existingClaim": "models", "untrained": True, "faceEngine": "dlib"},
            "jobs": {
                "defaults": {
                    "parallelism": 2,
                    "env": {"TRAINYARD_EMBED_BATCH": "4", "TRAINYARD_DETECT_BATCH": "1", "TRAINYARD_DEVICE": "cpu"},
                    "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "4Gi"}},
                    "terminationGracePeriodSeconds": 30,
                },
                "steps": {step: _with_gpu() for step in ("embed", "detect")},
            },
            "networkPolicy": {"egress": {"qdrant": {"ports": [urlsplit(self.stores.qdrant_url).port]}}},
            "test": {"folder": "/photos/one"},
        }

    def install(self, version: str = "") -> None:
        """The release, or its upgrade, and its pods ready."""
        self.helm("upgrade", "--install", RELEASE, str(CHART), "--values=-", "--wait", values=self.values(version))

    def uninstall(self) -> None:
        self.helm("uninstall", RELEASE, "--wait")

    def helm(self, *arguments: str, values: dict[str, Any] | None = None) -> str:
        """Raises HelmFailed."""
        who = [f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.namespace}", "--timeout=4m"]
        done = subprocess.run(
            [str(binary("helm")), *arguments, *who],
            input=yaml.safe_dump(values) if values else None,
            capture_output=True,
            text=True,
            timeout=HELM_SECONDS,
        )
        if done.returncode:
            raise HelmFailed(done.stdout + done.stderr)
        return done.stdout

    # Kubernetes' side

    def kubectl(self, *arguments: str) -> str:
        """What waits says itself for how long, which is less than HELM_SECONDS."""
        return self.cluster.kubectl(*arguments, f"--namespace={self.namespace}", seconds=HELM_SECONDS)

    def get(self, *what: str) -> dict[str, Any]:
        return self.cluster.get(*what, f"--namespace={self.namespace}")

    def api(self) -> Api:
        """By its Service's address, which both replicas answer at, where this machine is a node."""
        spec = self.get("service", f"{RELEASE}-api")["spec"]
        port = spec["ports"][0]["port"]
        if self.cluster.folder:
            return Api(f"http://{spec['clusterIP']}:{port}", self.token)
        forward = Forward(self.cluster.kubeconfig, self.namespace, f"{RELEASE}-api", port)
        return Api(forward.renew(), self.token, forward)

    def status(self, resource: str) -> dict[str, Any]:
        """Empty where there is no such resource yet."""
        found = self.get("trainingsessions", f"--field-selector=metadata.name={resource}")["items"]
        return dict(found[0].get("status", {})) if found else {}

    def pods(self, selector: str) -> list[dict[str, Any]]:
        return list(self.get("pods", f"--selector={selector}")["items"])

    def running_workers(self, session: int, step: str) -> list[dict[str, Any]]:
        """Pods of this step's attempt that run, in the order of their indexes."""
        found = self.pods(f"{WORKERS},trainyard.dev/session={session},trainyard.dev/step={step}")
        running = [pod for pod in found if pod["status"]["phase"] == "Running" and not _is_going(pod)]
        return sorted(running, key=lambda pod: pod["metadata"]["name"])

    def worker_at_work(self, session: int, step: str) -> str:
        """The name of a pod that has a batch in flight, so that its loss is felt."""

        def look() -> str | None:
            busy = self.rows(IN_FLIGHT, session=session, step=step)
            pods = self.running_workers(session, step)
            return next((pod["metadata"]["name"] for pod in pods if any(_is_its_batch(row, pod) for row in busy)), None)

        found = wait_until(look, f"a worker of {step} with a batch in flight", LONGEST_SESSION_SECONDS)
        assert found is not None
        return found

    # The rows' side

    def rows(self, statement: str, **parameters: Any) -> list[Any]:
        return self.database.transact(lambda connection: list(connection.execute(sa.text(statement), parameters)))

    def close(self) -> None:
        """What is in a cluster of somebody's is deleted; one of ours goes whole."""
        self.database.close()
        self.vectors.close()
        if self.cluster.folder is None:
            volumes = [f"{self.namespace}-{name}" for name in VOLUMES]
            gone = ("--ignore-not-found", "--wait=false")
            self.cluster.kubectl("delete", "namespace", self.namespace, *gone)
            self.cluster.kubectl("delete", "persistentvolume", *volumes, *gone)


IN_FLIGHT = """
    SELECT worker, committed_at FROM shards JOIN steps USING (session_id, step, attempt)
    WHERE session_id = :session AND step = :step AND in_flight IS NOT NULL
"""


def _is_its_batch(shard: Any, pod: dict[str, Any]) -> bool:
    """And not one that a pod of the same index left, which went by the same host name."""
    name, state = pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["state"]
    if not name.startswith(f"{shard.worker.split('/')[0]}-") or "running" not in state:
        return False
    return bool(shard.committed_at > datetime.fromisoformat(state["running"]["startedAt"]))


def _meta(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"name": name, "labels": labels or {}}


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def _with_gpu() -> dict[str, Any]:
    memory = {"memory": "4Gi"}
    return {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {**memory, GPU: 1}}}


def _is_going(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _volume(namespace: str, name: str, path: Path) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": _meta(f"{namespace}-{name}"),
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "claimRef": {"namespace": namespace, "name": name},
            "hostPath": {"path": str(path)},
        },
    }


def _claim(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _meta(name),
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": f"{namespace}-{name}",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
