"""KubernetesJobs on the real API server: what becomes of a Job is what its pods, and nobody's clock, make of it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from controller.backend import JobSpec, ObservedJob
from controller.kubernetes import manifests
from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import ClusterUnavailable
from controller.kubernetes.job_states import LOOK_SECONDS
from controller.kubernetes.jobs import JobRefused, KubernetesJobs
from controller.kubernetes.names import job_name
from controller.kubernetes.own_writes import TRUSTED_SECONDS
from tests.cluster.accounts import controller_account
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fake_nodes import GPU, FakeNodes
from tests.cluster.installations import bind_volumes, kubernetes_settings
from tests.local_runs import wait_until

INSTALLATION = UUID("3b0d1f7e-52a4-4b9c-8a53-7a2a5f0f2d11")
SPEC = JobSpec(session_id=7, step="embed", attempt=1, shards=2, token="00ff00ff00ff00ff")
GPUS = {"resources": {"limits": {GPU: 1}}}


class Clock:
    """The real one, and what a test has it skip."""

    def __init__(self) -> None:
        self.skipped_seconds = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped_seconds


class Bench:
    """A namespace with its backend, and what tests do to its pods."""

    def __init__(self, control_plane: ControlPlane, namespace: str, nodes: FakeNodes, clock: Clock) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self.nodes = nodes
        self.clock = clock
        self.kubeconfig = controller_account(control_plane, namespace)

    @contextmanager
    def backend(self, **defaults: Any) -> Iterator[KubernetesJobs]:
        cluster = Cluster.connect(self.kubeconfig, self.namespace)
        settings = kubernetes_settings(self.namespace, **defaults)
        jobs = KubernetesJobs(cluster, settings, INSTALLATION, lambda _: None, lambda: None, self.clock)
        jobs.start()
        try:
            wait_until(lambda: jobs.synced, "all Jobs to be listed")
            yield jobs
        finally:
            jobs.stop_watching()
            cluster.close()

    def get(self, *what: str) -> dict[str, Any]:
        return self.control_plane.get(*what, f"--namespace={self.namespace}")

    def kubectl(self, *arguments: str) -> None:
        self.control_plane.kubectl(*arguments, f"--namespace={self.namespace}")

    def pods(self, phase: str) -> list[str]:
        items = self.get("pods")["items"]
        return [pod["metadata"]["name"] for pod in items if pod["status"]["phase"] == phase]

    def running(self, count: int) -> list[str]:
        return wait_until(lambda: (found := self.pods("Running")) and len(found) == count and found, "pods to run")

    def end_pods(self, count: int, exit_code: int, message: str = "") -> None:
        for pod in self.running(count):
            self.nodes.end_pod(self.namespace, pod, exit_code, message)

    def quota(self, **hard: str) -> None:
        spec = {"hard": {what.replace("_", "/"): most for what, most in hard.items()}}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": spec}
        self.control_plane.create(quota, self.namespace)
        wait_until(lambda: "used" in self.get("resourcequota", "quota")["status"], "the quota to be counted")


@pytest.fixture
def bench(control_plane: ControlPlane, namespace: str, nodes: FakeNodes) -> Bench:
    bind_volumes(control_plane, namespace)
    return Bench(control_plane, namespace, nodes, Clock())


@pytest.fixture
def jobs(bench: Bench) -> Iterator[KubernetesJobs]:
    """With a node for its pods."""
    bench.nodes.add(f"gpus-{bench.namespace}")
    with bench.backend() as backend:
        yield backend


def seen(jobs: KubernetesJobs, state: str, also: Callable[[ObservedJob], object] = lambda job: True) -> ObservedJob:
    """The only Job, once it is in this state."""

    def look() -> list[ObservedJob]:
        return [job for job in jobs.observe() if job.state == state and also(job)]

    return wait_until(look, f"the Job to be {state}")[0]


def gone(jobs: KubernetesJobs) -> None:
    wait_until(lambda: not jobs.observe(), "the Job to be gone")


def test_a_job_succeeds_and_is_kept_for_its_logs(bench: Bench, jobs: KubernetesJobs) -> None:
    uid = jobs.create(SPEC)
    assert [(job.spec, job.uid, job.state) for job in jobs.observe()] == [(SPEC, uid, "running")]
    bench.end_pods(2, 0)
    job = seen(jobs, "succeeded")
    assert (job.spec, job.uid) == (SPEC, uid)
    jobs.remove(job)
    assert jobs.observe() == []
    kept = bench.get("job", job_name(SPEC, 0))
    assert kept["metadata"]["labels"]["trainyard.dev/saved"] == "true"
    assert kept["spec"]["ttlSecondsAfterFinished"] == 300
    bench.clock.skipped_seconds += 2 * TRUSTED_SECONDS
    gone(jobs)


def test_a_job_just_made_is_observed_whatever_the_watch_knows(jobs: KubernetesJobs) -> None:
    for attempt in range(5):
        spec = JobSpec(7, "embed", attempt, 1, uuid4().hex[:16])
        assert jobs.create(spec) in {job.uid for job in jobs.observe()}


def test_a_worker_that_fails_tells_why(bench: Bench, jobs: KubernetesJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "TRIES_AGAIN", 0)  # in place of waiting for Kubernetes to try again
    jobs.create(SPEC)
    one, other = bench.running(2)
    bench.nodes.end_pod(bench.namespace, one, 1, "DiskFull: No space left on /tmp.")
    job = seen(jobs, "failed")
    assert (job.code, job.message, job.final) == ("DiskFull", "No space left on /tmp.", False)
    wait_until(lambda: other not in bench.pods("Running"), "the other worker to be stopped")
    jobs.remove(job)
    assert jobs.observe() == []


def test_a_wrong_configuration_is_final(bench: Bench, jobs: KubernetesJobs) -> None:
    jobs.create(SPEC)
    bench.nodes.end_pod(bench.namespace, bench.running(2)[0], 78, "ModelMissing: /models/clip is not there.")
    job = seen(jobs, "failed")
    assert (job.code, job.message, job.final) == ("ModelMissing", "/models/clip is not there.", True)


def test_a_worker_that_comes_back_later_is_no_failure(bench: Bench, jobs: KubernetesJobs) -> None:
    jobs.create(SPEC)
    bench.end_pods(2, 75, "PostgreSQL is away.")
    wait_until(lambda: len(bench.pods("Failed")) == 2, "both to end")
    assert seen(jobs, "running")
    bench.end_pods(2, 0)  # Kubernetes has made them once more
    assert seen(jobs, "succeeded")


def test_a_strangers_job_of_the_same_name_is_left_alone(bench: Bench, jobs: KubernetesJobs) -> None:
    stranger = JobSpec(SPEC.session_id, SPEC.step, SPEC.attempt, SPEC.shards, token="somebody-else")
    theirs, ours = jobs.create(stranger), jobs.create(SPEC)
    assert bench.get("job", job_name(SPEC, 0))["metadata"]["uid"] == theirs
    assert bench.get("job", job_name(SPEC, 1))["metadata"]["uid"] == ours
    assert {job.uid: job.spec.token for job in jobs.observe()} == {theirs: "somebody-else", ours: SPEC.token}


def test_a_create_whose_answer_was_lost_finds_its_job(bench: Bench, jobs: KubernetesJobs) -> None:
    uid = jobs.create(SPEC)
    assert jobs.create(SPEC) == uid
    with bench.backend() as successor:
        assert successor.create(SPEC) == uid
    assert len(bench.get("jobs")["items"]) == 1


def test_a_job_saved_before_the_database_was_restored_is_not_taken_for_this_one(
    bench: Bench, jobs: KubernetesJobs
) -> None:
    before = jobs.create(SPEC)
    bench.end_pods(2, 0)
    jobs.remove(seen(jobs, "succeeded"))
    assert jobs.create(SPEC) != before


def test_a_stopped_job_is_seen_until_its_pods_are_gone(bench: Bench, jobs: KubernetesJobs) -> None:
    jobs.create(SPEC)
    bench.running(2)
    job = seen(jobs, "running")
    jobs.stop(job)
    assert [each.state for each in jobs.observe()] == ["stopping"]
    jobs.stop(job)
    gone(jobs)
    assert not bench.get("pods")["items"]
    assert not bench.get("jobs")["items"]


def test_a_job_deleted_by_hand_is_gone(bench: Bench, jobs: KubernetesJobs) -> None:
    jobs.create(SPEC)
    bench.running(2)
    seen(jobs, "running", lambda job: job.waiting is None)
    bench.kubectl("delete", "job", job_name(SPEC, 0))
    gone(jobs)


def test_a_job_whose_workers_are_on_a_lost_node_comes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LOST_NODE_SECONDS", 1)  # how long its pods stay bound to a lost node
    node = f"gpus-{bench.namespace}"
    bench.nodes.add(node)
    with bench.backend() as jobs:
        uid = jobs.create(SPEC)
        bench.running(2)
        bench.nodes.lose(node)
        wait_until(lambda: _terminating(bench, uid), "the pods to be given up")
        assert seen(jobs, "running")
        bench.clock.skipped_seconds += 30  # within their grace and a minute
        assert [job.state for job in jobs.observe()] == ["running"]
        job = skipping(bench, jobs, "come_back")
        jobs.remove(job)
        assert jobs.observe() == []
        wait_until(lambda: not bench.get("jobs")["items"], "the Job to be deleted")


def test_a_stopped_job_on_a_lost_node_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LOST_NODE_SECONDS", 1)
    node = f"gpus-{bench.namespace}"
    bench.nodes.add(node)
    with bench.backend() as jobs:
        jobs.create(SPEC)
        bench.running(2)
        bench.nodes.lose(node)
        jobs.stop(seen(jobs, "running"))
        wait_until(lambda: bench.get("jobs")["items"][0]["metadata"].get("deletionTimestamp"), "the deletion")
        assert seen(jobs, "stopping")
        jobs.remove(skipping(bench, jobs, "stopped"))
        assert jobs.observe() == []
        wait_until(lambda: not bench.get("jobs")["items"], "the Job to be deleted")


def test_a_job_waits_for_gpus_and_goes_on_when_there_are_some(bench: Bench) -> None:
    with bench.backend(**GPUS) as jobs:
        jobs.create(SPEC)
        assert "1 node(s) had untolerated taint" in held_up(bench, jobs, "Unschedulable")
        bench.nodes.add(f"gpus-{bench.namespace}")
        seen(jobs, "running", lambda job: job.waiting is None)


def test_nothing_waits_longer_than_its_pending_deadline(bench: Bench) -> None:
    with bench.backend(**GPUS, pendingDeadlineSeconds=600) as jobs:
        jobs.create(SPEC)
        held_up(bench, jobs, "Unschedulable")
        bench.clock.skipped_seconds += 601
        job = seen(jobs, "running", lambda job: job.overdue)
        assert job.overdue is not None
        assert "600 s" in job.overdue
        assert "nodes are available" in job.overdue
        jobs.stop(job)
        wait_until(lambda: not bench.get("pods")["items"], "nothing to wait any more")


def test_pods_beyond_a_quota_are_waited_for(bench: Bench, jobs: KubernetesJobs) -> None:
    bench.quota(pods="0")
    jobs.create(SPEC)
    assert held_up(bench, jobs, "Quota").startswith("exceeded quota: quota, requested: pods=1")


def test_a_job_beyond_a_quota_is_refused_with_the_sentence(bench: Bench, jobs: KubernetesJobs) -> None:
    bench.quota(**{"count_jobs.batch": "0"})
    with pytest.raises(JobRefused, match=r"^exceeded quota: quota, requested: count/jobs.batch=1") as refusal:
        jobs.create(SPEC)
    assert refusal.value.code == "Quota"
    assert jobs.observe() == []


def test_a_job_that_the_settings_make_invalid_is_refused_with_the_sentence(bench: Bench) -> None:
    with bench.backend(resources={"requests": {"memory": "8Gi"}, "limits": {"memory": "4Gi"}}) as jobs:
        with pytest.raises(JobRefused, match="must be less than or equal to memory limit") as refusal:
            jobs.create(SPEC)
        assert refusal.value.code == "Admission"


def test_a_job_that_kueue_has_not_admitted_reads_queued(bench: Bench) -> None:
    bench.nodes.add(f"gpus-{bench.namespace}")
    with bench.backend(kueueQueue="gpus") as jobs:
        jobs.create(SPEC)
        assert "from queue gpus" in held_up(bench, jobs, "Queued")
        admit = json.dumps({"spec": {"suspend": False}})
        bench.kubectl("patch", "job", job_name(SPEC, 0), "--type=merge", f"--patch={admit}")
        seen(jobs, "running", lambda job: job.waiting is None)


def test_a_restarted_backend_sees_what_the_one_before_saw(bench: Bench, jobs: KubernetesJobs) -> None:
    uid = jobs.create(SPEC)
    bench.nodes.end_pod(bench.namespace, bench.running(2)[0], 78, "ModelMissing: no weights.")
    failed = seen(jobs, "failed")
    with bench.backend() as successor:
        assert successor.observe() == [failed]
        assert failed.uid == uid
        successor.remove(failed)
    with bench.backend() as third:
        assert third.observe() == []


def test_nothing_is_known_before_all_jobs_are_listed(bench: Bench) -> None:
    cluster = Cluster.connect(bench.kubeconfig, bench.namespace)
    settings = kubernetes_settings(bench.namespace)
    jobs = KubernetesJobs(cluster, settings, INSTALLATION, lambda _: None, lambda: None)
    with pytest.raises(ClusterUnavailable, match="not all Jobs have been listed"):
        jobs.observe()
    cluster.close()


def test_no_job_looks_gone_while_the_api_server_is_away(bench: Bench, jobs: KubernetesJobs) -> None:
    uid = jobs.create(SPEC)
    bench.running(2)
    with bench.control_plane.outage():
        bench.clock.skipped_seconds += 2 * TRUSTED_SECONDS
        assert [(job.uid, job.state) for job in jobs.observe()] == [(uid, "running")]
    bench.end_pods(2, 0)
    assert seen(jobs, "succeeded").uid == uid


def test_jobs_of_other_installations_are_not_seen(bench: Bench, jobs: KubernetesJobs) -> None:
    cluster = Cluster.connect(bench.kubeconfig, bench.namespace)
    settings = kubernetes_settings(bench.namespace)
    other = KubernetesJobs(cluster, settings, uuid4(), lambda _: None, lambda: None)
    other.create(SPEC)
    mine = jobs.create(JobSpec(8, "discover", 1, 1, "another-token"))
    seen(jobs, "running")
    bench.clock.skipped_seconds += 2 * TRUSTED_SECONDS
    assert [job.uid for job in jobs.observe()] == [mine]
    cluster.close()


def held_up(bench: Bench, jobs: KubernetesJobs, code: str) -> str:
    """The sentence with which the Job waits, once it is for this; nobody waits for the next look at its pods."""

    def look() -> list[str]:
        bench.clock.skipped_seconds += LOOK_SECONDS
        return [job.waiting[1] for job in jobs.observe() if job.waiting and job.waiting[0] == code]

    return wait_until(look, f"the Job to wait: {code}")[0]


def skipping(bench: Bench, jobs: KubernetesJobs, state: str) -> ObservedJob:
    """The Job once it is in this state, as minutes go by."""

    def look() -> list[ObservedJob]:
        bench.clock.skipped_seconds += 31
        return [job for job in jobs.observe() if job.state == state]

    return wait_until(look, f"the Job to be {state}")[0]


def _terminating(bench: Bench, uid: str) -> bool:
    (job,) = (job for job in bench.get("jobs")["items"] if job["metadata"]["uid"] == uid)
    return bool(job["status"].get("terminating"))
