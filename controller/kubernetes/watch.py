"""A copy of what the API server has, kept up to date: listed once, then told of every change.

Whatever goes wrong, it is listed again; what is known meanwhile grows old, but nothing of it disappears.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from controller.kubernetes.client import Cluster, Object
from controller.kubernetes.errors import ClusterError, Gone, NotFound
from controller.kubernetes.paths import resource_of
from controller.kubernetes.watch_stream import WatchStream

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
KIND_UNKNOWN = "The cluster does not know this kind: apply charts/trainyard/crds."
STOP_SECONDS = 5.0  # for the thread to end; a listing on its way ends by its own time limits


class Watch:
    """What `keep` returns of each object of this path, by the object's name.

    `changed` is called, from the watch's own thread, after any of it has changed. Only a full list, or the server's
    word that it is deleted, makes an object disappear.
    """

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        *,
        labels: str = "",
        fields: str = "",
        keep: Callable[[Object], Any],
        changed: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._path = path
        self._labels = labels
        self._fields = fields
        self._keep = keep
        self._changed = changed
        self._lock = threading.Lock()
        self._kept: dict[str, Any] = {}
        self._stream: WatchStream | None = None
        self._heard_at: float | None = None
        self._synced = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)

    def start(self) -> None:
        self._cluster.watches += (self,)
        self._thread.start()

    def stop(self) -> None:
        """What was known stays known."""
        with self._lock:
            self._stopped.set()
            if self._stream:
                self._stream.interrupt()
        self._thread.join(STOP_SECONDS)

    @property
    def resource(self) -> str:
        """What a Role calls it."""
        return resource_of(self._path)

    @property
    def synced(self) -> bool:
        """Whether there has been a full list: until then, what is not in the snapshot may well exist."""
        return self._synced.is_set()

    @property
    def fresh_seconds(self) -> float:
        """Since the server was last heard: a list, a change, or a sign that there was none. Infinite before."""
        return float("inf") if self._heard_at is None else time.monotonic() - self._heard_at

    def wait_synced(self, timeout: float) -> bool:
        return self._synced.wait(timeout)

    def snapshot(self) -> dict[str, Any]:
        """All of it as of one moment."""
        with self._lock:
            return dict(self._kept)

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            begun = time.monotonic()
            failure = self._list_and_follow()
            failures = 1 if self._went_well(begun) else failures + 1
            if failure and not self._stopped.is_set():
                log.log(logging.WARNING if failures == 1 else logging.DEBUG, "%s", failure)  # once an outage
            self._stopped.wait(pause_seconds(failures, random.random()))

    def _went_well(self, begun: float) -> bool:
        """For long enough that what ended it is no part of the trouble before."""
        listed = self._heard_at is not None and self._heard_at > begun
        return listed and time.monotonic() - begun > LONGEST_PAUSE_SECONDS

    def _list_and_follow(self) -> str | None:
        """What ended it, unless that was ordinary."""
        try:
            self._follow(self._list())
        except Gone:
            return None
        except NotFound as error:  # a namespace that is not there is answered with an empty list
            return f"{error.message} {KIND_UNKNOWN}"
        except ClusterError as error:
            return error.message
        except Exception:  # an object that `keep` cannot read: nothing may end this thread
            log.exception("Watching %s failed; it is listed again.", self._path)
        return None

    def _list(self) -> str:
        """The version to go on from."""
        found = self._cluster.list(
            self._path, labels=self._labels, fields=self._fields, keep=lambda item: (_name(item), self._keep(item))
        )
        kept = dict(found.items)
        with self._lock:
            differs = kept != self._kept or not self.synced
            self._kept = kept
        self._heard_at = time.monotonic()
        self._synced.set()
        if differs:
            self._changed()
        return found.resource_version

    def _follow(self, version: str) -> None:
        """Returns when stopped, or when a watch ended without a word."""
        heard: str | None = version
        while heard and not self._stopped.is_set():
            heard = self._watch(version)
            version = heard or version

    def _watch(self, version: str) -> str | None:
        """One request; returns the version it came to, None when it said nothing."""
        heard = None
        stream = self._cluster.watch(self._path, version, labels=self._labels, fields=self._fields)
        try:
            self._attend(stream)
            for kind, item in stream:
                heard = item["metadata"]["resourceVersion"]
                self._heard_at = time.monotonic()
                self._take(kind, item)
        finally:
            self._attend(None)
            stream.close()
        return heard

    def _attend(self, stream: WatchStream | None) -> None:
        """So that `stop` can interrupt it, be it called before or after."""
        with self._lock:
            self._stream = stream
            if stream and self._stopped.is_set():
                stream.interrupt()

    def _take(self, kind: str, item: Object) -> None:
        if kind == "BOOKMARK":
            return
        name = _name(item)
        now = {} if kind == "DELETED" else {name: self._keep(item)}
        with self._lock:
            before = {name: self._kept.pop(name)} if name in self._kept else {}
            self._kept |= now
        if now != before:
            self._changed()


def pause_seconds(failures: int, random: float) -> float:
    """Before the next list, after so many failures in a row; `random` (0 to 1) keeps controllers out of step."""
    return min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10), LONGEST_PAUSE_SECONDS) * (0.5 + random / 2)


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])
