"""What a session would cost, before anybody begins it."""

import os
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.estimates import History, read_history, total_seconds, work_by_phase
from api.folder_counts import ImageCount, count_images, together
from api.problems import ANY_ROUTE, RETRY_SECONDS, Problem
from api.schemas import Out
from api.services import Given, Services
from api.storage import in_storage_thread
from trainyard.folders import LONGEST_PATH, real_folder, selected_folders

router = APIRouter(prefix="/api/v1/training/estimate", tags=["training sessions"], responses=ANY_ROUTE)

RootPath = Annotated[str, Query(alias="rootPath", min_length=1, max_length=LONGEST_PATH)]
Subdirectories = Annotated[list[str] | None, Query(alias="subdirectory", description="As of a session; none: all.")]


class Phase(Out):
    units: Annotated[int, Field(description="Photos to work on; faces where they are grouped.")]
    seconds: Annotated[float | None, Field(description="Null: never measured here with these networks.")]


class Phases(Out):
    training: Phase
    face_detection: Phase
    clustering: Phase


class Known(Out):
    """Photos in the folder that need not be done again, as far as their rows tell: their files are not read."""

    embedded: int
    searched: int


class Estimate(Out):
    images: ImageCount
    known: Known
    seconds: Annotated[float | None, Field(description="Null where a phase's are.")]
    phases: Phases
    sessions_measured: Annotated[int, Field(description="From which the seconds are, at most the last five.")]


@router.get("")
async def get_estimate(
    services: Given, root_path: RootPath, subdirectories: Subdirectories = None, faces: bool = True
) -> Estimate:
    """Of a session of the folder, from what this installation's last sessions took. Workers are taken to be as many."""
    try:
        return await in_storage_thread(_estimate, services, root_path, subdirectories or [], faces)
    except OSError as error:
        detail = f"{root_path} cannot be read just now ({error.strerror}). Try again in a moment."
        raise Problem(503, "StorageUnavailable", detail, headers={"Retry-After": RETRY_SECONDS}) from error


def _estimate(services: Services, root_path: str, subdirectories: list[str], faces: bool) -> Estimate:
    """Raises RootUnusable."""
    root = real_folder(root_path, services.settings.allowed_roots)
    folders = selected_folders(root, subdirectories, services.settings.allowed_roots)
    images = together(count_images([os.fsdecode(folder) for folder in folders], services.settings.exclude))
    history = services.database.transact(lambda connection: read_history(connection, folders, faces))
    return _shown(images, history, faces)


def _shown(images: ImageCount, history: History, faces: bool) -> Estimate:
    work = work_by_phase(images.count, history, faces)
    phases = {phase: Phase(units=round(each.units), seconds=each.seconds) for phase, each in work.items()}
    return Estimate(
        images=images,
        known=Known(embedded=history.embedded, searched=history.searched),
        seconds=total_seconds(work),
        phases=Phases(
            training=phases["training"], face_detection=phases["faceDetection"], clustering=phases["clustering"]
        ),
        sessions_measured=history.sessions,
    )
