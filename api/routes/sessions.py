"""Training sessions: make, list, look, delete, and the four verbs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import Field

from api.paging import Limit, PageToken, page, read_token
from api.problems import ANY_ROUTE, Problem, documented
from api.schemas import GREATEST_ID, Failure, In, Name, Out, Page, Text, Waiting, failure, waiting
from api.services import Given, Services
from trainyard import sessions
from trainyard.folders import real_folder, selected_folders
from trainyard.lifecycle import Answer, NoSuchSession, request
from trainyard.progress import Progress, read_many
from trainyard.settings import DEFAULT_MIN_CONFIDENCE, DEFAULT_MIN_FACE_SIZE_PX
from trainyard.tables import categories, training_sessions, training_subdirectories

router = APIRouter(prefix="/api/v1/training/sessions", tags=["training sessions"], responses=ANY_ROUTE)

SessionId = Annotated[int, Path(ge=1, le=GREATEST_ID)]
Verb = Literal["pause", "resume", "cancel", "retry"]
Status = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Sent again with the same request, it gives the session that was made the first time.",
    ),
]


class FaceDetectionRequest(In):
    enabled: bool = True
    min_confidence: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)] = None
    min_face_size: Annotated[float | None, Field(ge=1, le=100_000, description="Shorter side of the box, px.")] = None


class SessionRequest(In):
    root_path: Annotated[Text, Field(min_length=1, examples=["/photos/2025"])]
    subdirectories: Annotated[
        tuple[Text, ...], Field(description="Folders inside the root, relative to it; none: all of it.")
    ] = ()
    category: Name | None = None
    face_detection: FaceDetectionRequest = FaceDetectionRequest()


class FaceDetectionOptions(Out):
    enabled: bool
    engine: Annotated[str | None, Field(description="insightface or dlib; null until one is chosen for the session.")]
    min_confidence: float
    min_face_size: float


class ImageCounts(Out):
    total: int
    processed: int
    failed: int
    unchanged: int
    skipped: int


class Session(Out):
    id: int
    root_path: str
    category: str | None
    face_detection: FaceDetectionOptions
    source_session_id: int | None
    requested: Literal["run", "pause", "cancel"]
    overall_status: Status
    training_status: str
    percentage: float
    eta_seconds: float | None
    waiting: Waiting | None
    failure: Failure | None
    images: ImageCounts
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class VerbAnswer(Out):
    """What became of a request; `code` is Accepted, or says why there was nothing to do."""

    code: str
    message: str
    session: Session


class Subdirectory(Out):
    path: str
    selected: bool
    image_count: int


READ = sa.select(training_sessions, categories.c.name.label("category")).outerjoin(
    categories, categories.c.id == training_sessions.c.category_id
)


@router.post("", status_code=201, responses=documented(409))
def create_session(
    wanted: SessionRequest, services: Given, response: Response, idempotency_key: IdempotencyKey = None
) -> Session:
    """Begin a session: find the photos of a folder, embed them, find faces, group people."""
    root = real_folder(wanted.root_path, services.settings.allowed_roots)
    selected_folders(root, wanted.subdirectories)
    new = sessions.NewSession(
        root_path=root,
        subdirectories=wanted.subdirectories,
        category=wanted.category,
        options=options_of(services, wanted.face_detection),
        idempotency_key=idempotency_key,
    )

    def work(connection: sa.Connection) -> Session:
        session_id, _ = sessions.create(connection, new)
        return read_session(connection, session_id)

    session = services.database.transact(work)
    response.headers["Location"] = f"/api/v1/training/sessions/{session.id}"
    return session


def options_of(services: Services, faces: FaceDetectionRequest) -> dict[str, Any]:
    """The session's options as its row has them; what was not named is left to the defaults of the day."""
    options: dict[str, Any] = {"faces": faces.enabled, "untrained": services.settings.untrained}
    if faces.enabled:
        options["face_engine"] = services.settings.face_engine
        thresholds = {"min_confidence": faces.min_confidence, "min_face_size_px": faces.min_face_size}
        options |= {name: value for name, value in thresholds.items() if value is not None}
    return options


@router.get("")
def list_sessions(
    services: Given, status: Annotated[Status | None, Query()] = None, limit: Limit = 50, token: PageToken = None
) -> Page[Session]:
    """The newest first."""
    before = read_token(token, int)
    s = training_sessions.c
    query = READ.where(s.deleted_at.is_(None)).order_by(s.id.desc()).limit(limit + 1)
    if status is not None:
        query = query.where(s.status == status)
    if before is not None:
        query = query.where(s.id < before)

    def work(connection: sa.Connection) -> list[Session]:
        rows = connection.execute(query).all()
        progress = read_many(connection, [row.id for row in rows])
        return [_session(row, progress[row.id]) for row in rows]

    return Page[Session](**page(services.database.transact(work), limit, lambda last: last.id))


@router.get("/{session_id}", responses=documented(404))
def get_session(session_id: SessionId, services: Given) -> Session:
    return services.database.transact(lambda connection: read_session(connection, session_id))


@router.delete("/{session_id}", status_code=204, responses=documented(404, 409))
def delete_session(session_id: SessionId, services: Given) -> None:
    """Hide a session that has ended. What it found and made stays."""
    answer = services.database.transact(lambda connection: sessions.delete(connection, session_id))
    if answer.status == 409:
        raise Problem(409, answer.code, answer.message)


@router.post("/{session_id}/{verb}", status_code=202, responses={200: {"model": VerbAnswer}, **documented(404, 409)})
def ask_session(session_id: SessionId, verb: Verb, services: Given, response: Response) -> VerbAnswer:
    """Pause at the next batch, resume, cancel for good, or retry what failed. 200: there was nothing to do."""
    return ask(services, session_id, verb, response)


def ask(services: Services, session_id: int, verb: str, response: Response) -> VerbAnswer:
    def work(connection: sa.Connection) -> tuple[Answer, Session]:
        answer = request(connection, session_id, verb)
        return answer, read_session(connection, session_id)

    answer, session = services.database.transact(work)
    if answer.status == 409:
        raise Problem(409, answer.code, answer.message)
    response.status_code = answer.status
    return VerbAnswer(code=answer.code, message=answer.message, session=session)


@router.get("/{session_id}/subdirectories", responses=documented(404))
def list_subdirectories(
    session_id: SessionId, services: Given, limit: Limit = 100, token: PageToken = None
) -> Page[Subdirectory]:
    """The folders the session was asked for, by name."""
    after = read_token(token, str)
    c = training_subdirectories.c
    query = sa.select(c.path, c.selected, c.image_count).where(c.session_id == session_id)
    query = query.order_by(c.path.collate("C")).limit(limit + 1)
    if after is not None:
        query = query.where(c.path.collate("C") > after)

    def work(connection: sa.Connection) -> list[Subdirectory]:
        check_exists(connection, session_id)
        return [Subdirectory(**row._mapping) for row in connection.execute(query)]

    return Page[Subdirectory](**page(services.database.transact(work), limit, lambda last: last.path))


def check_exists(connection: sa.Connection, session_id: int) -> None:
    """Raises NoSuchSession."""
    s = training_sessions.c
    there = sa.select(sa.exists().where(s.id == session_id, s.deleted_at.is_(None)))
    if not connection.execute(there).scalar_one():
        raise NoSuchSession(f"There is no session {session_id}.")


def read_session(connection: sa.Connection, session_id: int) -> Session:
    """Raises NoSuchSession."""
    s = training_sessions.c
    row = connection.execute(READ.where(s.id == session_id, s.deleted_at.is_(None))).one_or_none()
    if row is None:
        raise NoSuchSession(f"There is no session {session_id}.")
    return _session(row, read_many(connection, [session_id])[session_id])


def _session(row: sa.Row[Any], progress: Progress) -> Session:
    return Session(
        id=row.id,
        root_path=row.root_path,
        category=row.category,
        face_detection=_face_detection(row.options, row.models),
        source_session_id=row.source_session_id,
        requested=row.requested,
        overall_status=row.status,
        training_status=progress.phases["training"].status,
        percentage=progress.percentage,
        eta_seconds=progress.eta_seconds,
        waiting=waiting(row.waiting_code, row.waiting_message, row.waiting_since),
        failure=failure(row.failure_code, row.failure_message),
        images=_images(row, progress),
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
    )


def _face_detection(options: Mapping[str, Any], models: Mapping[str, Any] | None) -> FaceDetectionOptions:
    chosen = (models or {}).get("face")
    return FaceDetectionOptions(
        enabled=bool(options.get("faces", True)),
        engine=chosen["engine"] if chosen else None,
        min_confidence=options.get("min_confidence", DEFAULT_MIN_CONFIDENCE),
        min_face_size=options.get("min_face_size_px", DEFAULT_MIN_FACE_SIZE_PX),
    )


def _images(row: sa.Row[Any], progress: Progress) -> ImageCounts:
    """The stored counters, which follow at the end of an attempt, and what its shards have done beyond them."""
    training, faces = progress.phases["training"], progress.phases["faceDetection"]
    counted = faces if training.status == "skipped" else training
    live = progress.active
    return ImageCounts(
        total=row.total or (progress.files_found if live else 0),
        processed=max(row.processed, counted.current) if live else row.processed,
        failed=max(row.failed, training.failed) if live else row.failed,
        unchanged=row.unchanged,
        skipped=row.skipped,
    )
