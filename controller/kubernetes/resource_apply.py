"""Carry one planned action on resources and rows out: row writes are fenced by the lease, others by preconditions."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from controller import lease as leases
from controller.kubernetes import resource_plan as plan
from controller.kubernetes import resource_rows as rows
from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import Conflict, Forbidden, InternalError, NotFound, Refused
from controller.kubernetes.paths import sessions_path
from controller.kubernetes.resource import Resource, read_resource
from controller.kubernetes.resource_event_recorder import EventRecorder
from controller.kubernetes.resource_spec import Requested, resource_manifest, resource_name
from controller.kubernetes.resource_writes import StatusWrites
from controller.lease import Lease
from trainyard.database import Database, connection_lost, first_line

log = logging.getLogger(__name__)

# What becomes of one resource and says nothing of the others; the next pass sees how it is by then.
OF_ONE_RESOURCE = (NotFound, Conflict, Refused, Forbidden, InternalError)
MOST_NAMES = 10  # tried before a session stays without a resource for a while
AGAIN_AFTER = timedelta(seconds=60)  # a resource that was refused


class ResourceApplier:
    """Carries actions out on one database and one namespace."""

    def __init__(self, cluster: Cluster, database: Database, writes: StatusWrites, defaults: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._database = database
        self._writes = writes
        self._events = EventRecorder(cluster)
        self._defaults = defaults
        self._refused_at: dict[int, datetime] = {}  # by the session that has no resource for that
        self._complained: set[str] = set()  # of these kinds of action, since one was last done

    def apply(self, action: plan.ResourceAction, lease: Lease, now: datetime) -> bool:
        """Whether anything was done; what concerns one resource alone is logged.

        Raises LeaseLost, and ClusterError when the API server is away.
        """
        kind = type(action).__name__
        try:
            done = self._apply(action, lease, now)
        except OF_ONE_RESOURCE as error:
            log.log(logging.DEBUG if kind in self._complained else logging.WARNING, "%s: %s", kind, error.message)
            self._complained.add(kind)
            return False
        except sa.exc.DBAPIError as error:  # of one row: a lock that another holds, a value that none can have
            if isinstance(error, sa.exc.OperationalError) and connection_lost(error):
                raise
            log.error("%s failed and is tried again: %s", kind, first_line(error))
            return False
        self._complained.discard(kind)
        return done

    def _apply(self, action: plan.ResourceAction, lease: Lease, now: datetime) -> bool:
        match action:
            case plan.MakeSession(resource):
                self._write(lease, lambda connection: rows.make_session(connection, resource, self._defaults))
            case plan.MakeResource(session_id):
                return self._make_resource(session_id, lease, now)
            case plan.Adopt(session_id, name, uid):
                self._write(lease, lambda connection: rows.remember_resource(connection, session_id, name, uid))
            case plan.SetSuspended(session_id, suspended):
                self._write(lease, lambda connection: rows.set_suspended(connection, session_id, suspended))
            case plan.EndWithResource(session_id, name, uid):
                return self._end(session_id, name, uid, lease)
            case plan.DeleteResource(session_id, name, uid):
                self._delete(session_id, name, uid, lease)
            case plan.WriteStatus(resource, status):
                self._events.record(resource, status, lease.holder, now)
                self._write_status(resource, status, now)
        return True

    def _write(self, lease: Lease, work: Callable[[sa.Connection], None]) -> None:
        def fenced(connection: sa.Connection) -> None:
            leases.hold(connection, lease)
            work(connection)

        self._database.transact(fenced)

    def _make_resource(self, session_id: int, lease: Lease, now: datetime) -> bool:
        refused_at = self._refused_at.get(session_id)
        if refused_at is not None and now - refused_at < AGAIN_AFTER:
            return False
        try:
            made = self._create(self._database.transact(lambda connection: rows.read_requested(connection, session_id)))
        except OF_ONE_RESOURCE:
            self._refused_at[session_id] = now
            raise
        self._refused_at.pop(session_id, None)
        self._write(lease, lambda connection: rows.remember_resource(connection, session_id, made.name, made.uid))
        return True

    def _create(self, row: Requested) -> Resource:
        """Under the first name that nobody else has taken; a resource made for this very row before is taken up."""
        namespace = self._cluster.namespace
        for number in range(MOST_NAMES):
            try:
                manifest = resource_manifest(row, namespace, number)
                return read_resource(self._cluster.create(sessions_path(namespace), manifest))
            except Conflict as error:
                taken = error
                name = resource_name(row.maker[0], number)
                there = read_resource(self._cluster.get(sessions_path(namespace, name)))
                if there.made_for == row.maker:
                    return there
        raise taken

    def _end(self, session_id: int, name: str, uid: str, lease: Lease) -> bool:
        """Only a list just read says that a resource is gone; a watch may be late, and a lost one means nothing."""
        path = sessions_path(self._cluster.namespace)
        there = self._cluster.list(path, fields=f"metadata.name={name}", keep=read_resource).items
        if any(resource.uid == uid and not resource.terminating for resource in there):
            return False
        self._write(lease, lambda connection: rows.end_with_resource(connection, session_id))
        log.warning("session %d: its resource %s is gone; what is under way is cancelled", session_id, name)
        return True

    def _delete(self, session_id: int, name: str, uid: str, lease: Lease) -> None:
        try:
            self._cluster.delete(sessions_path(self._cluster.namespace, name), uid=uid, propagation="Background")
        except Conflict:  # another one of its name: the session's own is gone
            log.info("the resource %s of session %d is another by now", name, session_id)
        self._write(lease, lambda connection: rows.end_with_resource(connection, session_id))

    def _write_status(self, resource: Resource, status: Mapping[str, Any], now: datetime) -> None:
        path = sessions_path(self._cluster.namespace, resource.name, status=True)
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": resource.uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        try:
            after = read_resource(self._cluster.patch(path, patch, kind="json"))
        except (Refused, Forbidden, InternalError):
            self._writes.add(resource, replace(resource, status=status), now)  # so that it is not sent again as it is
            raise
        # As it was sent: an older schema may leave something of it out, which would be sent again and again.
        self._writes.add(resource, replace(after, status=status), now)
