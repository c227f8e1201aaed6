"""Why no worker of a Job runs yet: a code, and the sentence of whoever holds it up. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence

from controller.kubernetes.pods import Event, Pod
from controller.kubernetes.seen_jobs import SeenJob

Waiting = tuple[str, str]

IMAGE_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
BEING_MADE = frozenset({"ContainerCreating", "PodInitializing"})

# What somebody must mend is said first, though only one of many pods should have it.
FIRST_SAID = ("ImagePull", "StorageUnavailable", "Unschedulable", "Starting")

# `Error creating: pods "…" is forbidden: ` before what matters; the name is another one each time.
BEFORE_THE_REASON = re.compile(r'^(Error creating: )?(\S+ "[^"]*" is forbidden: )?')


def why(job: SeenJob, pods: Sequence[Pod], events: Sequence[Event]) -> Waiting | None:
    """Why the Job does not get on: from its pending pods, and the events of it and of them; None when a worker runs."""
    if job.running or any(pod["status"].get("phase") == "Running" for pod in pods):
        return None
    if job.suspended:
        return _suspended(job)
    found = [reason for pod in pods for reason in _of_pod(pod, events)]
    if found:
        return min(found, key=lambda reason: FIRST_SAID.index(reason[0]))
    refused = None if pods else _not_created(job, events)
    return refused or ("Starting", f"Job {job.name} is there; its pods are being made.")


def refused(sentence: str) -> Waiting:
    """For a Job or a pod that the API server would not make, from its own sentence."""
    reason = BEFORE_THE_REASON.sub("", sentence)
    return ("Quota" if "exceeded quota" in reason else "Admission", reason)


def _suspended(job: SeenJob) -> Waiting:
    if job.queue:
        return ("Queued", f"Kueue has not admitted Job {job.name} from queue {job.queue} yet.")
    resume = f"""kubectl patch job {job.name} --type=merge --patch='{{"spec": {{"suspend": false}}}}'"""
    return ("Suspended", f"Job {job.name} was suspended by hand; {resume} lets it go on.")


def _of_pod(pod: Pod, events: Sequence[Event]) -> Iterator[Waiting]:
    for condition in pod["status"].get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield ("Unschedulable", condition.get("message") or "The scheduler found no node yet.")
            return
    for container in pod["status"].get("containerStatuses") or []:
        if held := (container.get("state") or {}).get("waiting"):
            yield from _of_container(held, container["image"])
    yield from _of_volumes(pod, events)
    yield ("Starting", f"Pod {pod['metadata']['name']} is being started.")


def _of_container(held: Mapping[str, str], image: str) -> Iterator[Waiting]:
    reason = held.get("reason", "")
    message = held.get("message") or reason
    if reason in IMAGE_PULL:
        yield ("ImagePull", f"Image {image}: {message}")
    elif reason and reason not in BEING_MADE:
        yield ("Starting", message)


def _of_volumes(pod: Pod, events: Sequence[Event]) -> Iterator[Waiting]:
    event = _last(events, pod["metadata"].get("uid", ""), "FailedMount")
    if event:
        yield ("StorageUnavailable", event.get("message") or "A volume of the pod cannot be mounted.")


def _not_created(job: SeenJob, events: Sequence[Event]) -> Waiting | None:
    event = _last(events, job.uid, "FailedCreate")
    made = _last(events, job.uid, "SuccessfulCreate")
    if event is None or (made and _seen_at(made) > _seen_at(event)):
        return None
    return refused(event.get("message") or "")


def _last(events: Sequence[Event], uid: str, reason: str) -> Event | None:
    found = [event for event in events if event["involvedObject"].get("uid") == uid and event["reason"] == reason]
    return max(found, key=_seen_at, default=None)


def _seen_at(event: Event) -> str:
    """When it was last seen, as RFC 3339; repeated events are one object that is counted up."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((time for time in times if time), default="")
