"""Events of TrainingSessions, made in the cluster: each once, and never in the way of a status."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import ClusterError, Conflict, Forbidden, NotFound, Refused, Throttled
from controller.kubernetes.paths import events_path
from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_event_manifest import event_manifest
from controller.kubernetes.resource_events import Event, events_of

log = logging.getLogger(__name__)

# No right to, a namespace that ends, a limit on events: none of it concerns a status.
REFUSALS = (Forbidden, NotFound, Refused, Throttled)

# Of a session's waits and failed attempts, which may come and go: so many in the time that Kubernetes keeps an event
# if not told otherwise.
MOST_RECURRING = 25
KEPT = timedelta(hours=1)


class EventRecorder:
    """Of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._recurring: dict[str, list[datetime]] = {}  # by the resource's uid: when the latest were made
        self._refused: set[type[ClusterError]] = set()  # since one was made

    def record(self, resource: Resource, status: Mapping[str, Any], instance: str, now: datetime) -> None:
        """To come before the status is written: who finds it unwritten makes the same events, and finds them made.

        `instance` is the process that does so. Raises ClusterUnavailable.
        """
        self._forget_old(now)
        for event in events_of(resource.status, status):
            recurring = self._recurring.setdefault(resource.uid, []) if event.recurs else []
            if len(recurring) < MOST_RECURRING and self._make(resource, event, instance, now):
                recurring.append(now)

    def _make(self, resource: Resource, event: Event, instance: str, now: datetime) -> bool:
        """Whether it was not there yet."""
        namespace = self._cluster.namespace
        try:
            self._cluster.create(events_path(namespace), event_manifest(resource, event, namespace, instance, now))
        except Conflict:
            return False
        except REFUSALS as error:
            self._log_once(error, event)
            return False
        self._refused.clear()
        return True

    def _log_once(self, error: ClusterError, event: Event) -> None:
        if type(error) not in self._refused:
            log.warning("%s is told nobody, nor is what follows: %s", event.reason, error.message)
        self._refused.add(type(error))

    def _forget_old(self, now: datetime) -> None:
        recent = {uid: [at for at in times if now - at < KEPT] for uid, times in self._recurring.items()}
        self._recurring = {uid: times for uid, times in recent.items() if times}
