"""Plays what runs in the pods: for each running one the real worker code beside it, with fake networks.

A pod ends as its worker did. One that is deleted has its worker told to stop, as SIGTERM does.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import ClusterError, NotFound
from controller.kubernetes.names import ATTEMPT_LABEL, SESSION_LABEL, STEP_LABEL
from controller.kubernetes.paths import pods_path
from controller.kubernetes.pods import INDEX_LABEL
from jobs.context import Context
from jobs.outcomes import ComeBackLater, WrongConfiguration
from jobs.worker import run_shard
from tests.cluster.fake_nodes import EXIT_CODE, MESSAGE
from trainyard import shards
from trainyard.shards import Overtaken, ShardKey

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class End:
    """How a container ends: its exit code, and what it leaves in its termination message."""

    exit_code: int
    message: str = ""


@dataclass(frozen=True)
class Pod:
    """A running pod; `context.stop` is set once it is deleted."""

    name: str
    key: ShardKey
    context: Context

    def claim(self) -> None:
        """Have the shard, without beginning it."""
        self.context.database.transact(lambda connection: shards.claim(connection, self.key, self.name))

    def work(self) -> End:
        """Do the shard, as `trainyard job` does."""
        try:
            run_shard(self.context, self.key)
        except (ComeBackLater, Overtaken) as later:
            return End(75, str(later))
        except WrongConfiguration as wrong:
            return End(78, f"{wrong.code}: {wrong.message}")
        return End(0)


class PlayedPods:
    """Those of one namespace, from `start` to `stop`. By default every pod does its work."""

    def __init__(self, cluster: Cluster, context: Context) -> None:
        self._cluster = cluster
        self._context = context
        self._pods: dict[str, Pod] = {}  # begun, by uid
        self._threads: list[threading.Thread] = []
        self._held: list[Callable[[ShardKey], bool]] = []
        self._scripted: list[tuple[str, End]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._look = threading.Thread(target=self._run, name="played-pods", daemon=True)
        self.worked: list[Pod] = []  # in the order in which they began

    def start(self) -> None:
        self._look.start()

    def stop(self) -> None:
        self._stop.set()
        self._look.join()
        for pod in self._pods.values():
            pod.context.stop.set()
        for thread in self._threads:
            thread.join()

    def hold(self, step: str, session_id: int | None = None) -> Callable[[], None]:
        """Workers of this step claim their shard and then do nothing, until what is returned is called."""

        def is_held(key: ShardKey) -> bool:
            return key.step == step and session_id in (None, key.session_id)

        self._held.append(is_held)
        return lambda: self._held.remove(is_held)

    def let_all_go(self) -> None:
        self._held.clear()

    def script(self, step: str, end: End, times: int = 1) -> None:
        """The next pods of this step claim their shard and end so."""
        with self._lock:
            self._scripted += [(step, end)] * times

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            with suppress(ClusterError):  # the API server is away, in tests of that
                self._see(self._cluster.list(pods_path(self._cluster.namespace)).items)

    def _see(self, found: list[dict[str, Any]]) -> None:
        alive = {pod["metadata"]["uid"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}
        for uid, begun in self._pods.items():
            if uid not in alive:
                begun.context.stop.set()
        for uid, pod in alive.items():
            if pod["status"].get("phase") == "Running" and uid not in self._pods:
                self._begin(uid, pod)

    def _begin(self, uid: str, found: dict[str, Any]) -> None:
        labels, name = found["metadata"]["labels"], found["metadata"]["name"]
        key = ShardKey(
            int(labels[SESSION_LABEL]), labels[STEP_LABEL], int(labels[ATTEMPT_LABEL]), int(labels[INDEX_LABEL])
        )
        pod = Pod(name, key, replace(self._context, worker=name, stop=threading.Event()))
        self._pods[uid] = pod
        self.worked.append(pod)
        thread = threading.Thread(target=self._play, args=(pod,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _play(self, pod: Pod) -> None:
        try:
            end = self._end_of(pod)
        except Exception as error:  # as a process that ends with a traceback
            log.exception("%s failed", pod.name)
            end = End(1, f"{type(error).__name__}: {error}")
        annotations = {EXIT_CODE: str(end.exit_code), MESSAGE: end.message}
        patch = {"metadata": {"annotations": annotations}}
        while True:
            try:
                self._cluster.patch(pods_path(self._cluster.namespace, pod.name), patch)
            except NotFound:
                return
            except ClusterError:
                if self._stop.wait(LOOK_SECONDS):
                    return
                continue
            return

    def _end_of(self, pod: Pod) -> End:
        if end := self._next_scripted(pod.key.step):
            with suppress(Overtaken):
                pod.claim()
            return end
        if self._is_held(pod):
            try:
                pod.claim()
            except Overtaken as later:
                return End(75, str(later))
            while self._is_held(pod):
                if pod.context.stop.wait(LOOK_SECONDS):
                    return End(75, "told to stop")
        return pod.work()

    def _is_held(self, pod: Pod) -> bool:
        return any(is_held(pod.key) for is_held in self._held)

    def _next_scripted(self, step: str) -> End | None:
        with self._lock:
            found = next((entry for entry in self._scripted if entry[0] == step), None)
            if found:
                self._scripted.remove(found)
            return found[1] if found else None
