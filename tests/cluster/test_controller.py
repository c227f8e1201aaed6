"""`trainyard controller` on a real API server: resources in, Jobs run, progress out.

The pods' part is played by the real worker code, run beside them with fake networks; a pod ends as its worker did.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from controller import lease as leases
from controller.kubernetes.client import Cluster
from controller.kubernetes.leading import cluster_controller
from controller.kubernetes.names import ATTEMPT_LABEL, INSTALLATION_LABEL, SESSION_LABEL, STEP_LABEL
from controller.loop import Controller
from jobs.context import Context
from jobs.outcomes import ComeBackLater
from jobs.worker import run_shard
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fake_nodes import FakeNodes
from tests.cluster.installations import bind_volumes, kubernetes_settings
from tests.engines import FakeEngines
from tests.libraries import write_photos
from tests.local_runs import BATCHES, REPOSITORY, wait_until
from tests.processes import settings_of_tests
from trainyard.database import Database
from trainyard.lifecycle import request
from trainyard.sessions import NewSession, create
from trainyard.settings import Settings
from trainyard.shards import Overtaken, ShardKey
from trainyard.vectors import Vectors

INDEX = "batch.kubernetes.io/job-completion-index"


class Pods:
    """Plays what runs in the pods: each running one's worker, once, and then its end."""

    def __init__(self, control_plane: ControlPlane, nodes: FakeNodes, namespace: str, context: Context) -> None:
        self._control_plane = control_plane
        self._nodes = nodes
        self._namespace = namespace
        self._context = context
        self._begun: set[str] = set()
        self._stop = threading.Event()

    def play(self) -> None:
        with ThreadPoolExecutor(4) as workers:
            while not self._stop.wait(0.2):
                for pod in self._control_plane.get("pods", f"--namespace={self._namespace}")["items"]:
                    if pod["status"].get("phase") == "Running" and pod["metadata"]["uid"] not in self._begun:
                        self._begun.add(pod["metadata"]["uid"])
                        workers.submit(self._work, pod)

    def end(self) -> None:
        self._stop.set()
        self._context.stop.set()

    def _work(self, pod: dict[str, Any]) -> None:
        labels, name = pod["metadata"]["labels"], pod["metadata"]["name"]
        index = int(pod["metadata"]["annotations"][INDEX])
        key = ShardKey(int(labels[SESSION_LABEL]), labels[STEP_LABEL], int(labels[ATTEMPT_LABEL]), index)
        try:
            run_shard(replace(self._context, worker=name), key)
            code = 0
        except (ComeBackLater, Overtaken):
            code = 75
        self._nodes.end_pod(self._namespace, name, code)


class Installation:
    """A controller at work in one namespace, on one database."""

    def __init__(self, control_plane: ControlPlane, namespace: str, database: Database) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self.database = database

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.control_plane.kubectl(*arguments, f"--namespace={self.namespace}", stdin=stdin)

    def apply(self, name: str, root: Path, **spec: Any) -> None:
        resource = {
            "apiVersion": "trainyard.dev/v1alpha1",
            "kind": "TrainingSession",
            "metadata": {"name": name},
            "spec": {"rootPath": str(root), **spec},
        }
        self.control_plane.create(resource, self.namespace)

    def status(self, name: str) -> dict[str, Any]:
        found = self.control_plane.get("trainingsession", name, f"--namespace={self.namespace}")
        return dict(found.get("status", {}))

    def jobs(self) -> list[dict[str, Any]]:
        return list(self.control_plane.get("jobs", f"--namespace={self.namespace}")["items"])

    def waiting(self, name: str) -> str | None:
        code: str | None = self.status(name).get("waiting", {}).get("code")
        return code


@contextmanager
def leading(database: Database, kubeconfig: Path, namespace: str, **settings: Any) -> Iterator[Controller]:
    """A controller of the cluster, leading, in a thread."""
    lease = leases.take(database, f"test/{os.getpid()}")
    described = kubernetes_settings(namespace, **settings)
    with cluster_controller(
        database,
        Cluster.connect(kubeconfig, namespace),
        described,
        lease,
        defaults={"untrained": True, "face_engine": "auto"},
        period_seconds=0.5,
    ) as loop:
        thread = threading.Thread(target=loop.run, daemon=True)
        thread.start()
        try:
            yield loop
        finally:
            loop.stop()
            thread.join()


@pytest.fixture
def installation(
    with_crd: ControlPlane,
    nodes: FakeNodes,
    namespace: str,
    database_url: str,
    tmp_path: Path,
) -> Iterator[Installation]:
    nodes.add(f"node-{namespace}")
    bind_volumes(with_crd, namespace)
    settings = Settings(data_dir=tmp_path / "data", device="cpu", untrained=True, **BATCHES)
    database = Database(database_url, pool_size=12)
    with closing(database), closing(Vectors.local(tmp_path / "qdrant")) as vectors:
        context = Context(database, vectors, settings, FakeEngines(settings), threading.Event(), "played")
        pods = Pods(with_crd, nodes, namespace, context)
        playing = threading.Thread(target=pods.play, daemon=True)
        playing.start()
        try:
            yield Installation(with_crd, namespace, database)
        finally:
            pods.end()
            playing.join()


def test_a_resource_runs_to_its_end_as_kubectl_sees_it(installation: Installation, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 24)
    with leading(installation.database, installation.control_plane.admin, installation.namespace):
        installation.apply("holiday-2025", photos, category="Holidays")
        installation.kubectl("wait", "trainingsession/holiday-2025", "--for=condition=Complete", "--timeout=120s")
        shown = installation.kubectl("get", "trainingsessions")
        print(shown)
    header, row = shown.splitlines()
    assert header.split() == ["NAME", "STATUS", "PHASE", "PROGRESS", "WAITING", "ETA", "IMAGES", "FACES", "AGE"]
    assert row.split()[:2] == ["holiday-2025", "completed"]
    assert "100%" in row
    rows = "SELECT status, total, processed, resource_name FROM training_sessions"
    with installation.database.engine.connect() as connection:
        assert connection.execute(sa.text(rows)).one() == ("completed", 24, 24, "holiday-2025")
    steps = {job["metadata"]["labels"][STEP_LABEL] for job in installation.jobs()}
    assert steps == {"discover", "embed", "detect", "cluster"}
    assert all(job["metadata"]["labels"][INSTALLATION_LABEL] for job in installation.jobs())
    owners = {job["metadata"]["ownerReferences"][0]["name"] for job in installation.jobs()}
    assert owners == {"holiday-2025"}


def test_a_suspended_resource_holds_its_session_until_it_is_let_go(installation: Installation, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 8)
    with leading(installation.database, installation.control_plane.admin, installation.namespace):
        installation.apply("held", photos, suspend=True)
        wait_until(lambda: installation.waiting("held") == "Suspended", "the resource to say why")
        assert installation.jobs() == []
        patch = '{"spec": {"suspend": false}}'
        installation.kubectl("patch", "trainingsession", "held", "--type=merge", f"--patch={patch}")
        installation.kubectl("wait", "trainingsession/held", "--for=condition=Complete", "--timeout=120s")


def test_a_deleted_resource_cancels_its_session_and_leaves_no_pod(installation: Installation, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 8)
    with leading(
        installation.database,
        installation.control_plane.admin,
        installation.namespace,
        resources={"limits": {"nvidia.com/gpu": "64"}},  # more than there are: it waits
    ):
        installation.apply("gone", photos)
        wait_until(lambda: installation.waiting("gone") == "Unschedulable", "the scheduler's word")
        installation.kubectl("delete", "trainingsession", "gone")
        wait_until(lambda: _status(installation.database) == "cancelled", "the session to be cancelled")
        wait_until(lambda: not installation.jobs(), "its Job to go")
    pods = installation.control_plane.get("pods", f"--namespace={installation.namespace}")["items"]
    assert pods == []


def test_a_session_of_the_api_gets_a_resource_and_pauses_and_resumes(
    installation: Installation, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos", 16)
    database = installation.database
    new = NewSession(os.path.realpath(photos), options={"faces": True, "untrained": True})
    session_id, _ = database.transact(lambda c: create(c, new))
    database.transact(lambda c: request(c, session_id, "pause"))
    with leading(database, installation.control_plane.admin, installation.namespace):
        wait_until(lambda: _status(database) == "paused", "the session to pause")
        assert installation.jobs() == []
        database.transact(lambda c: request(c, session_id, "resume"))
        installation.kubectl(
            "wait", f"trainingsession/session-{session_id}", "--for=condition=Complete", "--timeout=120s"
        )


def _status(database: Database) -> str:
    statement = sa.text("SELECT status FROM training_sessions")
    return str(database.transact(lambda connection: connection.execute(statement).scalar_one()))


def test_the_command_leads_by_its_settings_file_and_ends_on_sigterm(
    installation: Installation, database_url: str, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    file = tmp_path / "kubernetes.yaml"
    described = kubernetes_settings(installation.namespace).model_dump(mode="json", by_alias=True, exclude_unset=True)
    file.write_text(json.dumps(described))  # which is YAML too
    environment = {
        **settings_of_tests(),
        "TRAINYARD_DATABASE_URL": database_url,
        "TRAINYARD_KUBERNETES_SETTINGS": str(file),
    }
    command = [sys.executable, "-m", "cli.main", "controller", "--kubeconfig", str(installation.control_plane.admin)]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            installation.apply("by-command", photos, faceDetection={"enabled": False})
            installation.kubectl("wait", "trainingsession/by-command", "--for=condition=Complete", "--timeout=120s")
            process.terminate()
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert f"jobs run in namespace {installation.namespace}" in said
