"""Running one session to its end on this machine, with whoever watches it told about progress."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import sqlalchemy as sa

from local import sessions
from local.installation import LocalInstallation
from trainyard.database import connection_lost
from trainyard.lifecycle import retry_due
from trainyard.progress import Progress, read_progress
from trainyard.sessions import NewSession
from trainyard.settings import Settings
from trainyard.summary import read_summary
from trainyard.tables import training_sessions

LOOK_SECONDS = 0.5


class Display(Protocol):
    """Who watches a run."""

    def starting(self, settings: Settings, root: str) -> None: ...

    def began(self, session_id: int, *, resumed: bool) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def interrupting(self) -> None: ...

    def ended(self, summary: dict[str, Any]) -> None: ...


def run_session(settings: Settings, wish: NewSession, display: Display) -> dict[str, Any]:
    """Run (or take up) the session for `wish`; returns its summary once it has ended, or was interrupted."""
    display.starting(settings, wish.root_path)
    with _interruptible() as interrupted, LocalInstallation(settings) as installation:
        database = installation.database
        session_id, resumed = database.transact(lambda connection: sessions.begin(connection, wish))
        display.began(session_id, resumed=resumed)
        installation.start()
        _watch(installation, session_id, display, interrupted)
        summary = database.transact(lambda connection: read_summary(connection, session_id))
    display.ended(summary)
    return summary


def _watch(installation: LocalInstallation, session_id: int, display: Display, interrupted: threading.Event) -> None:
    """Show progress until the session has ended; an interrupt asks it to pause and waits for that."""
    pausing = False
    while True:
        progress = _look(installation, session_id)
        if progress is not None:
            display.progress(progress)
            if pausing and progress.overall_status == "paused":
                return
            if not progress.active and not _retry_due(installation, session_id):
                return
        if interrupted.is_set() and not pausing:
            display.interrupting()
            installation.database.transact(lambda connection: sessions.pause(connection, session_id))
            pausing = True
        if pausing:
            threading.Event().wait(LOOK_SECONDS / 5)
        else:
            interrupted.wait(LOOK_SECONDS)
        installation.check()


def _look(installation: LocalInstallation, session_id: int) -> Progress | None:
    try:
        with installation.database.engine.begin() as connection:
            return read_progress(connection, session_id)
    except sa.exc.OperationalError as error:
        if not connection_lost(error):
            raise
        return None


def _retry_due(installation: LocalInstallation, session_id: int) -> bool:
    """Whether an ended session is about to be taken up again."""
    this = training_sessions.c.id == session_id
    due = sa.select(sa.exists().where(this, retry_due()))
    return bool(installation.database.transact(lambda connection: connection.execute(due).scalar_one()))


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C ends the process at once, as a kill would."""
    event = threading.Event()
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        event.set()
        signal.signal(number, signal.SIG_DFL)

    number: int
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
