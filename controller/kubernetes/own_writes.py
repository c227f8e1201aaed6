"""What this process wrote and the watch does not show yet: the next pass must not do it again, nor undo it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from controller.kubernetes.errors import ClusterUnavailable, Throttled
from controller.kubernetes.seen_jobs import SeenJob

TRUSTED_SECONDS = 5.0  # a watch shows a write within milliseconds; later than this, somebody else may have undone it


class OwnWrites:
    """Laid over what the watch shows, for a moment each. `read` asks the API server itself for a Job by name."""

    def __init__(self, read: Callable[[str], SeenJob | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._created: dict[str, tuple[SeenJob, float]] = {}  # by uid, as are the others
        self._stopped: dict[str, float] = {}
        self._removed: dict[str, float] = {}

    def created(self, job: SeenJob) -> None:
        self._created[job.uid] = (job, self._clock())

    def stopped(self, uid: str) -> None:
        self._stopped[uid] = self._clock()

    def removed(self, uid: str) -> None:
        self._removed[uid] = self._clock()

    def over(self, seen: Mapping[str, SeenJob | None]) -> list[SeenJob]:
        """The Jobs there are, by all that is known. What is None in `seen`, or saved, is left out."""
        jobs = {job.uid: job for job in seen.values() if job is not None}
        jobs |= self._unseen(jobs)
        self._forget_old(self._stopped)
        self._forget_old(self._removed)
        return [
            replace(job, deleting=job.deleting or uid in self._stopped)
            for uid, job in jobs.items()
            if uid not in self._removed and not job.saved
        ]

    def _unseen(self, seen: Mapping[str, SeenJob]) -> dict[str, SeenJob]:
        self._created = {uid: entry for uid, entry in self._created.items() if uid not in seen}
        for uid, (job, at) in list(self._created.items()):
            if self._clock() - at > TRUSTED_SECONDS:
                self._read_again(uid, job)
        return {uid: job for uid, (job, _) in self._created.items()}

    def _read_again(self, uid: str, job: SeenJob) -> None:
        """Either the watch is late, or the Job came and went between two looks."""
        try:
            now = self._read(job.name)
        except (ClusterUnavailable, Throttled):  # then it stays as it was: not knowing makes nothing look gone
            return
        if now is not None and now.uid == uid:
            self.created(now)
        else:
            del self._created[uid]

    def _forget_old(self, writes: dict[str, float]) -> None:
        for uid in [uid for uid, at in writes.items() if self._clock() - at > TRUSTED_SECONDS]:
            del writes[uid]
