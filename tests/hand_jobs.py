"""A backend of Jobs that a test runs by hand: the edge where Kubernetes or threads would be, and a fake of it.

For tests that need a worker to do exactly so much, to die at a given point, or to be counted.
"""

import threading
from dataclasses import replace
from uuid import uuid4

from controller import lease as leases
from controller.apply import Applier
from controller.backend import JobSpec, ObservedJob
from controller.loop import run_pass
from jobs.context import Context
from jobs.worker import run_shard
from tests.local_runs import Run
from trainyard.shards import ShardKey


class HandJobs:
    """A JobBackend whose Jobs wait until `work` does them."""

    def __init__(self, run: Run) -> None:
        self._jobs: dict[str, ObservedJob] = {}
        self._run = run
        self._applier = Applier(run.controller.database, self, run.controller.lease)
        self.context = Context(run.database, run.vectors, run.settings, run.engines, threading.Event(), "by hand")

    def parallelism(self, step: str) -> int:
        return 1

    def smallest_shard(self, step: str) -> int:
        return 2_000

    def observe(self) -> list[ObservedJob]:
        return list(self._jobs.values())

    def create(self, spec: JobSpec) -> str:
        uid = str(uuid4())
        self._jobs[uid] = ObservedJob(spec, uid, "running")
        return uid

    def stop(self, job: ObservedJob) -> None:
        self._jobs[job.uid] = replace(job, state="stopped")

    def remove(self, job: ObservedJob) -> None:
        del self._jobs[job.uid]

    def settle(self) -> None:
        """Passes of the controller until there is nothing more to do."""
        database = self._run.controller.database
        leases.renew(database, self._run.controller.lease)
        while run_pass(database, self, self._applier, silence_seconds=1500):
            pass

    def waiting(self) -> ShardKey | None:
        """The shard of the Job that waits to be done; these libraries have one shard a step."""
        job = next((job for job in self._jobs.values() if job.state == "running"), None)
        return ShardKey(job.spec.session_id, job.spec.step, job.spec.attempt, 0) if job else None

    def work(self) -> None:
        """Do the waiting Job to its end."""
        key = self.waiting()
        assert key is not None
        run_shard(self.context, key)
        self._jobs = {uid: replace(job, state="succeeded") for uid, job in self._jobs.items()}
        self.settle()

    def work_up_to(self, step: str) -> ShardKey:
        """Do every Job before that of `step`; returns its shard."""
        self.settle()
        while (key := self.waiting()) is not None:
            if key.step == step:
                return key
            self.work()
        raise AssertionError(f"the session ended without the step {step}")
