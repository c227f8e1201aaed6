"""Training sessions: make, list, look, delete, and the four verbs."""

import hashlib
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import sqlalchemy as sa
from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import AfterValidator, Field

from api.paging import Limit, PageToken, page, read_id, read_text
from api.problems import ANY_ROUTE, Problem, documented
from api.schemas import GREATEST_ID, Failure, In, Name, Out, Page, Text, Waiting, failure, waiting
from api.services import Given, Services
from api.storage import in_storage_thread
from trainyard import sessions
from trainyard.folders import real_folder, selected_folders
from trainyard.lifecycle import Answer, NoSuchSession, request
from trainyard.progress import Progress, read_many
from trainyard.settings import DEFAULT_MIN_CONFIDENCE, DEFAULT_MIN_FACE_SIZE_PX
from trainyard.summary import notes
from trainyard.tables import training_sessions, training_subdirectories

T = TypeVar("T")

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


def _plain(path: str) -> str:
    """'2025' of '2025/' and './2025': each folder once. What goes back by '..' is left to be refused."""
    return path if ".." in path.split("/") else os.path.normpath(path)


Subfolder = Annotated[Text, Field(min_length=1), AfterValidator(_plain)]


class FaceDetectionRequest(In):
    enabled: bool = True
    min_confidence: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)] = None
    min_face_size: Annotated[float | None, Field(ge=1, le=100_000, description="Shorter side of the box, px.")] = None


class SessionRequest(In):
    root_path: Annotated[Text, Field(min_length=1, examples=["/photos/2025"])]
    subdirectories: Annotated[
        tuple[Subfolder, ...], Field(description="Folders inside the root, relative to it; none: all of it.")
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
    subdirectories: Annotated[list[str], Field(description="The first three by name; …/subdirectories has all.")]
    subdirectory_count: int
    category: str | None
    face_detection: FaceDetectionOptions
    source_session_id: int | None
    assign_only: Annotated[bool, Field(description="It only gives unknown faces to the people there are now.")]
    requested: Literal["run", "pause", "cancel"]
    overall_status: Status
    training_status: str
    percentage: float
    eta_seconds: float | None
    waiting: Waiting | None
    failure: Failure | None
    images: ImageCounts
    notes: Annotated[list[str], Field(description="What discovery has to say, in sentences.")]
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


MOST_NAMES = 3  # of the subdirectories, in a session

READ = f"""
    SELECT s.*, c.name AS category, folders.count AS subdirectory_count,
           folders.names[1:{MOST_NAMES}] AS subdirectories, discover.counts AS found,
           coalesce((embed.counts ->> 'unchanged')::bigint, 0) + (
               SELECT coalesce(sum((h.counts ->> 'unchanged')::bigint), 0)::bigint FROM shards h
               WHERE embed.status = 'running' AND h.session_id = s.id AND h.step = 'embed'
                   AND h.attempt = embed.attempt
           ) AS found_unchanged
    FROM training_sessions s
    LEFT JOIN categories c ON c.id = s.category_id
    LEFT JOIN steps discover ON discover.session_id = s.id AND discover.step = 'discover'
    LEFT JOIN steps embed ON embed.session_id = s.id AND embed.step = 'embed'
    CROSS JOIN LATERAL (
        SELECT count(*) AS count, array_agg(path ORDER BY path COLLATE "C") AS names
        FROM training_subdirectories d WHERE d.session_id = s.id AND d.selected
    ) folders
    WHERE s.deleted_at IS NULL
"""

READ_ONE = sa.text(f"{READ} AND s.id = :id")

READ_PAGE = sa.text(f"""
    {READ} AND (s.id < :before OR :before IS NULL) AND (s.status = :status OR :status IS NULL)
    ORDER BY s.id DESC LIMIT :limit
""").bindparams(sa.bindparam("before", type_=sa.Integer), sa.bindparam("status", type_=sa.Text))


@router.post("", status_code=201, responses=documented(409))
async def create_session(
    wanted: SessionRequest, services: Given, response: Response, idempotency_key: IdempotencyKey = None
) -> Session:
    """Begin a session: find the photos of a folder, embed them, find faces, group people."""
    session = await in_storage_thread(_create, services, wanted, idempotency_key)
    response.headers["Location"] = f"/api/v1/training/sessions/{session.id}"
    return session


def _create(services: Services, wanted: SessionRequest, idempotency_key: str | None) -> Session:
    sha256 = request_sha256(wanted)
    before = made_before(services, idempotency_key, sha256, read_session)
    if before is not None:
        return before
    root = real_folder(wanted.root_path, services.settings.allowed_roots)
    selected_folders(root, wanted.subdirectories)
    new = sessions.NewSession(
        root_path=root,
        subdirectories=wanted.subdirectories,
        category=wanted.category,
        options=options_of(services, wanted.face_detection),
        idempotency_key=idempotency_key,
        idempotency_sha256=sha256,
    )

    def work(connection: sa.Connection) -> Session:
        session_id, _ = sessions.create(connection, new)
        return read_session(connection, session_id)

    return services.database.transact(work)


def request_sha256(wanted: In) -> bytes:
    """What tells one request from another, however each spells its fields."""
    kind = type(wanted).__name__
    return hashlib.sha256(f"{kind} {wanted.model_dump_json(exclude_unset=True)}".encode()).digest()


def made_before(
    services: Services, key: str | None, sha256: bytes, read: Callable[[sa.Connection, int], T]
) -> T | None:
    """The session that this very request made the first time it was sent, as `read` reads it."""

    def work(connection: sa.Connection) -> T | None:
        known = sessions.made_before(connection, key, sha256)
        return read(connection, known) if known is not None else None

    return services.database.transact(work) if key is not None else None


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
    before = read_id(token)
    asked = {"before": before, "status": status, "limit": limit + 1}

    def work(connection: sa.Connection) -> list[Session]:
        rows = connection.execute(READ_PAGE, asked).all()
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
    after = read_text(token)
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
    row = connection.execute(READ_ONE, {"id": session_id}).one_or_none()
    if row is None:
        raise NoSuchSession(f"There is no session {session_id}.")
    return _session(row, read_many(connection, [session_id])[session_id])


def _session(row: sa.Row[Any], progress: Progress) -> Session:
    return Session(
        id=row.id,
        root_path=row.root_path,
        subdirectories=row.subdirectories or [],
        subdirectory_count=row.subdirectory_count,
        category=row.category,
        face_detection=_face_detection(row.options, row.models),
        source_session_id=row.source_session_id,
        assign_only=bool(row.options.get("assign", False)),
        requested=row.requested,
        overall_status=row.status,
        training_status=progress.phases["training"].status,
        percentage=progress.percentage,
        eta_seconds=progress.eta_seconds,
        waiting=waiting(row.waiting_code, row.waiting_message, row.waiting_since),
        failure=failure(row.failure_code, row.failure_message),
        images=_images(row, progress),
        notes=notes(row.found or {}),
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
    done = faces.current if training.status == "skipped" else training.current - row.found_unchanged
    live = progress.active
    return ImageCounts(
        total=row.total or (progress.files_found if live else 0),
        processed=max(row.processed, done) if live else row.processed,
        failed=max(row.failed, training.failed) if live else row.failed,
        unchanged=row.unchanged + row.found_unchanged,
        skipped=row.skipped,
    )
