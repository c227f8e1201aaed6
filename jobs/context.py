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
from trainyard.folders import lies_in
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
    source_session_id: int | None  # of a standalone face session: whose photos it looks at; None means all
    options: Mapping[str, Any]
    models: Mapping[str, Any]
    subdirectories: tuple[str, ...]  # the selected ones, relative to the root; none means the root itself
    folders: tuple[str, ...]  # where its photos are, real and absolute; of all photos: where any session's are

    @property
    def training(self) -> bool:
        """False for a standalone face session, which only finds faces in photos that are known."""
        return bool(self.options.get("training", True))

    @property
    def assign(self) -> bool:
        """True for one that only looks whose the unknown faces are."""
        return bool(self.options.get("assign", False))

    @property
    def faces(self) -> bool:
        return bool(self.options.get("faces", True))

    @property
    def min_confidence(self) -> float:
        return float(self.options.get("min_confidence", DEFAULT_MIN_CONFIDENCE))

    @property
    def min_face_size_px(self) -> float:
        return float(self.options.get("min_face_size_px", DEFAULT_MIN_FACE_SIZE_PX))


# Without an owner: the folders of all sessions that ever searched any.
FOLDERS = sa.text("""
    SELECT DISTINCT s.root_path, coalesce(d.path, '') AS subdirectory
    FROM training_sessions s
    LEFT JOIN training_subdirectories d ON d.session_id = s.id AND d.selected
    WHERE coalesce(s.id = CAST(:owner AS integer), (s.options ->> 'training')::boolean, true)
""")


def read_session(connection: sa.Connection, session_id: int) -> Session:
    s = training_sessions.c
    row = connection.execute(
        sa.select(s.id, s.root_path, s.category_id, s.source_session_id, s.options, s.models).where(s.id == session_id)
    ).one()
    selected = connection.scalars(
        sa.select(training_subdirectories.c.path).where(
            training_subdirectories.c.session_id == session_id, training_subdirectories.c.selected
        )
    ).all()
    owner = row.id if row.options.get("training", True) else row.source_session_id
    return Session(
        id=row.id,
        root_path=row.root_path,
        category_id=row.category_id,
        source_session_id=row.source_session_id,
        options=row.options,
        models=row.models or {},
        subdirectories=tuple(selected),
        folders=_folders(connection, owner),
    )


def _folders(connection: sa.Connection, owner: int | None) -> tuple[str, ...]:
    """The selected subdirectories, or the root, of the session that searched them."""
    rows = connection.execute(FOLDERS, {"owner": owner})
    return tuple(sorted({_folder(os.path.realpath(row.root_path), row.subdirectory) for row in rows}))


def _folder(root: str, subdirectory: str) -> str:
    """The folder as it really is; one that has become a link out of the root is named by its place in it."""
    named = os.path.normpath(os.path.join(root, subdirectory))
    real = os.path.realpath(named)
    return real if lies_in(real, root) else named
