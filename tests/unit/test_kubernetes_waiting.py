"""Why a Job waits, from what the scheduler, the kubelet and the Job controller report in these very words."""

from dataclasses import replace
from typing import Any

import pytest

from controller.backend import JobSpec
from controller.kubernetes.seen_jobs import SeenJob
from controller.kubernetes.waiting import refused, why

JOB = SeenJob(
    name="trainyard-s7-embed-a1",
    uid="job-uid",
    spec=JobSpec(7, "embed", 1, 2, "token"),
    verdict=None,
    deleting=False,
    saved=False,
    suspended=False,
    queue=None,
    running=False,
    terminating=False,
    begun=False,
    failed_indexes="",
    grace_seconds=30.0,
)
NO_GPU = "0/14 nodes are available: 14 Insufficient nvidia.com/gpu."
OVER_QUOTA = "exceeded quota: gpus, requested: pods=1, used: pods=4, limited: pods=4"


def pod(name: str = "worker-0", phase: str = "Pending", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"{name}-uid"}, "status": {"phase": phase, **status}}


def unschedulable(message: str = NO_GPU) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod("unschedulable", conditions=[condition])


def held(reason: str, message: str | None = None, image: str = "registry.example/jobs:1") -> dict[str, Any]:
    """A pod on a node whose container is not started yet."""
    waiting = {"reason": reason} | ({"message": message} if message else {})
    statuses = [{"name": "worker", "image": image, "state": {"waiting": waiting}}]
    return pod(conditions=[{"type": "PodScheduled", "status": "True"}], containerStatuses=statuses)


def event(reason: str, message: str, at: str = "2026-11-23T10:00:00Z", uid: str = JOB.uid) -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"uid": uid}, "lastTimestamp": at}


def test_a_job_with_a_worker_at_work_waits_for_nothing() -> None:
    assert why(replace(JOB, running=True), [unschedulable()], []) is None
    assert why(JOB, [pod(phase="Running"), unschedulable()], []) is None


def test_the_scheduler_says_what_nodes_lack() -> None:
    assert why(JOB, [unschedulable()], []) == ("Unschedulable", NO_GPU)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_the_kubelet_says_why_there_is_no_image(reason: str) -> None:
    waiting = why(JOB, [held(reason, "manifest unknown")], [])
    assert waiting == ("ImagePull", "Image registry.example/jobs:1: manifest unknown")


def test_a_container_that_is_being_made_is_starting() -> None:
    assert why(JOB, [held("ContainerCreating")], []) == ("Starting", "Pod worker-0 is being started.")


def test_a_container_that_cannot_be_made_says_why() -> None:
    missing = held("CreateContainerConfigError", 'secret "postgres" not found')
    assert why(JOB, [missing], []) == ("Starting", 'secret "postgres" not found')


def test_a_volume_that_cannot_be_mounted_is_unavailable_storage() -> None:
    mount = 'MountVolume.SetUp failed for volume "photos" : mount failed: exit status 32'
    events = [event("FailedMount", mount, uid="worker-0-uid")]
    assert why(JOB, [held("ContainerCreating")], events) == ("StorageUnavailable", mount)


def test_what_somebody_must_mend_is_said_before_what_passes_by_itself() -> None:
    starting, no_image = held("ContainerCreating"), held("ImagePullBackOff", "manifest unknown")
    for pods in ([starting, unschedulable(), no_image], [no_image, starting, unschedulable()]):
        waiting = why(JOB, pods, [])
        assert waiting is not None
        assert waiting[0] == "ImagePull"


def test_a_quota_is_named_without_the_name_of_a_pod_that_never_was() -> None:
    sentence = f'Error creating: pods "trainyard-s7-embed-a1-0-x2b4c" is forbidden: {OVER_QUOTA}'
    assert why(JOB, [], [event("FailedCreate", sentence)]) == ("Quota", OVER_QUOTA)


def test_an_admission_rule_is_no_quota() -> None:
    rule = 'violates PodSecurity "restricted:latest": runAsNonRoot != true'
    sentence = f'Error creating: pods "trainyard-s7-embed-a1-0-x2b4c" is forbidden: {rule}'
    assert why(JOB, [], [event("FailedCreate", sentence)]) == ("Admission", rule)


def test_the_last_word_about_a_quota_counts() -> None:
    other = event("FailedCreate", f'Error creating: pods "a" is forbidden: {OVER_QUOTA}', at="2026-11-23T10:00:00Z")
    made = event("SuccessfulCreate", "Created pod: b", at="2026-11-23T10:00:05Z")
    again = {**other, "series": {"lastObservedTime": "2026-11-23T10:00:09.000001Z"}}
    for events, code in (([other, made], "Starting"), ([again, made], "Quota")):
        waiting = why(JOB, [], events)
        assert waiting is not None
        assert waiting[0] == code


def test_a_job_without_pods_or_news_is_starting() -> None:
    assert why(JOB, [], []) == ("Starting", "Job trainyard-s7-embed-a1 is there; its pods are being made.")


def test_a_job_that_kueue_holds_is_queued() -> None:
    waiting = why(replace(JOB, suspended=True, queue="gpus"), [], [])
    assert waiting == ("Queued", "Kueue has not admitted Job trainyard-s7-embed-a1 from queue gpus yet.")


def test_a_job_suspended_by_hand_says_how_it_goes_on() -> None:
    waiting = why(replace(JOB, suspended=True), [], [])
    assert waiting is not None
    assert waiting[0] == "Suspended"
    assert (
        """kubectl patch job trainyard-s7-embed-a1 --type=merge --patch='{"spec": {"suspend": false}}'""" in waiting[1]
    )


def test_a_refused_job_is_told_in_the_api_servers_words() -> None:
    assert refused(f'jobs.batch "trainyard-s7-embed-a1" is forbidden: {OVER_QUOTA}') == ("Quota", OVER_QUOTA)
    denied = 'admission webhook "images.example" denied the request: unsigned image'
    assert refused(denied) == ("Admission", denied)
