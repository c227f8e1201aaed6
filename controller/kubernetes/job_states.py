"""What has become of each Job, and why it waits: from the watched Jobs, and from pods and events where those decide.

Times are measured here, from when something was first seen, since the API server's clock may differ from ours. What
is remembered is lost with the process, which costs only time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from controller.backend import ObservedJob
from controller.kubernetes.errors import ClusterUnavailable, Gone, Throttled
from controller.kubernetes.failures import Failure, came_back, counts, failure_of, first_failed_index, last_words
from controller.kubernetes.manifests import LOST_NODE_SECONDS
from controller.kubernetes.pods import Pod, Pods
from controller.kubernetes.seen_jobs import SeenJob, Verdict
from controller.kubernetes.settings import KubernetesSettings
from controller.kubernetes.waiting import Waiting, why

LOOK_SECONDS = 3.0  # between two looks at the pods of a Job that waits
LOOKS_PER_SECOND = 10  # at most, however many wait
LOOKING_SECONDS = 0.5  # at most in one pass; those left are looked at in the next


@dataclass
class _Memory:
    """Of one Job."""

    deleting_since: float | None = None
    waits_since: float | None = None
    begun: bool = False  # a worker ran once
    running_since: float | None = None  # none: no worker runs
    looked_at: float = 0.0
    waiting: Waiting | None = None
    terminating_since: dict[str, float] = field(default_factory=dict)  # pods that should end, by uid
    lost: bool = False
    failed_since: float | None = None
    failure: Failure | None = None
    looks_back: bool = False  # all its workers went without a verdict: they may have left word
    last_words: Waiting | None = None


class JobStates:
    """Asks for pods only of Jobs that wait, that failed, or whose pods should have ended."""

    def __init__(self, pods: Pods, settings: KubernetesSettings, clock: Callable[[], float]) -> None:
        self._pods = pods
        self._settings = settings
        self._clock = clock
        self._memories: dict[str, _Memory] = {}
        self._look_seconds = LOOK_SECONDS
        self._look_until = 0.0
        self._away_until = 0.0

    def observe(self, jobs: Iterable[SeenJob]) -> list[ObservedJob]:
        seen = list(jobs)
        self._memories = {job.uid: self._memories.get(job.uid) or _Memory() for job in seen}
        self._look_seconds = max(LOOK_SECONDS, sum(map(_waits, seen)) / LOOKS_PER_SECOND)
        self._look_until = self._clock() + LOOKING_SECONDS
        return [self._observe(job, self._memories[job.uid]) for job in seen]

    def _observe(self, job: SeenJob, memory: _Memory) -> ObservedJob:
        """Success stands whatever comes after it; a failure while the Job is being deleted is the deletion's."""
        running = ObservedJob(job.spec, job.uid, "running")
        if job.verdict and job.verdict.success:
            return replace(running, state="succeeded")
        if job.deleting:
            return self._stopping(job, memory, running)
        if job.verdict:
            return self._failed(job, job.verdict, memory, running)
        return self._running(job, memory, running)

    def _stopping(self, job: SeenJob, memory: _Memory, running: ObservedJob) -> ObservedJob:
        """Until its pods are gone; those of a lost node never are."""
        if memory.deleting_since is None:
            memory.deleting_since = self._clock()
        overdue = self._clock() - memory.deleting_since > job.grace_seconds + LOST_NODE_SECONDS
        return replace(running, state="stopped" if overdue else "stopping")

    def _failed(self, job: SeenJob, verdict: Verdict, memory: _Memory, running: ObservedJob) -> ObservedJob:
        """Only once its other workers have stopped at their batch, and once it is known why.

        What they hold is theirs until then, and a verdict without its reason would be tried again in vain.
        """
        if memory.failed_since is None:
            memory.failed_since = self._clock()
        overdue = self._clock() - memory.failed_since > job.grace_seconds + LOST_NODE_SECONDS
        if (job.running or job.terminating) and not overdue:
            return replace(running, state="stopping")
        if memory.failure is None:
            pods = self._ask(lambda: self._pods.failed(job.uid, first_failed_index(job), counts))
            if pods is None:
                return replace(running, state="stopping")
            memory.failure = failure_of(job, verdict, pods)
        failure = memory.failure
        return replace(running, state="failed", code=failure.code, message=failure.message, final=failure.final)

    def _running(self, job: SeenJob, memory: _Memory, running: ObservedJob) -> ObservedJob:
        if _waits(job) or memory.looks_back:
            self._remember(job, memory)
        else:
            memory = self._memories[job.uid] = _Memory(
                begun=True, running_since=memory.running_since, last_words=memory.last_words
            )
        running = replace(running, last_words=memory.last_words)
        if memory.lost:
            return replace(running, state="come_back")
        if job.running:
            return replace(running, running_seconds=self._running_seconds(memory))
        memory.looks_back = memory.looks_back or memory.running_since is not None
        memory.running_since = None
        return self._pending(job, memory, replace(running, waiting=memory.waiting))

    def _running_seconds(self, memory: _Memory) -> float:
        """Of its workers; those before a time without any, as while all were evicted, do not count."""
        if memory.running_since is None:
            memory.running_since = self._clock()
        return self._clock() - memory.running_since

    def _remember(self, job: SeenJob, memory: _Memory) -> None:
        """What its pods say; at first sight only whether it is suspended, for most begin before a second look."""
        now = self._clock()
        memory.begun = memory.begun or job.begun
        if memory.waits_since is None:
            memory.waits_since = memory.looked_at = now
            memory.waiting = why(job, [], []) if job.suspended else None
        elif now - memory.looked_at >= self._look_seconds and now < self._look_until:
            memory.looked_at = now
            self._ask(lambda: self._look(job, memory))

    def _pending(self, job: SeenJob, memory: _Memory, waiting: ObservedJob) -> ObservedJob:
        """As it is, and whether nothing of it has begun within the time that this installation gives."""
        longest = self._settings.step(job.spec.step).pending_deadline_seconds
        if memory.begun or longest is None or self._clock() - (memory.waits_since or 0.0) <= longest:
            return waiting
        reason = memory.waiting[1] if memory.waiting else ""
        message = f"No worker could begin within {longest} s (pendingDeadlineSeconds). {reason}".strip()
        return replace(waiting, overdue=message)

    def _look(self, job: SeenJob, memory: _Memory) -> None:
        if job.terminating:
            self._look_for_lost(job, memory)
        if memory.looks_back:
            memory.last_words = last_words(self._pods.failed(job.uid, None, came_back))
            memory.looks_back = False
        if not job.running:
            memory.waiting = self._why(job)

    def _look_for_lost(self, job: SeenJob, memory: _Memory) -> None:
        """Pods that should have ended long ago: nobody speaks for their node, and their indexes wait for them."""
        now = self._clock()
        grace = {pod["metadata"]["uid"]: _grace_seconds(pod) for pod in self._pods.terminating(job.uid)}
        memory.terminating_since = {uid: memory.terminating_since.get(uid, now) for uid in grace}
        overdue = (now - since > grace[uid] + LOST_NODE_SECONDS for uid, since in memory.terminating_since.items())
        memory.lost = any(overdue)

    def _why(self, job: SeenJob) -> Waiting | None:
        if job.suspended:
            return why(job, [], [])
        pods = self._pods.pending(job.uid)
        return why(job, pods, self._pods.events(pods[0]["metadata"]["uid"] if pods else job.uid))

    def _ask(self, question: Callable[[], Any]) -> Any:
        """None when the API server does not answer; then nothing is asked for a moment, lest a pass take minutes."""
        if self._clock() < self._away_until:
            return None
        try:
            return question()
        except (ClusterUnavailable, Throttled, Gone):
            self._away_until = self._clock() + LOOK_SECONDS
            return None


def _waits(job: SeenJob) -> bool:
    """Whether its pods say more than the Job does."""
    return not job.verdict and not job.deleting and (job.terminating or not job.running)


def _grace_seconds(pod: Pod) -> float:
    return float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
