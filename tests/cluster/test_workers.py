"""Workers that end in every way there is, and what becomes of their session."""

import json
from pathlib import Path

import pytest

from controller.backend import JobSpec
from controller.kubernetes import manifests
from controller.kubernetes.names import job_name
from tests.cluster.cluster_runs import ClusterRun
from tests.cluster.played_pods import End
from tests.libraries import write_photos
from tests.local_runs import wait_until


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", 16)


def test_a_worker_that_comes_back_later_costs_nothing(run: ClusterRun, photos: Path) -> None:
    run.pods.script("embed", End(75, "PostgreSQL is away."), times=2)
    with run.controller(parallelism=2):
        run.apply("later", photos)
        run.completed("later")
    embed = run.step(1, "embed")
    assert (embed.attempt, embed.failures) == (1, 0)


def test_a_worker_that_fails_once_is_tried_again_within_its_attempt(run: ClusterRun, photos: Path) -> None:
    run.pods.script("embed", End(1, "CudaError: the card fell off the bus."))
    with run.controller(parallelism=2):
        run.apply("again", photos)
        run.completed("again")
    embed = run.step(1, "embed")
    assert (embed.attempt, embed.failures) == (1, 0)


def test_a_wrong_configuration_fails_the_session_at_once(run: ClusterRun, photos: Path) -> None:
    run.pods.script("embed", End(78, "ModelMissing: /models/clip.pt is not there."))
    with run.controller(parallelism=1):
        run.apply("misconfigured", photos)
        run.kubectl("wait", "trainingsession/misconfigured", "--for=condition=Failed", "--timeout=50s")
        failed = run.condition("misconfigured", "Failed")
        run.at_rest()
    assert (failed["reason"], failed["message"]) == ("ModelMissing", "/models/clip.pt is not there.")
    assert run.step(1, "embed").attempt == 1


def test_a_worker_that_says_it_is_done_and_is_not_fails_its_attempt(run: ClusterRun, photos: Path) -> None:
    run.pods.script("embed", End(0))
    with run.controller(parallelism=1):
        run.apply("careless", photos)
        run.completed("careless")
    embed = run.step(1, "embed")
    assert (embed.attempt, embed.failures, embed.done) == (2, 1, 16)


def test_an_evicted_worker_is_replaced_and_blamed_for_nothing(run: ClusterRun, photos: Path) -> None:
    let_go = run.pods.hold("embed")
    with run.controller(parallelism=1):
        run.apply("evicted", photos)
        run.claimed(run.session_of("evicted"), "embed")
        (pod,) = run.unended_pods()
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{run.namespace}/pods/{pod}/eviction"
        run.control_plane.kubectl("create", "--raw", path, "--filename=-", stdin=json.dumps(eviction))
        wait_until(lambda: pod not in run.unended_pods(), "the pod to be evicted")
        let_go()
        run.completed("evicted")
    embed = run.step(1, "embed")
    assert (embed.attempt, embed.failures, embed.done) == (1, 0, 16)


def test_a_job_deleted_by_hand_is_made_again_for_what_is_left(run: ClusterRun, photos: Path) -> None:
    let_go = run.pods.hold("embed")
    with run.controller(parallelism=1):
        run.apply("meddled", photos)
        session_id = run.session_of("meddled")
        run.claimed(session_id, "embed")
        run.kubectl("delete", "job", job_name(JobSpec(session_id, "embed", 1, 1, ""), 0))
        let_go()
        run.completed("meddled")
    embed = run.step(session_id, "embed")
    assert (embed.attempt, embed.failures, embed.done) == (2, 0, 16)


def test_a_job_of_the_same_name_that_is_not_ours_is_left_alone(run: ClusterRun, photos: Path) -> None:
    name = job_name(JobSpec(1, "discover", 1, 1, ""), 0)
    theirs = run.control_plane.create(strange_job(name), run.namespace)
    with run.controller():
        run.apply("beside", photos, faceDetection={"enabled": False})
        run.completed("beside")
    there = run.get("job", name)
    assert (there["metadata"]["uid"], there["spec"]) == (theirs["metadata"]["uid"], theirs["spec"])
    assert f"{name}-1" in [job["metadata"]["name"] for job in run.jobs()]


def test_a_lost_nodes_work_is_done_by_others(run: ClusterRun, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All periods of grace are shortened: how long they are is tested on a clock of its own."""
    monkeypatch.setattr(manifests, "LOST_NODE_SECONDS", 1)  # which its pods tolerate a lost node
    monkeypatch.setattr("controller.kubernetes.job_states.LOST_NODE_SECONDS", 2)
    run.pods.hold("embed")  # for ever: who works on a lost node is heard of no more
    with run.controller(parallelism=1):
        run.apply("lost", photos)
        session_id = run.session_of("lost")
        run.claimed(session_id, "embed")
        run.nodes.add(f"spare-{run.namespace}")
        run.nodes.lose(run.node)
        wait_until(lambda: run.step(session_id, "embed").attempt == 2, "the attempt to be given up")
        lost = run.rows("SELECT claim FROM shards WHERE step = 'embed' AND attempt = 1")
        assert lost == [(2,)]  # whoever it was, he is overtaken
        run.pods.let_all_go()
        run.completed("lost")
    assert run.step(session_id, "embed").failures == 0
    assert run.engines.fake_clip.seen == 16


def strange_job(name: str) -> dict[str, object]:
    container = {"name": "theirs", "image": "theirs"}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"suspend": True, "template": template},
    }
