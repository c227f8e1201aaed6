"""What is read from Jobs and their pods, and how long it is believed."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest

from controller.backend import JobSpec, JobState, ObservedJob
from controller.kubernetes.errors import ClusterUnavailable
from controller.kubernetes.failures import counts, failure_of, first_failed_index
from controller.kubernetes.job_states import LOOK_SECONDS, JobStates
from controller.kubernetes.manifests import LOST_NODE_SECONDS, job_manifest
from controller.kubernetes.own_writes import TRUSTED_SECONDS, OwnWrites
from controller.kubernetes.pods import INDEX_LABEL, Event, Pod, Pods
from controller.kubernetes.seen_jobs import SeenJob, Verdict, seen_job
from tests.cluster.installations import kubernetes_settings

INSTALLATION = UUID("8d0e1a52-6f64-4f0b-9d0c-0a4f3a9a3b11")
SPEC = JobSpec(session_id=7, step="embed", attempt=2, shards=3, token="00ff00ff00ff00ff")
GRACE_SECONDS = 45.0
SETTINGS = kubernetes_settings("photos", terminationGracePeriodSeconds=int(GRACE_SECONDS))
FAILED_INDEX = Verdict(False, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed")
WRONG_EXIT = Verdict(False, "PodFailurePolicy", "Container worker for pod photos/a failed with exit code 78")


NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
UNSCHEDULABLE = {
    "metadata": {"name": "worker-0", "uid": "pod"},
    "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": NO_GPU}]},
}


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def job_object(conditions: Sequence[tuple[str, str]] = (), **status: Any) -> dict[str, Any]:
    """As the API server returns it."""
    made = job_manifest(SPEC, SETTINGS, installation=INSTALLATION, owner=None, number=0)
    made["metadata"] |= {"uid": "job-uid", "resourceVersion": "1"}
    listed = [{"type": kind, "status": state, "reason": "Because", "message": "So."} for kind, state in conditions]
    return {**made, "status": {"conditions": listed, **status}}


def seen(job: dict[str, Any]) -> SeenJob:
    found = seen_job(job)
    assert found is not None
    return found


JOB = seen(job_object())


def ended_pod(exit_code: int, at: str = "10:00:00", index: int = 0, **terminated: Any) -> dict[str, Any]:
    ended = {"exitCode": exit_code, "reason": "Error", "finishedAt": f"2026-11-23T{at}Z", **terminated}
    statuses = [{"name": "worker", "state": {"terminated": ended}}]
    labels = {INDEX_LABEL: str(index)}
    return {
        "metadata": {"name": f"worker-{index}", "labels": labels},
        "status": {"phase": "Failed", "containerStatuses": statuses},
    }


# Jobs


def test_a_job_just_made_has_its_spec_and_nothing_else() -> None:
    assert JOB.spec == SPEC
    assert JOB.grace_seconds == GRACE_SECONDS
    assert not any((JOB.verdict, JOB.deleting, JOB.saved, JOB.suspended, JOB.running, JOB.begun, JOB.terminating))


@pytest.mark.parametrize("missing", ["session", "step", "attempt", "token"])
def test_a_job_without_its_labels_is_left_alone(missing: str) -> None:
    job = job_object()
    del job["metadata"]["labels"][f"trainyard.dev/{missing}"]
    assert seen_job(job) is None


@pytest.mark.parametrize(
    ("conditions", "success"),
    [
        ((("SuccessCriteriaMet", "True"),), True),
        ((("SuccessCriteriaMet", "True"), ("Complete", "True")), True),
        ((("FailureTarget", "True"),), False),
        ((("Failed", "True"), ("FailureTarget", "True")), False),
        ((("FailureTarget", "False"), ("Suspended", "True")), None),
        ((), None),
    ],
)
def test_what_decides_is_the_first_condition_of_an_end(
    conditions: tuple[tuple[str, str], ...], success: bool | None
) -> None:
    verdict = seen(job_object(conditions)).verdict
    assert (verdict and verdict.success) == success


def test_pods_that_come_and_go_beside_others_are_no_news() -> None:
    assert seen(job_object(ready=3, active=5)) == seen(job_object(ready=2, active=2))


# Failures


def test_the_sentence_of_the_worker_that_ended_the_job_is_told() -> None:
    said = ended_pod(1, message="DiskFull: No space left on /tmp.\n")
    failure = failure_of(JOB, FAILED_INDEX, [said])
    assert (failure.code, failure.message, failure.final) == ("DiskFull", "No space left on /tmp.", False)


def test_a_message_without_a_code_is_told_as_it_is() -> None:
    failure = failure_of(JOB, FAILED_INDEX, [ended_pod(1, message="session 7, embed: it broke: here")])
    assert (failure.code, failure.message) == ("WorkerFailed", "session 7, embed: it broke: here")


def test_a_wrong_configuration_is_final_whatever_else_failed_since() -> None:
    wrong = ended_pod(78, at="10:00:00", message="/models/clip is not there.")
    failure = failure_of(JOB, WRONG_EXIT, [ended_pod(1, at="10:00:09", message="Killed: later."), wrong])
    assert (failure.code, failure.message, failure.final) == ("WrongConfiguration", "/models/clip is not there.", True)


def test_the_last_try_tells_why() -> None:
    tries = [ended_pod(1, at=f"10:00:0{n}", message=f"Try{n}: no.") for n in (1, 3, 2)]
    assert failure_of(JOB, FAILED_INDEX, tries).code == "Try3"


def test_a_worker_killed_for_its_memory_is_named() -> None:
    failure = failure_of(JOB, FAILED_INDEX, [ended_pod(137, index=4, reason="OOMKilled")])
    assert failure.code == "OOMKilled"
    assert failure.message == (
        "The worker of shard 4 used more memory than its limit allows and was killed; "
        "`kubectl logs worker-4` may say more."
    )


def test_a_worker_that_died_without_a_word_is_named() -> None:
    failure = failure_of(JOB, FAILED_INDEX, [ended_pod(139, index=2)])
    assert (failure.code, "shard 2 ended with exit code 139" in failure.message) == ("WorkerFailed", True)


def test_a_pod_that_its_node_refused_says_so() -> None:
    refused = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "Allocate failed: no gpu left"}
    failure = failure_of(JOB, FAILED_INDEX, [{"metadata": {"name": "worker-0"}, "status": refused}])
    assert (failure.code, failure.message) == ("UnexpectedAdmissionError", "Allocate failed: no gpu left")


def test_without_its_pods_a_failed_job_still_says_something() -> None:
    failure = failure_of(JOB, WRONG_EXIT, [])
    assert (failure.code, failure.message, failure.final) == ("WorkerFailed", WRONG_EXIT.message, True)


def test_only_pods_that_kubernetes_counts_are_looked_at() -> None:
    evicted = ended_pod(143)
    evicted["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert [counts(pod) for pod in (evicted, ended_pod(75), ended_pod(1), ended_pod(78))] == [False, False, True, True]


@pytest.mark.parametrize(
    ("failed", "verdict", "index"),
    [("3", FAILED_INDEX, "3"), ("12-14,20", FAILED_INDEX, "12"), ("", FAILED_INDEX, None), ("3", WRONG_EXIT, None)],
)
def test_the_pods_of_the_failed_shard_are_enough(failed: str, verdict: Verdict, index: str | None) -> None:
    assert first_failed_index(replace(JOB, failed_indexes=failed, verdict=verdict)) == index


# Own writes


class ApiServer:
    """What it would answer when asked for the Job itself."""

    def __init__(self) -> None:
        self.job: SeenJob | None = None
        self.away = False
        self.asked = 0

    def read(self, name: str) -> SeenJob | None:
        self.asked += 1
        if self.away:
            raise ClusterUnavailable(f"get {name}", "no answer")
        return self.job


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(server: ApiServer, clock: Clock) -> OwnWrites:
    return OwnWrites(server.read, clock)


def test_a_job_is_there_before_the_watch_shows_it(own: OwnWrites, server: ApiServer) -> None:
    own.created(JOB)
    assert own.over({}) == [JOB]
    assert own.over({JOB.name: JOB}) == [JOB]
    assert own.over({}) == []  # the watch knew it and knows it no more
    assert server.asked == 0


def test_a_job_that_came_and_went_unseen_is_asked_for(own: OwnWrites, server: ApiServer, clock: Clock) -> None:
    own.created(JOB)
    clock.now += TRUSTED_SECONDS + 1
    server.away = True
    assert own.over({}) == [JOB]
    server.away = False
    assert own.over({}) == []


def test_a_late_watch_makes_no_job_disappear(own: OwnWrites, server: ApiServer, clock: Clock) -> None:
    own.created(JOB)
    server.job = replace(JOB, running=True)
    clock.now += TRUSTED_SECONDS + 1
    assert own.over({}) == [server.job]
    assert own.over({}) == [server.job]
    assert server.asked == 1


def test_what_was_stopped_or_removed_is_so_at_once_but_only_for_a_moment(own: OwnWrites, clock: Clock) -> None:
    watched = {JOB.name: JOB}
    own.stopped(JOB.uid)
    assert own.over(watched) == [replace(JOB, deleting=True)]
    own.removed(JOB.uid)
    assert own.over(watched) == []
    clock.now += TRUSTED_SECONDS + 1
    assert own.over(watched) == [JOB]


def test_strangers_and_saved_jobs_are_left_out(own: OwnWrites) -> None:
    assert own.over({"stranger": None, JOB.name: replace(JOB, saved=True)}) == []


# States


class ToldPods:
    """Stands in for the API server: pods as a test has them, or none while it is away."""

    def __init__(self) -> None:
        self.pods: list[Pod] = []
        self.away = False
        self.asked = 0
        self.clock, self.seconds = Clock(), 0.0  # that an answer takes

    def pending(self, job_uid: str) -> Sequence[Pod]:
        return self._answer()

    def terminating(self, job_uid: str) -> list[Pod]:
        return self._answer()

    def failed(self, job_uid: str, index: str | None, keep: object) -> list[Pod]:
        return self._answer()

    def events(self, uid: str) -> Sequence[Event]:
        return []

    def _answer(self) -> list[Pod]:
        self.asked += 1
        self.clock.now += self.seconds
        if self.away:
            raise ClusterUnavailable("list pods", "no answer")
        return self.pods


@pytest.fixture
def told() -> ToldPods:
    return ToldPods()


@pytest.fixture
def states(told: ToldPods, clock: Clock) -> JobStates:
    return JobStates(cast(Pods, told), SETTINGS, clock)


def one(states: JobStates, job: SeenJob) -> ObservedJob:
    (observed,) = states.observe([job])
    return observed


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (JOB, "running"),
        (replace(JOB, verdict=Verdict(True, "", "")), "succeeded"),
        (replace(JOB, verdict=Verdict(True, "", ""), deleting=True), "succeeded"),
        (replace(JOB, verdict=FAILED_INDEX), "failed"),
        (replace(JOB, verdict=FAILED_INDEX, deleting=True), "stopping"),
        (replace(JOB, deleting=True), "stopping"),
    ],
)
def test_a_job_is_what_its_conditions_make_it(states: JobStates, job: SeenJob, state: JobState) -> None:
    assert one(states, job).state == state


def test_a_stopping_job_is_given_up_a_minute_after_its_grace(states: JobStates, clock: Clock) -> None:
    stopping = replace(JOB, deleting=True)
    assert one(states, stopping).state == "stopping"
    clock.now += GRACE_SECONDS + LOST_NODE_SECONDS
    assert one(states, stopping).state == "stopping"
    clock.now += 1
    assert one(states, stopping).state == "stopped"


def test_a_pod_that_should_have_ended_is_lost_a_minute_after_its_grace(
    states: JobStates, told: ToldPods, clock: Clock
) -> None:
    job = replace(JOB, running=True, terminating=True)
    one(states, job)
    told.pods = [{"metadata": {"uid": "pod", "deletionGracePeriodSeconds": 45}, "status": {}}]
    for elapsed, state in ((LOOK_SECONDS, "running"), (GRACE_SECONDS + LOST_NODE_SECONDS, "running"), (5, "come_back")):
        clock.now += elapsed
        assert one(states, job).state == state


def test_pods_that_end_in_time_one_after_another_are_not_lost(states: JobStates, told: ToldPods, clock: Clock) -> None:
    job = replace(JOB, running=True, terminating=True)
    for number in range(20):
        clock.now += GRACE_SECONDS
        told.pods = [{"metadata": {"uid": f"pod-{number}", "deletionGracePeriodSeconds": 45}, "status": {}}]
        assert one(states, job).state == "running"


def test_a_failure_is_told_only_with_its_reason(states: JobStates, told: ToldPods, clock: Clock) -> None:
    failed = replace(JOB, verdict=WRONG_EXIT)
    told.away = True
    assert one(states, failed).state == "stopping"
    told.away, told.pods = False, [ended_pod(78, message="ModelMissing: no weights.")]
    assert one(states, failed).state == "stopping"  # asked again only after a while
    clock.now += LOOK_SECONDS
    observed = one(states, failed)
    assert (observed.state, observed.code, observed.final) == ("failed", "ModelMissing", True)
    asked = told.asked
    assert one(states, failed) == observed
    assert told.asked == asked


@pytest.mark.parametrize("others", [{"running": True}, {"terminating": True}], ids=["running", "terminating"])
def test_a_failure_is_told_once_the_other_workers_have_stopped(
    states: JobStates, told: ToldPods, clock: Clock, others: dict[str, bool]
) -> None:
    told.pods = [ended_pod(1, message="CudaError: the card fell off the bus.")]
    failed = replace(JOB, verdict=FAILED_INDEX)
    assert one(states, replace(failed, **others)).state == "stopping"
    assert one(states, failed).state == "failed"


def test_a_failure_is_told_though_a_lost_nodes_workers_never_stop(
    states: JobStates, told: ToldPods, clock: Clock
) -> None:
    told.pods = [ended_pod(1, message="CudaError: the card fell off the bus.")]
    failed = replace(JOB, verdict=FAILED_INDEX, terminating=True)
    for elapsed, state in ((0, "stopping"), (GRACE_SECONDS + LOST_NODE_SECONDS, "stopping"), (1, "failed")):
        clock.now += elapsed
        assert one(states, failed).state == state


def test_workers_that_went_to_come_back_are_asked_why_once(states: JobStates, told: ToldPods, clock: Clock) -> None:
    running = replace(JOB, running=True, begun=True)
    one(states, running)
    one(states, JOB)
    told.pods = [ended_pod(75, message="DatabaseUnavailable: PostgreSQL could not be reached.")]
    clock.now += LOOK_SECONDS
    asked = told.asked
    for _ in range(3):
        assert one(states, running).last_words == ("DatabaseUnavailable", "PostgreSQL could not be reached.")
        clock.now += 60
    assert told.asked == asked + 1


def test_a_job_that_kueue_takes_the_nodes_from_reads_queued_and_is_not_overdue(told: ToldPods, clock: Clock) -> None:
    settings = kubernetes_settings("photos", pendingDeadlineSeconds=600, kueueQueue="gpus")
    states = JobStates(cast(Pods, told), settings, clock)
    queued = replace(JOB, queue="gpus", suspended=True)
    one(states, replace(JOB, queue="gpus", running=True, begun=True))
    clock.now += 1000
    observed = one(states, queued)
    assert (observed.state, observed.waiting and observed.waiting[0], observed.overdue) == ("running", "Queued", None)


def test_workers_that_run_are_not_asked_about(states: JobStates, told: ToldPods, clock: Clock) -> None:
    for _ in range(3):
        assert one(states, replace(JOB, running=True, begun=True)).waiting is None
        clock.now += 60
    assert told.asked == 0


def test_a_worker_runs_since_the_last_time_there_was_none(states: JobStates, clock: Clock) -> None:
    running = replace(JOB, running=True, begun=True)
    for elapsed, job, seconds in ((0, running, 0), (60, running, 60), (60, JOB, math.inf), (60, running, 0)):
        clock.now += elapsed
        assert one(states, job).running_seconds == seconds


def test_many_jobs_that_wait_are_asked_about_less_often(states: JobStates, told: ToldPods, clock: Clock) -> None:
    jobs = [replace(JOB, uid=f"job-{number}") for number in range(200)]
    states.observe(jobs)
    for _ in range(60):
        clock.now += 1
        states.observe(jobs)
    assert told.asked <= 60 * 10


def test_a_pass_looks_at_some_of_the_jobs_that_wait_and_the_next_at_others(
    states: JobStates, told: ToldPods, clock: Clock
) -> None:
    told.seconds, told.pods, told.clock = 0.2, [UNSCHEDULABLE], clock
    jobs = [replace(JOB, uid=f"job-{number}") for number in range(6)]
    states.observe(jobs)
    clock.now += LOOK_SECONDS
    known = [sum(job.waiting == ("Unschedulable", NO_GPU) for job in states.observe(jobs)) for _ in range(3)]
    assert known == [3, 6, 6]


def test_a_pending_deadline_is_over_once_a_worker_ran(told: ToldPods, clock: Clock) -> None:
    settings = kubernetes_settings("photos", pendingDeadlineSeconds=600)
    states = JobStates(cast(Pods, told), settings, clock)
    assert one(states, JOB).state == "running"
    one(states, replace(JOB, running=True, begun=True))
    for _ in range(3):
        clock.now += 601
        assert one(states, JOB).overdue is None


def test_a_job_is_overdue_once_nothing_of_it_could_begin_for_long(told: ToldPods, clock: Clock) -> None:
    states = JobStates(cast(Pods, told), kubernetes_settings("photos", pendingDeadlineSeconds=600), clock)
    told.pods = [UNSCHEDULABLE]
    for elapsed, overdue in ((0, False), (600, False), (1, True)):
        clock.now += elapsed
        observed = one(states, JOB)
        assert (observed.state, observed.overdue is not None) == ("running", overdue)
    assert observed.overdue is not None
    assert NO_GPU in observed.overdue
