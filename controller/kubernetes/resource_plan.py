"""What has to be done so that resources and rows say the same, from both as they are now. Pure.

A resource makes a row, once; a row that came by the API makes a resource, once. Of a resource's fields only status
is written, and a row is told of spec.suspend and of the resource's end, nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_status import build_status, differs_at_once, status_of_lost
from controller.kubernetes.resource_views import SessionRow
from trainyard.lifecycle import ENDED

STATUS_SECONDS = 10.0  # between two writes of a status in which only numbers have changed


@dataclass(frozen=True)
class MakeSession:
    """Somebody applied it."""

    resource: Resource


@dataclass(frozen=True)
class MakeResource:
    """A session came by the API."""

    session_id: int


@dataclass(frozen=True)
class Adopt:
    """The resource was made for this session, by a controller that died before it wrote that down."""

    session_id: int
    name: str
    uid: str


@dataclass(frozen=True)
class SetSuspended:
    session_id: int
    suspended: bool


@dataclass(frozen=True)
class EndWithResource:
    """The resource seems to be gone: see whether it is, and cancel what is under way."""

    session_id: int
    name: str
    uid: str


@dataclass(frozen=True)
class DeleteResource:
    """Its session was deleted through the API."""

    session_id: int
    name: str
    uid: str


@dataclass(frozen=True)
class WriteStatus:
    """`urgent` when more than numbers has changed."""

    resource: Resource
    status: Mapping[str, Any]
    urgent: bool = True


ResourceAction = MakeSession | MakeResource | Adopt | SetSuspended | EndWithResource | DeleteResource | WriteStatus


@dataclass(frozen=True)
class Mirrored:
    """Resources and rows at one moment; `written_at` is when the status of a uid was last written, if it was."""

    now: datetime
    resources: Sequence[Resource]
    sessions: Sequence[SessionRow]
    written_at: Mapping[str, datetime]


def plan_resources(mirrored: Mirrored) -> list[ResourceAction]:
    return [*_from_resources(mirrored), *_from_sessions(mirrored)]


def _from_resources(mirrored: Mirrored) -> Iterator[ResourceAction]:
    """What resources ask for that no row has, deleted ones included."""
    known = {session.uid for session in mirrored.sessions}
    unmade = {session.maker for session in mirrored.sessions if session.uid is None}
    for resource in mirrored.resources:
        if resource.uid in known or resource.made_for in unmade or resource.terminating:
            continue
        if resource.status.get("overallStatus") in ENDED:  # of a database that has forgotten it: never brought back
            continue
        if resource.made_for and "sessionId" in resource.status:
            yield WriteStatus(resource, status_of_lost(resource, mirrored.now))
        else:
            yield MakeSession(resource)


def _from_sessions(mirrored: Mirrored) -> Iterator[ResourceAction]:
    standing: dict[str | None, Resource] = {
        resource.uid: resource for resource in mirrored.resources if not resource.terminating
    }
    made = {resource.made_for: resource for resource in mirrored.resources if resource.made_for}
    for session in mirrored.sessions:
        if session.gone:  # or so its row says: nothing is done any more, but no resource that stands is left with a lie
            yield from _tell(session, standing.get(session.uid), mirrored)
        elif session.uid is None or session.name is None:
            yield from _introduce(session, made.get(session.maker))
        elif session.uid not in standing:
            yield EndWithResource(session.id, session.name, session.uid)
        elif session.deleted:
            yield DeleteResource(session.id, session.name, session.uid)
        else:
            yield from _follow(session, standing[session.uid], mirrored)


def _introduce(session: SessionRow, made: Resource | None) -> Iterator[ResourceAction]:
    if made is not None:
        yield Adopt(session.id, made.name, made.uid)
    elif not session.deleted:
        yield MakeResource(session.id)


def _follow(session: SessionRow, resource: Resource, mirrored: Mirrored) -> Iterator[ResourceAction]:
    if session.suspended != resource.suspended:
        yield SetSuspended(session.id, resource.suspended)
    yield from _tell(session, resource, mirrored)


def _tell(session: SessionRow, resource: Resource | None, mirrored: Mirrored) -> Iterator[ResourceAction]:
    if resource is None or session.shown is None:
        return
    status = build_status(session.shown, resource, mirrored.now)
    at_once = session.ended or differs_at_once(status, resource.status)
    if status != resource.status and (at_once or _is_due(resource.uid, mirrored)):
        yield WriteStatus(resource, status, at_once)


def _is_due(uid: str, mirrored: Mirrored) -> bool:
    written_at = mirrored.written_at.get(uid)
    return written_at is None or (mirrored.now - written_at).total_seconds() >= STATUS_SECONDS
