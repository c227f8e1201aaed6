"""The API server, spoken to in plain JSON: no models, a time limit on everything, errors one can go on from.

What is raised is in errors.py, addresses are in paths.py.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import urllib3
from kubernetes.client import ApiClient

from controller.kubernetes.credentials import api_client
from controller.kubernetes.errors import ClusterError, Gone, NotFound
from controller.kubernetes.paths import resource_of
from controller.kubernetes.retries import pause_seconds
from controller.kubernetes.transport import JSON, METADATA_ONLY, Request, exchange, read_object
from controller.kubernetes.watch_stream import WatchStream

READ_SECONDS = 10.0  # without a byte
QUIET_SECONDS = 90.0  # of a watch: bookmarks come about every minute, so after that its connection is dead
MOST_LISTINGS = 3  # begun, before a list whose pages expire faster than they are read is given up
PATCHES = {"merge": "application/merge-patch+json", "json": "application/json-patch+json"}

Object = dict[str, Any]
Objects = list[Object]


@dataclass(frozen=True)
class Listing:
    """All there were at one moment; `resource_version` is what a watch goes on from."""

    items: list[Any]
    resource_version: str


class Watched(Protocol):
    """A watch as others see it: whether there has been a full list, and seconds since the server was last heard."""

    @property
    def resource(self) -> str: ...

    @property
    def synced(self) -> bool: ...

    @property
    def fresh_seconds(self) -> float: ...


class Cluster:
    """One namespace of a cluster, as one user. Methods raise ClusterError; they may be called from any thread.

    `guard`, if set, is called before every request that changes something, and may raise to prevent it.
    `requests` counts what was sent, by verb and resource as a Role names them; `watches` are those begun on it.
    """

    def __init__(
        self,
        api: ApiClient,
        namespace: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.namespace = namespace
        self.guard: Callable[[], None] | None = None
        self.requests: Counter[tuple[str, str]] = Counter()
        self.watches: tuple[Watched, ...] = ()
        self._api = api
        self._clock = clock
        self._sleep = sleep
        self._counting = threading.Lock()

    @classmethod
    def connect(
        cls,
        kubeconfig: Path | None,
        namespace: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> "Cluster":
        """By a kubeconfig's current context; None: as the pod's service account. Sends nothing yet.

        Raises BadKubeconfig.
        """
        return cls(api_client(kubeconfig), namespace, clock, sleep)

    def close(self) -> None:
        self._api.close()

    def sent(self) -> Counter[tuple[str, str]]:
        """`requests` as of one moment, for other threads than those that send."""
        with self._counting:
            return self.requests.copy()

    def get(self, path: str) -> Object:
        """Raises NotFound."""
        return self._ask(Request("get", path))

    def list(
        self,
        path: str,
        *,
        labels: str = "",
        fields: str = "",
        page: int = 500,
        keep: Callable[[Object], Any] = lambda item: item,
    ) -> Listing:
        """All there are, read `page` at a time; of each only what `keep` returns stays in memory."""
        for _ in range(MOST_LISTINGS - 1):
            try:
                return self._list(path, labels, fields, page, keep)
            except Gone:  # the pages left: begin again
                continue
        return self._list(path, labels, fields, page, keep)

    def pages(
        self, path: str, *, labels: str = "", fields: str = "", page: int = 500, metadata_only: bool = False
    ) -> Iterator[Objects]:
        """All there are, a page at a time. Raises Gone when the pages left are known no more: begin again."""
        return (items for items, _ in self._pages(path, labels, fields, page, METADATA_ONLY if metadata_only else JSON))

    def create(self, path: str, body: Object, dry_run: bool = False) -> Object:
        """The object as made. Raises Conflict when there is one of that name."""
        return self._ask(Request("create", path, {"dryRun": "All" if dry_run else ""}, body))

    def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground"] | None = None,
        grace_seconds: int | None = None,
    ) -> None:
        """Nothing to do if it is gone. Raises Conflict when the one of that name has another uid."""
        options = {
            "preconditions": {"uid": uid} if uid else None,
            "propagationPolicy": propagation,
            "gracePeriodSeconds": grace_seconds,
        }
        body = {key: value for key, value in options.items() if value is not None}
        try:
            self._ask(Request("delete", path, {}, {"apiVersion": "v1", "kind": "DeleteOptions", **body}))
        except NotFound:
            return

    def patch(self, path: str, body: Any, kind: Literal["merge", "json"] = "merge") -> Object:
        """The object as patched. Raises Conflict when a merge names another `metadata.uid` or `.resourceVersion`.

        Of a resource's status only the version is compared; a JSON patch can `test` the uid, and raises Refused.
        """
        return self._ask(Request("patch", path, {}, body, PATCHES[kind]))

    def watch(
        self, path: str, resource_version: str, *, labels: str = "", fields: str = "", timeout_seconds: int = 240
    ) -> WatchStream:
        """Iterates over (type, object), type being ADDED, MODIFIED, DELETED or BOOKMARK, until the server ends it.

        Never sent again by itself. Raises Gone, now or while iterating, when the version is known no more.
        """
        query = _selectors(labels, fields) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": timeout_seconds,
        }
        request = Request("watch", path, query)
        return WatchStream(self._send(request, min(QUIET_SECONDS, timeout_seconds + READ_SECONDS)), request)

    def _list(self, path: str, labels: str, fields: str, page: int, keep: Callable[[Object], Any]) -> Listing:
        kept: list[Any] = []
        version = ""
        for items, its_version in self._pages(path, labels, fields, page):
            kept += map(keep, items)
            version = its_version
        return Listing(kept, version)

    def _pages(
        self, path: str, labels: str, fields: str, page: int, accept: str = JSON
    ) -> Iterator[tuple[Objects, str]]:
        """Items and the list's resource version, which is the same on every page."""
        rest = ""
        while True:
            query = _selectors(labels, fields) | {"limit": page, "continue": rest}
            found = self._ask(Request("list", path, query, accept=accept))
            yield found["items"], found["metadata"]["resourceVersion"]
            rest = found["metadata"].get("continue", "")
            if not rest:
                return

    def _ask(self, request: Request) -> Object:
        begun = self._clock()
        tries = 0
        while True:
            tries += 1
            try:
                return read_object(self._send(request, READ_SECONDS), request)
            except ClusterError as error:
                elapsed = self._clock() - begun
                pause = pause_seconds(error, reads=request.reads, tries=tries, elapsed_seconds=elapsed)
                if pause is None:
                    raise
            self._sleep(pause)

    def _send(self, request: Request, read_seconds: float) -> urllib3.HTTPResponse:
        if self.guard and not request.reads:
            self.guard()
        with self._counting:
            self.requests[request.verb, resource_of(request.path)] += 1
        return exchange(self._api, request, read_seconds)


def _selectors(labels: str, fields: str) -> dict[str, str | int]:
    return {"labelSelector": labels, "fieldSelector": fields}
