"""Why a Job failed: the worker that ended it, and what that one left behind. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.kubernetes.manifests import COME_BACK, WRONG_CONFIGURATION
from controller.kubernetes.pods import INDEX_LABEL, Pod
from controller.kubernetes.seen_jobs import SeenJob, Verdict

SAYS_NOTHING = frozenset({"Error", ""})  # a container's reason for any exit but 0

# What a worker writes into its termination message: a code for machines, a sentence for people.
CODE_AND_SENTENCE = re.compile(r"([A-Z][A-Za-z0-9]{1,63}): +(.+)", re.DOTALL)
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")  # NUL is nothing that a row can hold


@dataclass(frozen=True)
class Failure:
    """`final`: it would fail the same way again."""

    code: str
    message: str
    final: bool


def failure_of(job: SeenJob, verdict: Verdict, pods: Sequence[Pod]) -> Failure:
    """What to say of a failed Job, from those of its pods that count: of the one that ended it, or else the last."""
    final = _by_policy(verdict)
    culprits = [pod for pod in pods if _exit_code(pod) == WRONG_CONFIGURATION or not final]
    if not culprits:
        return Failure("WorkerFailed", verdict.message or f"Job {job.name} failed.", final)
    culprit = max(culprits, key=_ended_at)
    code, message = _account(culprit)
    return Failure(code or ("WrongConfiguration" if final else "WorkerFailed"), message, final)


def first_failed_index(job: SeenJob) -> str | None:
    """Of a Job that ended because a shard failed too often: its pods can tell why, the others' not."""
    first = re.match(r"\d+", job.failed_indexes)
    return first.group() if first and not _by_policy(job.verdict) else None


def counts(pod: Pod) -> bool:
    """Whether the Job controller counts its end as a failure, by the rules that the Job was made with."""
    disrupted = any(
        condition["type"] == "DisruptionTarget" and condition["status"] == "True"
        for condition in pod["status"].get("conditions") or []
    )
    return not disrupted and _exit_code(pod) not in {0, COME_BACK}


def came_back(pod: Pod) -> bool:
    """Whether its worker wants to be made once more."""
    return _exit_code(pod) == COME_BACK


def last_words(pods: Sequence[Pod]) -> tuple[str, str] | None:
    """Code and sentence of the last of these workers to go, if it left any."""
    last = max(pods, key=_ended_at, default=None)
    if last is None:
        return None
    code, sentence = _account(last)
    return code or "WorkersComeBack", sentence


def _by_policy(verdict: Verdict | None) -> bool:
    """Whether one pod's exit code was enough."""
    return verdict is not None and verdict.reason == "PodFailurePolicy"


def _account(pod: Pod) -> tuple[str, str]:
    """Code, if there is one, and sentence."""
    status, ended = pod["status"], _terminated(pod)
    said = UNPRINTABLE.sub(" ", ended.get("message") or "").strip()
    if found := CODE_AND_SENTENCE.fullmatch(said):
        return found.group(1), found.group(2)
    code = ended.get("reason", status.get("reason", ""))
    return ("" if code in SAYS_NOTHING else code), said or status.get("message") or _last_words(pod)


def _last_words(pod: Pod) -> str:
    """Of a worker that was killed before it could say a word."""
    name, index = pod["metadata"]["name"], pod["metadata"].get("labels", {}).get(INDEX_LABEL, "?")
    if _terminated(pod).get("reason") == "OOMKilled":
        end = "used more memory than its limit allows and was killed"
    else:
        end = f"ended with exit code {_exit_code(pod)} and left no message"
    return f"The worker of shard {index} {end}; `kubectl logs {name}` may say more."


def _exit_code(pod: Pod) -> int | None:
    return _terminated(pod).get("exitCode")


def _ended_at(pod: Pod) -> str:
    return str(_terminated(pod).get("finishedAt") or pod["metadata"].get("creationTimestamp") or "")


def _terminated(pod: Pod) -> Mapping[str, Any]:
    """How its one container ended; empty when it never began."""
    for container in pod["status"].get("containerStatuses") or []:
        if ended := (container.get("state") or {}).get("terminated"):
            return dict(ended)
    return {}
