"""A cluster for the bench: the real control plane, nodes that kwok plays, and an empty installation on it."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from controller.kubernetes.client import Cluster
from controller.kubernetes.settings import KubernetesSettings
from tests.bench.results import Row
from tests.bench.stage import postgres_server, workplace
from tests.cluster.binaries import CONTROL_PLANE, BuildFailed, binary
from tests.cluster.certificates import NoOpenssl
from tests.cluster.conftest import CRD
from tests.cluster.control_plane import ControlPlane, KubectlFailed, control_plane
from tests.cluster.fake_nodes import FakeNodes
from tests.cluster.go_toolchain import NoGo
from tests.cluster.installations import bind_volumes, kubernetes_settings
from tests.conftest import TEMPLATE, execute, url_of
from trainyard.database import Database

T = TypeVar("T")

NODES = 5  # of 110 pods each
LONGEST_SECONDS = 120.0
LOOK_SECONDS = 0.1  # seldom enough not to be in the way of what is measured


@dataclass(frozen=True)
class KubernetesStage:
    """One namespace and one database; `cluster` is the bench's own client, as a user that may do everything."""

    control_plane: ControlPlane
    cluster: Cluster
    database: Database
    settings: KubernetesSettings
    folder: Path

    @property
    def namespace(self) -> str:
        return self.settings.namespace

    @property
    def settings_file(self) -> Path:
        """The settings as the controller reads them."""
        file = self.folder / "kubernetes.yaml"
        file.write_text(json.dumps(self.settings.model_dump(mode="json", by_alias=True, exclude_unset=True)))
        return file


def on_kubernetes(
    part: str,
    measure: Callable[[KubernetesStage], list[Row]],
    annotations: dict[str, str] | None = None,
    **defaults: Any,
) -> list[Row]:
    """The rows of a part, or one that says why there are none; `annotations` are its Jobs', `defaults` every step's."""
    try:
        for name in CONTROL_PLANE:
            binary(name)
        with _stage(annotations or {}, defaults) as stage:
            return measure(stage)
    except (BuildFailed, NoGo, NoOpenssl) as missing:
        return [Row(part, "not measured", note=str(missing))]


def until(condition: Callable[[], T | None], what: str, seconds: float = LONGEST_SECONDS) -> T:
    """The condition's answer once it is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(LOOK_SECONDS)
    return answer


@contextmanager
def _stage(annotations: dict[str, str], defaults: dict[str, Any]) -> Iterator[KubernetesStage]:
    namespace = f"bench-{uuid4().hex[:8]}"
    settings = kubernetes_settings(namespace, **defaults).model_copy(update={"annotations": annotations})
    with _servers(namespace) as (started, url), tempfile.TemporaryDirectory() as folder:
        cluster, database = Cluster.connect(started.admin, namespace), Database(url)
        with closing(cluster), closing(database):
            yield KubernetesStage(started, cluster, database, settings, Path(folder))


@contextmanager
def _servers(namespace: str) -> Iterator[tuple[ControlPlane, str]]:
    """A control plane with nodes, our kind and a namespace that takes pods; the URL of an empty database."""
    folder = Path(tempfile.mkdtemp(prefix="trainyard-bench-"))
    try:
        with (
            workplace() as place,
            postgres_server(place) as server_url,
            control_plane(folder / "kubernetes") as started,
        ):
            execute(server_url, "CREATE DATABASE {} TEMPLATE {}", "bench", TEMPLATE)
            _prepare(started, namespace)
            yield started, url_of(server_url, "bench")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(started: ControlPlane, namespace: str) -> None:
    started.kubectl("apply", f"--filename={CRD}")
    started.kubectl("create", "namespace", namespace)
    for number in range(NODES):
        FakeNodes(started).add(f"bench-{number}")
    started.kubectl("wait", "--for=condition=Established", f"--filename={CRD}", "--timeout=60s")
    bind_volumes(started, namespace)
    until(lambda: _is_ready(started, namespace), "the namespace to take pods, and the kind to be served")


def _is_ready(started: ControlPlane, namespace: str) -> bool:
    try:
        started.get("serviceaccount", "default", f"--namespace={namespace}")
        return bool(started.get("trainingsessions", f"--namespace={namespace}"))
    except KubectlFailed:
        return False
