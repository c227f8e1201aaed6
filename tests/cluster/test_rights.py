"""The controller's rights: its Role grants what it uses, and nothing else."""

from pathlib import Path

import pytest

from controller.backend import JobSpec
from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import Forbidden
from controller.kubernetes.names import job_name
from controller.kubernetes.paths import jobs_path, pods_path, sessions_path
from tests.cluster.accounts import NAME, granted
from tests.cluster.cluster_runs import ClusterRun
from tests.cluster.control_plane import KubectlFailed
from tests.cluster.fake_nodes import GPU
from tests.cluster.test_workers import strange_job
from tests.libraries import write_photos
from tests.local_runs import wait_until


def test_every_verb_granted_is_used(run: ClusterRun, tmp_path: Path) -> None:
    """By sessions that meet strangers of their names, wait, are paused, come to an end, and are deleted."""
    cluster = Cluster.connect(run.kubeconfig, run.namespace)
    run.apply("session-2", tmp_path / "nowhere")  # the name that the API's session would have
    run.control_plane.create(strange_job(job_name(JobSpec(2, "discover", 1, 1, ""), 0)), run.namespace)
    let_go = run.pods.hold("discover")
    with run.controller(cluster):
        run.session_of("session-2")
        session_id = run.begin(write_photos(tmp_path / "photos", 4))
        run.claimed(session_id, "discover")
        run.ask(session_id, "pause")
        run.until(session_id, "paused")
        let_go()
        run.ask(session_id, "resume")
        run.ended(session_id)
        run.completed(f"session-{session_id}-1")
        run.delete(session_id)
        wait_until(lambda: f"session-{session_id}-1" not in run.resources(), "the resource to go")
    with run.controller(cluster := counting(cluster, run), resources={"limits": {GPU: "64"}}):
        run.apply("archive", tmp_path / "photos")
        wait_until(lambda: run.waiting("archive") == "Unschedulable", "the scheduler's word")
    assert set(cluster.requests) == granted()


def counting(before: Cluster, run: ClusterRun) -> Cluster:
    """Another one of the same account, that goes on counting."""
    cluster = Cluster.connect(run.kubeconfig, run.namespace)
    cluster.requests.update(before.requests)
    return cluster


def test_nothing_else_may_be_done(run: ClusterRun) -> None:
    for asked in ("get secrets", "list configmaps", "create pods", "delete pods", "create pods/exec", "get pods/log"):
        with pytest.raises(KubectlFailed):  # it answers no
            run.kubectl("auth", "can-i", *asked.split(), f"--as=system:serviceaccount:{run.namespace}:{NAME}")


def test_another_namespace_may_not_be_touched(run: ClusterRun) -> None:
    cluster = Cluster.connect(run.kubeconfig, "default")
    for path in (jobs_path, sessions_path, pods_path):
        with pytest.raises(Forbidden):
            cluster.list(path("default"))
    cluster.close()
