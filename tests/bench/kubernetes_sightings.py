"""When what was seen, by a watch of the bench's own: not by what the controller says of itself."""

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from controller.kubernetes.client import Cluster, Object
from controller.kubernetes.names import SESSION_LABEL, STEP_LABEL
from controller.kubernetes.seen_jobs import seen_job
from controller.kubernetes.watch import Watch
from tests.bench.kubernetes_stage import LONGEST_SECONDS, until


class Sightings:
    """`at` says when (by time.time()) each thing was first seen, of those that `see` finds in an object."""

    def __init__(self, cluster: Cluster, path: str, see: Callable[[Object], Iterable[Hashable]]) -> None:
        self.at: dict[Hashable, float] = {}
        self._see = see
        self.watch = Watch(cluster, path, keep=self._note, changed=lambda: None)

    def wait_for(self, things: Sequence[Hashable], what: str, seconds: float = LONGEST_SECONDS) -> None:
        """Until all of them were seen. Raises TimeoutError."""
        until(lambda: all(thing in self.at for thing in things), what, seconds)

    def delays(self, since: dict[int, float], thing: Callable[[int], Hashable]) -> list[float]:
        """Seconds from each session's moment to the sight of its thing."""
        return [self.at[thing(session_id)] - moment for session_id, moment in since.items()]

    def _note(self, item: Object) -> str:
        now = time.time()
        for thing in self._see(item):
            self.at.setdefault(thing, now)
        return str(item["metadata"]["resourceVersion"])


@contextmanager
def sightings(cluster: Cluster, path: str, see: Callable[[Object], Iterable[Hashable]]) -> Iterator[Sightings]:
    """Of what there is, and of what happens from now on."""
    found = Sightings(cluster, path, see)
    found.watch.start()
    try:
        assert found.watch.wait_synced(LONGEST_SECONDS), f"{path} was not listed"
        yield found
    finally:
        found.watch.stop()


def of_job(job: Object) -> Iterator[Hashable]:
    """("made", session, step), and ("ended", …) once the API server has said how it ends."""
    labels = job["metadata"].get("labels", {})
    if SESSION_LABEL not in labels:
        return
    about = (int(labels[SESSION_LABEL]), labels[STEP_LABEL])
    yield ("made", *about)
    seen = seen_job(job)
    if seen is not None and seen.verdict is not None:
        yield ("ended", *about)


def of_resource(resource: Object) -> Iterator[Hashable]:
    """(session, phase), and (session, status)."""
    status = resource.get("status", {})
    if "sessionId" in status:
        yield (status["sessionId"], status.get("phase"))
        yield (status["sessionId"], status.get("overallStatus"))
