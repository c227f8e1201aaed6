"""A Job as the API server tells of it, down to what the controller goes by. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from controller.backend import JobSpec
from controller.kubernetes.manifests import QUEUE_LABEL
from controller.kubernetes.names import (
    ATTEMPT_LABEL,
    GROUP,
    INSTALLATION_LABEL,
    SESSION_LABEL,
    STEP_LABEL,
    TOKEN_LABEL,
)

SAVED_LABEL = f"{GROUP}/saved"  # its result is in the rows: nobody looks at the Job any more

# The first of each pair comes as soon as the end is decided; the second waits for every pod to be gone, which one on
# a lost node never is.
SUCCESS = ("SuccessCriteriaMet", "Complete")
FAILURE = ("FailureTarget", "Failed")
DEFAULT_GRACE_SECONDS = 30.0  # of a pod that names none


@dataclass(frozen=True)
class Verdict:
    """A condition that decides how the Job ends, with the API server's reason and sentence."""

    success: bool
    reason: str
    message: str


@dataclass(frozen=True)
class SeenJob:
    """Says of pods whether there are any, not how many: that one of a thousand began or ended is no news."""

    name: str
    uid: str
    spec: JobSpec
    verdict: Verdict | None
    deleting: bool
    saved: bool
    suspended: bool
    queue: str | None  # of Kueue, which alone starts a Job that names one
    running: bool  # a pod is
    terminating: bool  # a pod is
    begun: bool  # a pod runs, or has ended
    failed_indexes: str  # as `1,3-5`
    grace_seconds: float


def seen_job(job: Mapping[str, Any]) -> SeenJob | None:
    """None for a Job whose labels are not all there, or not as they were made: it is left alone."""
    metadata, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    ours = _spec_of(metadata.get("labels") or {}, spec.get("completions"))
    if ours is None:
        return None
    return SeenJob(
        name=metadata["name"],
        uid=metadata["uid"],
        spec=ours,
        verdict=_verdict(status.get("conditions") or []),
        deleting="deletionTimestamp" in metadata,
        saved=SAVED_LABEL in metadata["labels"],
        suspended=bool(spec.get("suspend")),
        queue=metadata["labels"].get(QUEUE_LABEL),
        running=bool(status.get("ready")),
        terminating=bool(status.get("terminating")),
        begun=any(status.get(count) for count in ("ready", "succeeded", "failed")),
        failed_indexes=status.get("failedIndexes") or "",
        grace_seconds=float(spec["template"]["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)),
    )


def unsaved_jobs(installation: UUID) -> str:
    """The label selector of this installation's Jobs whose results are not in the rows yet."""
    return f"{INSTALLATION_LABEL}={installation},!{SAVED_LABEL}"


def _spec_of(labels: Mapping[str, str], completions: int | None) -> JobSpec | None:
    try:
        return JobSpec(
            session_id=int(labels[SESSION_LABEL]),
            step=labels[STEP_LABEL],
            attempt=int(labels[ATTEMPT_LABEL]),
            shards=completions or 0,
            token=labels[TOKEN_LABEL],
        )
    except (KeyError, ValueError):
        return None


def _verdict(conditions: list[Mapping[str, Any]]) -> Verdict | None:
    true = {condition["type"]: condition for condition in conditions if condition["status"] == "True"}
    for kind in (*SUCCESS, *FAILURE):
        if kind in true:
            return Verdict(kind in SUCCESS, true[kind].get("reason", ""), true[kind].get("message", ""))
    return None
