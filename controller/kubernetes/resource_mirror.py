"""TrainingSession resources and rows of sessions, kept in step: observe, plan, apply.

Level-triggered: a pass sees what is missing now, whatever happened before it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import NotListed
from controller.kubernetes.manifests import Owner
from controller.kubernetes.paths import sessions_path
from controller.kubernetes.resource import Resource, read_resource
from controller.kubernetes.resource_apply import ResourceApplier
from controller.kubernetes.resource_plan import MakeResource, Mirrored, ResourceAction, WriteStatus, plan_resources
from controller.kubernetes.resource_rows import lacks_resource, read_owner, read_sessions, read_shown
from controller.kubernetes.resource_views import SessionRow
from controller.kubernetes.resource_writes import StatusWrites
from controller.kubernetes.watch import Watch
from controller.lease import Lease
from trainyard.database import Database

SHOWING_SECONDS = 0.5  # at most in one pass; those left are written in the next


class ResourceMirror:
    """Of one namespace and one database.

    `defaults` are the options that a resource cannot name, `untrained` and `face_engine`. `changed` is called, from a
    thread of the watch, when a resource has changed.
    """

    def __init__(
        self,
        cluster: Cluster,
        database: Database,
        defaults: Mapping[str, Any],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = sessions_path(cluster.namespace)
        self._database = database
        self._clock = clock
        self._watch = Watch(cluster, self._path, keep=read_resource, changed=changed)
        self._writes = StatusWrites()
        self._applier = ResourceApplier(cluster, database, self._writes, defaults)
        self._followed: tuple[Lease, datetime] | None = None  # when `follow` last looked, and by which lease
        self._settled: dict[int, str] = {}  # of ended sessions: the version of the resource that says all there is

    def start(self) -> None:
        self._watch.start()

    def stop_watching(self) -> None:
        self._watch.stop()

    def wait_synced(self, timeout: float) -> bool:
        return self._watch.wait_synced(timeout)

    def owner_of(self, session_id: int) -> Owner | None:
        """The resource that the session's Jobs belong to; None when it can have none, or has none any more.

        It is made now for a session that came after `follow` looked: a Job without an owner would outlive it.
        """
        owner = self._database.transact(lambda connection: read_owner(connection, session_id))
        if owner or not self._followed:
            return owner
        if self._database.transact(lambda connection: lacks_resource(connection, session_id)):
            self._applier.apply(MakeResource(session_id), *self._followed)
        return self._database.transact(lambda connection: read_owner(connection, session_id))

    def follow(self, lease: Lease) -> list[ResourceAction]:
        """Have rows and resources there for one another; returns what was done.

        To come before plan: a Job is owned by its session's resource. Raises LeaseLost, and ClusterError while the
        API server is away or was never listed.
        """
        if not self._watch.synced:
            raise NotListed(f"list {self._path}", "not listed yet")
        mirrored = self._database.transact(lambda connection: self._observe(connection, shown=False))
        self._followed = (lease, mirrored.now)
        planned = [action for action in plan_resources(mirrored) if not isinstance(action, WriteStatus)]
        return [action for action in planned if self._applier.apply(action, lease, mirrored.now)]

    def show(self, lease: Lease) -> tuple[list[ResourceAction], bool]:
        """Tell the resources what the rows say, as many as there is time for, those that matter most first.

        Returns what was done, and whether some are left. To come after plan: no Job waits for its session's status.
        Raises as `follow` does.
        """
        mirrored = self._database.transact(lambda connection: self._observe(connection, shown=True))
        planned = [action for action in plan_resources(mirrored) if isinstance(action, WriteStatus)]
        self._settle(mirrored, planned)
        until = self._clock() + SHOWING_SECONDS
        done: list[ResourceAction] = []
        for action in sorted(planned, key=lambda action: not action.urgent):
            if self._clock() >= until:
                return done, True
            if self._applier.apply(action, lease, mirrored.now):
                done.append(action)
        return done, False

    def _observe(self, connection: sa.Connection, shown: bool) -> Mirrored:
        """Resources first: one that is seen has its row, if it has one, in the rows read after."""
        resources = self._writes.over(self._watch.snapshot().values())
        sessions = read_sessions(connection, resources)
        if shown and (unsettled := self._unsettled(resources, sessions)):
            told = read_shown(connection, unsettled)
            sessions = [replace(session, shown=told.get(session.id)) for session in sessions]
        return Mirrored(
            now=connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one(),
            resources=resources,
            sessions=sessions,
            written_at=self._writes.times(),
        )

    def _unsettled(self, resources: list[Resource], sessions: list[SessionRow]) -> list[int]:
        versions: dict[str | None, str] = {resource.uid: resource.version for resource in resources}
        mirrored = [session for session in sessions if session.uid in versions]
        self._settled = {
            session.id: version
            for session in mirrored
            if session.ended and (version := self._settled.get(session.id)) == versions[session.uid]
        }
        return [session.id for session in mirrored if session.id not in self._settled]

    def _settle(self, mirrored: Mirrored, planned: Sequence[WriteStatus]) -> None:
        """Sessions that have ended and of which there is nothing left to write are not read again."""
        versions: dict[str | None, str] = {resource.uid: resource.version for resource in mirrored.resources}
        unwritten = {action.resource.uid for action in planned}
        for session in mirrored.sessions:
            if session.ended and session.shown is not None and session.uid not in unwritten:
                self._settled[session.id] = versions[session.uid]
