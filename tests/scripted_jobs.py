"""A JobBackend that runs nothing: tests say what becomes of each Job, and write what its workers would."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from controller.backend import JobRefused, JobSpec, JobState, ObservedJob


class ScriptedJobs:
    """Stands in for the machines that run workers, which a test of the controller's rows does not need."""

    def __init__(self, parallelism: int = 4, smallest_shard: int = 10) -> None:
        self._parallelism = parallelism
        self._smallest_shard = smallest_shard
        self.jobs: dict[str, ObservedJob] = {}
        self.made: list[JobSpec] = []
        self.refuses_to_remove = False
        self.while_observed: Callable[[], None] | None = None  # called once, before observe answers

    def parallelism(self, step: str) -> int:
        return self._parallelism

    def smallest_shard(self, step: str) -> int:
        return self._smallest_shard

    def observe(self) -> list[ObservedJob]:
        if meanwhile := self.while_observed:
            self.while_observed = None
            meanwhile()
        return list(self.jobs.values())

    def create(self, spec: JobSpec) -> str:
        self.made.append(spec)
        uid = f"job-{len(self.made)}"
        self.jobs[uid] = ObservedJob(spec, uid, "running")
        return uid

    def stop(self, job: ObservedJob) -> None:
        if self.jobs[job.uid].state == "running":
            self.jobs[job.uid] = replace(job, state="stopping")

    def remove(self, job: ObservedJob) -> None:
        if self.refuses_to_remove:
            raise JobRefused("Admission", "The webhook does not answer.")
        self.jobs.pop(job.uid, None)

    @property
    def current(self) -> ObservedJob:
        """The one Job there is."""
        (job,) = self.jobs.values()
        return job

    def end(self, state: JobState, **facts: Any) -> None:
        self.jobs[self.current.uid] = replace(self.current, state=state, **facts)
