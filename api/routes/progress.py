"""Progress of a session, its failures, and its live events."""

from typing import Annotated, Any, Literal, cast

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import Field

from api.paging import Limit, PageToken, page, read_id
from api.problems import ANY_ROUTE, documented
from api.routes.sessions import SessionId, Status, check_exists
from api.schemas import GREATEST_ASSET_ID, Out, Page, Waiting, waiting
from api.services import Given
from trainyard.progress import PhaseProgress, Progress, read_progress
from trainyard.steps import PHASE_OF_STEP

router = APIRouter(prefix="/api/v1/training/sessions/{session_id}", tags=["progress"], responses=ANY_ROUTE)

PhaseStatus = Literal["pending", "running", "processing", "paused", "completed", "failed", "cancelled", "skipped"]


class TrainingNumbers(Out):
    current: int
    total: int | None
    percentage: float
    eta_seconds: Annotated[float | None, Field(serialization_alias="eta_seconds", validation_alias="eta_seconds")]


class TrainingProgress(Out):
    """The training phase alone."""

    session_id: int
    status: PhaseStatus
    progress: TrainingNumbers


class OverallNumbers(Out):
    percentage: float
    eta_seconds: float | None


class PhaseNumbers(Out):
    percentage: float
    current: int
    total: int | None
    failed: int


class UnifiedPhase(Out):
    status: PhaseStatus
    weight: float | None
    progress: PhaseNumbers


class UnifiedPhases(Out):
    training: UnifiedPhase
    face_detection: UnifiedPhase
    clustering: UnifiedPhase


class UnifiedProgress(Out):
    """One number over all phases. Poll while overallStatus is pending, running or paused; total is null, and the
    files found so far are shown, until the photos are counted."""

    session_id: int
    overall_status: Status
    training_status: PhaseStatus
    waiting: Waiting | None
    files_found: int
    overall_progress: OverallNumbers
    phases: UnifiedPhases


class FailedImage(Out):
    asset_id: int
    path: str
    phase: Literal["training", "faceDetection"]
    code: str
    message: str


@router.get("/progress", responses=documented(404))
def get_progress(session_id: SessionId, services: Given) -> TrainingProgress:
    """Progress of the training phase."""
    progress = services.database.transact(lambda connection: read_progress(connection, session_id))
    training = progress.phases["training"]
    return TrainingProgress(
        session_id=session_id,
        status=phase_word("training", training.status),
        progress=TrainingNumbers(
            current=training.current,
            total=training.total,
            percentage=training.percentage,
            eta_seconds=progress.phase_eta_seconds if training.status == "running" else None,
        ),
    )


@router.get("/progress-unified", responses=documented(404))
def get_unified_progress(session_id: SessionId, services: Given) -> UnifiedProgress:
    """Progress of the whole session."""
    return unified(services.database.transact(lambda connection: read_progress(connection, session_id)))


def unified(progress: Progress) -> UnifiedProgress:
    phases = {name: _phase(phase) for name, phase in progress.phases.items()}
    why = progress.waiting
    return UnifiedProgress(
        session_id=progress.session_id,
        overall_status=cast(Status, progress.overall_status),
        training_status=phases["training"].status,
        waiting=waiting(why.code, why.message, why.since) if why else None,
        files_found=progress.files_found,
        overall_progress=OverallNumbers(percentage=progress.percentage, eta_seconds=progress.eta_seconds),
        phases=UnifiedPhases(
            training=phases["training"], face_detection=phases["faceDetection"], clustering=phases["clustering"]
        ),
    )


def _phase(phase: PhaseProgress) -> UnifiedPhase:
    return UnifiedPhase(
        status=phase_word(phase.name, phase.status),
        weight=phase.weight,
        progress=PhaseNumbers(
            percentage=phase.percentage, current=phase.current, total=phase.total, failed=phase.failed
        ),
    )


def phase_word(phase: str, status: str) -> Any:
    """Face detection is `processing` where the others are `running`."""
    return "processing" if phase == "faceDetection" and status == "running" else status


FAILURES = sa.text("""
    SELECT DISTINCT ON (j.asset_id) j.asset_id, a.path_text, j.step, j.error_code, j.error_message
    FROM training_jobs j JOIN image_assets a ON a.id = j.asset_id
    WHERE j.session_id = :session_id AND j.status = 'failed' AND j.asset_id > :after
    ORDER BY j.asset_id, j.step DESC
    LIMIT :limit
""")


@router.get("/failures", responses=documented(404))
def list_failures(
    session_id: SessionId, services: Given, limit: Limit = 100, token: PageToken = None
) -> Page[FailedImage]:
    """The photos that could not be done, and why; each once, whatever phases it failed in."""
    after = read_id(token, GREATEST_ASSET_ID)

    def work(connection: sa.Connection) -> list[FailedImage]:
        check_exists(connection, session_id)
        rows = connection.execute(FAILURES, {"session_id": session_id, "after": after or 0, "limit": limit + 1})
        return [_failed_image(row) for row in rows]

    return Page[FailedImage](**page(services.database.transact(work), limit, lambda last: last.asset_id))


def _failed_image(row: sa.Row[Any]) -> FailedImage:
    return FailedImage(
        asset_id=row.asset_id,
        path=row.path_text,
        phase=cast(Any, PHASE_OF_STEP[row.step]),
        code=row.error_code,
        message=row.error_message,
    )
