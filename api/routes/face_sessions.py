"""Face detection sessions: every session's face phase, and sessions that only look for faces."""

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self

import sqlalchemy as sa
from fastapi import APIRouter, Response
from pydantic import Field, model_validator

from api.paging import Limit, PageToken, page, read_id
from api.problems import ANY_ROUTE, Problem, documented
from api.routes.progress import PhaseStatus, phase_word
from api.routes.sessions import (
    FaceDetectionRequest,
    IdempotencyKey,
    SessionId,
    Verb,
    VerbAnswer,
    ask,
    made_before,
    options_of,
    request_sha256,
)
from api.schemas import GREATEST_ID, In, Out, Page
from api.services import Given, Services
from trainyard import sessions
from trainyard.folders import is_allowed
from trainyard.lifecycle import NoSuchSession
from trainyard.reassignment import assign_options
from trainyard.tables import training_sessions

router = APIRouter(prefix="/api/v1/face-sessions", tags=["face sessions"], responses=ANY_ROUTE)

# A view: one row a session that looks for faces.
VIEW = sa.table(
    "face_detection_sessions",
    *map(
        sa.column,
        (
            "id", "training_session_id", "status", "min_confidence", "min_face_size", "total_images",
            "processed_images", "current_asset_index", "faces_detected", "faces_assigned_to_persons",
            "suggestions_created", "clusters_created", "created_at", "started_at", "completed_at",
        ),
    ),
)  # fmt: skip


class FaceSessionRequest(In):
    assign_only: Annotated[
        bool, Field(description="Look for no faces, but give those that are unknown to the persons there are by now.")
    ] = False
    training_session_id: Annotated[
        int | None,
        Field(ge=1, le=GREATEST_ID, description="Its photos; none: all without a scan."),
    ] = None
    min_confidence: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)] = None
    min_face_size: Annotated[float | None, Field(ge=1, le=100_000, description="Shorter side of the box, px.")] = None

    @model_validator(mode="after")
    def _check_alone(self) -> Self:
        others = (self.training_session_id, self.min_confidence, self.min_face_size)
        if self.assign_only and any(value is not None for value in others):
            raise ValueError("assignOnly is about all unknown faces, and looks for none: leave the other fields out")
        return self


class FaceSession(Out):
    id: int
    training_session_id: int | None
    status: PhaseStatus
    min_confidence: float
    min_face_size: float
    total_images: int
    processed_images: int
    current_asset_index: int
    faces_detected: int
    faces_assigned_to_persons: int
    suggestions_created: int
    clusters_created: int
    faces_assigned: Annotated[int, Field(description="facesAssignedToPersons + clustersCreated")]
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


@router.post("", status_code=201, responses=documented(409))
def create_face_session(
    wanted: FaceSessionRequest, services: Given, response: Response, idempotency_key: IdempotencyKey = None
) -> FaceSession:
    """Look for faces in photos that are embedded already."""
    options = _options(services, wanted)
    sha256 = request_sha256(wanted)

    def work(connection: sa.Connection) -> FaceSession:
        source_id, root = _scope(connection, services, wanted.training_session_id)
        new = sessions.NewSession(
            root_path=root,
            options=options,
            source_session_id=source_id,
            idempotency_key=idempotency_key,
            idempotency_sha256=sha256,
        )
        session_id, _ = sessions.create(connection, new)
        return _read(connection, session_id)

    made = made_before(services, idempotency_key, sha256, _read) or services.database.transact(work)
    response.headers["Location"] = f"/api/v1/face-sessions/{made.id}"
    return made


def _options(services: Services, wanted: FaceSessionRequest) -> dict[str, Any]:
    if wanted.assign_only:
        return assign_options(untrained=services.settings.untrained, face_engine=services.settings.face_engine)
    thresholds = FaceDetectionRequest(min_confidence=wanted.min_confidence, min_face_size=wanted.min_face_size)
    return {**options_of(services, thresholds), "training": False}


def _scope(connection: sa.Connection, services: Services, session_id: int | None) -> tuple[int | None, str]:
    """The session that found the photos that are meant (None: all photos) and its root. Raises Problem."""
    if session_id is None:
        return None, sessions.ALL_PHOTOS
    s = training_sessions.c
    query = sa.select(s.root_path, s.source_session_id, s.options).where(s.id == session_id, s.deleted_at.is_(None))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise Problem(422, "NoSuchSession", f"There is no session {session_id}.", "trainingSessionId")
    source_id = session_id if row.options.get("training", True) else row.source_session_id
    if source_id is not None:
        _check_root(row.root_path, services.settings.allowed_roots)
    return source_id, row.root_path


def _check_root(root: str, allowed: Sequence[str]) -> None:
    """Raises Problem for a root outside the folders that may be read; it need not be there."""
    if not is_allowed(os.path.realpath(root), allowed):
        told = f"{root} is not inside the folders that may be read: {', '.join(allowed)}."
        raise Problem(422, "OutsideImageRoots", told, "trainingSessionId")


@router.get("")
def list_face_sessions(services: Given, limit: Limit = 50, token: PageToken = None) -> Page[FaceSession]:
    """The newest first."""
    before = read_id(token)
    query = sa.select(VIEW).order_by(VIEW.c.id.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(VIEW.c.id < before)
    rows = services.database.transact(lambda connection: connection.execute(query).all())
    return Page[FaceSession](**page([_face_session(row) for row in rows], limit, lambda last: last.id))


@router.get("/{session_id}", responses=documented(404))
def get_face_session(session_id: SessionId, services: Given) -> FaceSession:
    return services.database.transact(lambda connection: _read(connection, session_id))


@router.post("/{session_id}/{verb}", status_code=202, responses={200: {"model": VerbAnswer}, **documented(404, 409)})
def ask_face_session(session_id: SessionId, verb: Verb, services: Given, response: Response) -> VerbAnswer:
    """Of the whole session it belongs to: pause at the next batch, resume, cancel for good, or retry what failed."""
    _check_exists(services, session_id)
    return ask(services, session_id, verb, response)


def _check_exists(services: Services, session_id: int) -> None:
    services.database.transact(lambda connection: _read(connection, session_id))


def _read(connection: sa.Connection, session_id: int) -> FaceSession:
    """Raises NoSuchSession."""
    row = connection.execute(sa.select(VIEW).where(VIEW.c.id == session_id)).one_or_none()
    if row is None:
        raise NoSuchSession(f"There is no face detection session {session_id}.")
    return _face_session(row)


def _face_session(row: sa.Row[Any]) -> FaceSession:
    seen = {**row._mapping, "status": phase_word("faceDetection", row.status)}
    return FaceSession(**seen, faces_assigned=row.faces_assigned_to_persons + row.clusters_created)
