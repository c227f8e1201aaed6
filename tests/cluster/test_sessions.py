"""Sessions on a cluster from their beginning to their end: resources in, Jobs run, rows and progress out."""

import json
from pathlib import Path

import pytest

from controller.backend import JobSpec
from controller.kubernetes import manifests
from controller.kubernetes.names import INSTALLATION_LABEL, STEP_LABEL, job_name
from tests.cluster.cluster_runs import ClusterRun
from tests.cluster.fake_nodes import GPU
from tests.libraries import write_broken, write_photos
from tests.local_runs import data_directory, running, wait_until
from tests.natural_keys import everything
from trainyard.lifecycle import Answer


def test_a_resource_runs_to_its_end_as_kubectl_sees_it(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 24)
    with run.controller():
        run.apply("holiday-2025", photos, category="Holidays")
        run.completed("holiday-2025")
        shown = run.kubectl("get", "trainingsessions")
    header, row = shown.splitlines()
    assert header.split() == ["NAME", "STATUS", "PHASE", "PROGRESS", "WAITING", "ETA", "IMAGES", "FACES", "AGE"]
    assert row.split()[:4] == ["holiday-2025", "completed", "clustering", "100%"]
    found = run.rows("SELECT status, total, processed, resource_name FROM training_sessions")
    assert found == [("completed", 24, 24, "holiday-2025")]
    assert {job["metadata"]["labels"][STEP_LABEL] for job in run.jobs()} == {"discover", "embed", "detect", "cluster"}
    assert all(job["metadata"]["labels"][INSTALLATION_LABEL] for job in run.jobs())
    assert {job["metadata"]["ownerReferences"][0]["name"] for job in run.jobs()} == {"holiday-2025"}
    run.at_rest()


def test_a_cluster_makes_of_photos_what_one_machine_makes(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 20)
    write_broken(photos)
    with run.controller():
        session_id = run.begin(photos)
        ended = run.ended(session_id)
    assert (ended["overallStatus"], ended["images"]["failed"]) == ("completed", 3)
    with data_directory() as data_dir, running(data_dir) as alone:
        alone.run(photos)
        assert everything(run) == everything(alone)


def test_a_session_of_the_api_gets_a_resource_and_is_deleted_with_it(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 8)
    with run.controller():
        session_id = run.begin(photos)
        run.ended(session_id)
        run.completed(f"session-{session_id}")
        assert run.delete(session_id).status == 204
        wait_until(lambda: run.resources() == [], "the resource to go with its session")
        wait_until(lambda: run.jobs() == [], "its Jobs to go with it")
    assert run.rows("SELECT count(*) FROM training_evidence") == [(8,)]


def test_without_faces_there_are_two_jobs(run: ClusterRun, tmp_path: Path) -> None:
    with run.controller():
        run.apply("places", write_photos(tmp_path / "photos", 6), faceDetection={"enabled": False})
        run.completed("places")
    assert {job["metadata"]["labels"][STEP_LABEL] for job in run.jobs()} == {"discover", "embed"}
    status = run.status("places")
    assert (status["phase"], status["progress"], status["images"], status["faces"]) == ("training", "100%", 6, 0)


def test_a_folder_without_photos_is_completed_at_once(run: ClusterRun, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with run.controller():
        run.apply("empty", tmp_path / "photos")
        run.completed("empty")
    assert {job["metadata"]["labels"][STEP_LABEL] for job in run.jobs()} == {"discover"}
    assert (run.status("empty")["images"], run.status("empty")["progress"]) == (0, "100%")


def test_a_session_of_which_every_image_fails_has_failed(run: ClusterRun, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    write_broken(tmp_path / "photos")
    with run.controller():
        run.apply("broken", tmp_path / "photos")
        run.kubectl("wait", "trainingsession/broken", "--for=condition=Failed", "--timeout=50s")
    assert run.condition("broken", "Failed")["reason"] == "AllImagesFailed"
    assert run.status("broken")["overallStatus"] == "failed"
    run.at_rest()


def test_a_folder_that_cannot_be_used_fails_with_the_code_of_the_api(run: ClusterRun, tmp_path: Path) -> None:
    with run.controller():
        run.apply("nowhere", tmp_path / "nowhere")
        run.kubectl("wait", "trainingsession/nowhere", "--for=condition=Failed", "--timeout=50s")
    failed = run.condition("nowhere", "Failed")
    assert failed["reason"] == "RootNotFound"
    assert str(tmp_path / "nowhere") in failed["message"]
    assert len(run.jobs()) == 1  # no second attempt of what cannot succeed


def test_what_failed_three_times_is_retried_without_doing_anything_again(
    run: ClusterRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "TRIES_AGAIN", 0)  # in place of waiting for Kubernetes to try again
    photos = write_photos(tmp_path / "photos", 96)
    done = "SELECT asset_id, seconds FROM training_evidence"

    def break_once_some_are_done(_: object) -> None:
        if run.rows(done):
            raise RuntimeError("the network broke")

    run.engines.fake_clip.on_encode = break_once_some_are_done
    with run.controller(parallelism=2):
        run.apply("fragile", photos, faceDetection={"enabled": False})
        run.kubectl("wait", "trainingsession/fragile", "--for=condition=Failed", "--timeout=50s")
        session_id = run.session_of("fragile")
        embed = run.step(session_id, "embed")
        assert (embed.status, embed.attempt, embed.failures) == ("failed", 3, 3)
        assert run.condition("fragile", "Failed")["reason"] == "RuntimeError"
        run.at_rest()
        before = run.rows(done)
        assert 0 < len(before) < 96
        run.engines.fake_clip.on_encode = lambda _: None
        assert run.ask(session_id, "retry").status == 202
        run.completed("fragile")
    assert run.rows("SELECT sum(total) FROM shards WHERE step = 'embed' AND attempt = 4") == [(96 - len(before),)]
    assert set(before) < set(run.rows(done))  # to the time that it took: none was done again
    assert run.summary(session_id)["images"]["processed"] == 96


def test_two_sessions_that_reach_clustering_together_take_turns(run: ClusterRun, tmp_path: Path) -> None:
    roots = {name: write_photos(tmp_path / name, 8) for name in ("older", "newer")}
    let_go = run.pods.hold("cluster")
    with run.controller():
        for name, root in roots.items():
            run.apply(name, root)
            run.session_of(name)
        older, newer = run.session_of("older"), run.session_of("newer")
        run.claimed(older, "cluster")
        wait_until(lambda: run.waiting("newer") == "Queued", "the newer one to wait")
        assert f"Session {older} is clustering" in run.status("newer")["waiting"]["message"]
        assert run.condition("newer", "Stalled")["status"] == "False"
        let_go()
        for name in roots:
            run.completed(name)
    assert run.rows("SELECT count(*) FROM face_instances WHERE clustered_at IS NULL") == [(0,)]
    assert run.step(newer, "cluster").status == "skipped"  # the older one found its faces, too


def test_sessions_over_the_same_folders_run_one_after_another(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 8)
    let_go = run.pods.hold("embed")
    with run.controller():
        run.apply("first", photos)
        run.claimed(run.session_of("first"), "embed")
        run.apply("second", photos / "a")
        wait_until(lambda: run.waiting("second") == "Queued", "the second one to wait")
        assert run.condition("second", "Stalled")["reason"] == "Queued"
        let_go()
        run.completed("second")
    assert run.engines.fake_clip.seen == 8


def test_a_session_that_waits_for_gpus_says_what_the_scheduler_says(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    with run.controller(resources={"limits": {GPU: "64"}}):  # more than any node has
        run.apply("archive", photos)
        wait_until(lambda: run.waiting("archive") == "Unschedulable", "the scheduler's word")
        sentence = run.status("archive")["waiting"]["message"]
        assert "1 Insufficient nvidia.com/gpu" in sentence
        stalled = run.condition("archive", "Stalled")
        assert (stalled["status"], stalled["reason"], stalled["message"]) == ("True", "Unschedulable", sentence)
        assert sentence in run.kubectl("describe", "ts", "archive")
        rows = run.rows("SELECT waiting_code, waiting_message FROM training_sessions")
        assert rows == [("Unschedulable", sentence)]
        assert run.status("archive")["overallStatus"] == "pending"  # no worker has started
        run.kubectl("delete", "trainingsession", "archive")
        wait_until(lambda: run.overall(1) == "cancelled", "the session to be cancelled")
        wait_until(lambda: not run.jobs(), "its Job to go")
    run.at_rest()


def test_a_session_whose_job_kueue_has_not_admitted_reads_queued(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    with run.controller(kueueQueue="gpus"):
        run.apply("queued", photos, faceDetection={"enabled": False})
        wait_until(lambda: run.waiting("queued") == "Queued", "Kueue to be waited for")
        assert "queue gpus" in run.status("queued")["waiting"]["message"]
        assert run.unended_pods() == []
        for step in ("discover", "embed"):
            name = job_name(JobSpec(run.session_of("queued"), step, 1, 1, ""), 0)
            wait_until(lambda name=name: name in [job["metadata"]["name"] for job in run.jobs()], f"Job {name}")
            run.kubectl("patch", "job", name, "--type=merge", f"--patch={json.dumps({'spec': {'suspend': False}})}")
        run.completed("queued")


def test_a_resume_through_the_api_is_refused_while_the_resource_suspends(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 8)
    with run.controller():
        run.apply("held", photos, suspend=True)
        wait_until(lambda: run.waiting("held") == "Suspended", "the resource to say why")
        assert run.jobs() == []
        assert run.condition("held", "Suspended")["reason"] == "SuspendedByResource"
        refused = run.ask(run.session_of("held"), "resume")
        assert isinstance(refused, Answer)
        assert (refused.status, refused.code) == (409, "SuspendedByResource")
        run.suspend("held", False)
        run.completed("held")


@pytest.mark.parametrize("step", ["discover", "detect"])
def test_a_resource_suspended_on_the_way_goes_on_when_it_is_let_go(run: ClusterRun, tmp_path: Path, step: str) -> None:
    photos = write_photos(tmp_path / "photos", 8)
    let_go = run.pods.hold(step)
    with run.controller():
        run.apply("held", photos)
        session_id = run.session_of("held")
        run.claimed(session_id, step)
        run.suspend("held", True)
        run.until(session_id, "paused")
        run.at_rest()
        wait_until(lambda: run.condition("held", "Suspended").get("status") == "True", "the condition")
        let_go()
        run.suspend("held", False)
        run.completed("held")
    assert run.step(session_id, step).attempt == 2
