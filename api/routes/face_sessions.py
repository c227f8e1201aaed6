"""Face detection sessions: every session's face phase, and sessions that only look for faces."""

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Response
from pydantic import Field

from api.paging import Limit, PageToken, page, read_token
from api.problems import ANY_ROUTE, Problem, documented
from api.routes.progress import PhaseStatus, phase_word
from api.routes.sessions import (
    FaceDetectionRequest,
    IdempotencyKey,
    SessionId,
    Verb,
    VerbAnswer,
    ask,
    options_of,
)
from api.schemas import GREATEST_ID, In, Out, Page
from api.services import Given, Services
from trainyard import sessions
from trainyard.lifecycle import NoSuchSession
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
    training_session_id: Annotated[
        int | None,
        Field(ge=1, le=GREATEST_ID, description="Its photos; none: all without a scan."),
    ] = None
    min_confidence: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)] = None
    min_face_size: Annotated[float | None, Field(ge=1, le=100_000, description="Shorter side of the box, px.")] = None


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
    thresholds = FaceDetectionRequest(min_confidence=wanted.min_confidence, min_face_size=wanted.min_face_size)
    options = {**options_of(services, thresholds), "training": False}

    def work(connection: sa.Connection) -> FaceSession:
        root = _root(connection, wanted.training_session_id)
        new = sessions.NewSession(
            root_path=root,
            options=options,
            source_session_id=wanted.training_session_id,
            idempotency_key=idempotency_key,
        )
        session_id, _ = sessions.create(connection, new)
        return _read(connection, session_id)

    made = services.database.transact(work)
    response.headers["Location"] = f"/api/v1/face-sessions/{made.id}"
    return made


def _root(connection: sa.Connection, session_id: int | None) -> str:
    """The root of the session whose photos are meant. Raises Problem."""
    if session_id is None:
        return sessions.ALL_PHOTOS
    s = training_sessions.c
    root = connection.execute(sa.select(s.root_path).where(s.id == session_id, s.deleted_at.is_(None))).scalar()
    if root is None:
        raise Problem(422, "NoSuchSession", f"There is no session {session_id}.", "trainingSessionId")
    return str(root)


@router.get("")
def list_face_sessions(services: Given, limit: Limit = 50, token: PageToken = None) -> Page[FaceSession]:
    """The newest first."""
    before = read_token(token, int)
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
