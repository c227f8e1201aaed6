"""What every step's worker is given: the stores, the settings, the networks, and the sign to stop."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from jobs.engines.loading import Engines
from jobs.outcomes import ComeBackLater
from trainyard.database import Database
from trainyard.settings import DEFAULT_MIN_CONFIDENCE, DEFAULT_MIN_FACE_SIZE_PX, Settings
from trainyard.tables import training_sessions, training_subdirectories
from trainyard.vectors import Vectors


@dataclass(frozen=True)
class Context:
    database: Database
    vectors: Vectors
    settings: Settings
    engines: Engines
    stop: threading.Event
    worker: str  # who claims: host, process and thread

    def check_stop(self) -> None:
        """Raises ComeBackLater once the worker was told to stop."""
        if self.stop.is_set():
            raise ComeBackLater("told to stop")


@dataclass(frozen=True)
class Session:
    """What a worker needs to know of its session; read once."""

    id: int
    root_path: str
    category_id: int | None
    options: Mapping[str, Any]
    models: Mapping[str, Any]
    subdirectories: tuple[str, ...]  # the selected ones, relative to the root; none means the root itself

    @property
    def folders(self) -> list[str]:
        """Where the photos are: the selected subdirectories, or the root."""
        return [os.path.realpath(os.path.join(self.root_path, name)) for name in self.subdirectories or ("",)]

    @property
    def faces(self) -> bool:
        return bool(self.options.get("faces", True))

    @property
    def min_confidence(self) -> float:
        return float(self.options.get("min_confidence", DEFAULT_MIN_CONFIDENCE))

    @property
    def min_face_size_px(self) -> float:
        return float(self.options.get("min_face_size_px", DEFAULT_MIN_FACE_SIZE_PX))


def read_session(connection: sa.Connection, session_id: int) -> Session:
    s = training_sessions.c
    row = connection.execute(
        sa.select(s.id, s.root_path, s.category_id, s.options, s.models).where(s.id == session_id)
    ).one()
    selected = connection.scalars(
        sa.select(training_subdirectories.c.path).where(
            training_subdirectories.c.session_id == session_id, training_subdirectories.c.selected
        )
    ).all()
    return Session(row.id, row.root_path, row.category_id, row.options, row.models or {}, tuple(selected))
