"""LocalJobs: the Jobs of one machine, as threads of this process. They die with it, which is no failure."""

import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from uuid import uuid4

from controller.backend import JobSpec, ObservedJob
from jobs.context import Context
from jobs.outcomes import ComeBackLater, WrongConfiguration
from jobs.worker import run_shard, worker_name
from trainyard.database import first_line
from trainyard.error_words import plain
from trainyard.logs import log_context
from trainyard.shards import Overtaken, ShardKey

log = logging.getLogger(__name__)

SMALLEST_SHARD = 2_000


@dataclass
class _LocalJob:
    seen: ObservedJob
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class LocalJobs:
    """A JobBackend. A job's shards run one after another; each uses every core by itself.

    `context` is what workers get, but for the sign to stop, which each job has for itself; `changed` is called
    when a job has ended.
    """

    def __init__(self, context: Context, changed: Callable[[], None]) -> None:
        self._context = context
        self._changed = changed
        self._jobs: dict[str, _LocalJob] = {}
        self._lock = threading.Lock()

    def parallelism(self, step: str) -> int:
        return 1

    def smallest_shard(self, step: str) -> int:
        return SMALLEST_SHARD

    def observe(self) -> list[ObservedJob]:
        with self._lock:
            return [job.seen for job in self._jobs.values()]

    def create(self, spec: JobSpec) -> str:
        uid = str(uuid4())
        job = _LocalJob(ObservedJob(spec, uid, "running"))
        job.thread = threading.Thread(target=self._run, args=(job,), name=f"job-{spec.step}", daemon=True)
        with self._lock:
            self._jobs[uid] = job
        job.thread.start()
        return uid

    def stop(self, job: ObservedJob) -> None:
        with self._lock:
            local = self._jobs.get(job.uid)
            if local and local.seen.state == "running":
                local.seen = replace(local.seen, state="stopping")
                local.stop.set()

    def remove(self, job: ObservedJob) -> None:
        with self._lock:
            self._jobs.pop(job.uid, None)

    def join(self) -> None:
        """Wait until no worker runs any more; stop them first."""
        with self._lock:
            threads = [job.thread for job in self._jobs.values() if job.thread]
        for thread in threads:
            thread.join()

    def _run(self, job: _LocalJob) -> None:
        spec = job.seen.spec
        context = replace(self._context, stop=job.stop, worker=worker_name())
        try:
            for index in range(spec.shards):
                with log_context(session=spec.session_id, step=spec.step, shard=index):
                    run_shard(context, ShardKey(spec.session_id, spec.step, spec.attempt, index))
            end = replace(job.seen, state="succeeded")
        except ComeBackLater:
            end = replace(job.seen, state="stopped" if job.stop.is_set() else "come_back")
        except Overtaken:
            end = replace(job.seen, state="stopped")
        except WrongConfiguration as error:
            end = replace(job.seen, state="failed", code=error.code, message=error.message, final=True)
        except Exception as error:
            log.error("a worker of %s failed\n%s", spec, traceback.format_exc())
            end = replace(job.seen, state="failed", code=type(error).__name__, message=plain(first_line(error)))
        with self._lock:
            job.seen = end
        self._changed()
