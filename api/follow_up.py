"""What follows people's changes, in a thread of the API's own: Qdrant and prototypes hear of them, then a session.

Requests only wait for it, and no longer than a moment: the rows are true already. Whatever is left when the process
dies is done by the next one, or by another replica.
"""

import logging
import threading

import sqlalchemy as sa

from trainyard import outbox
from trainyard.database import Database, first_line
from trainyard.reassignment import ask_when_quiet, assign_options
from trainyard.settings import Settings
from trainyard.vectors import Vectors, VectorsUnavailable, VectorsUnusable

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
QUIET_SECONDS = 5.0  # after the last change of prototypes: people name several groups in a row
PATIENCE_SECONDS = 2.0  # of a request
END_SECONDS = 5.0  # a store that hangs is not waited for
AWAY = (VectorsUnavailable, VectorsUnusable, sa.exc.OperationalError, sa.exc.TimeoutError)


class FollowUp:
    """`start` it once; `look` is one turn of its thread."""

    def __init__(
        self,
        database: Database,
        vectors: Vectors,
        settings: Settings,
        *,
        poll_seconds: float = POLL_SECONDS,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self._database = database  # of its own, so that it never waits for requests, nor they for it
        self._vectors = vectors
        self._options = assign_options(untrained=settings.untrained, face_engine=settings.face_engine)
        self._poll_seconds = poll_seconds
        self._quiet_seconds = quiet_seconds
        self._turn = threading.Condition()
        self._asked, self._answered = 1, 0  # at first for what the process before has left
        self._is_behind = False  # a store was away in the last turn
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="follow-up", daemon=True)
        self._thread.start()

    def close(self) -> None:
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def catch_up(self) -> None:
        """Called once a change is committed; returns when all have heard of it, or after a moment."""
        with self._turn:
            self._asked += 1
            mine = self._asked
            self._turn.notify_all()
            if self._thread is not None and not self._is_behind:
                self._turn.wait_for(lambda: self._answered >= mine or self._closed, PATIENCE_SECONDS)

    def look(self) -> None:
        """Tell the stores all that there is to tell, and see whether unknown faces are to be gone over again."""
        try:
            while True:
                told = outbox.drain(self._database, self._vectors)
                self._database.transact(lambda c: ask_when_quiet(c, self._options, self._quiet_seconds))
                if not told or self._closed:
                    break
            self._is_behind = False
        except Exception as error:  # whatever it is, changes go on and the next turn tries again
            if not self._is_behind and not self._closed:
                _say(error)
            self._is_behind = True

    def _run(self) -> None:
        while not self._closed:
            with self._turn:
                self._turn.wait_for(lambda: self._closed or self._asked > self._answered, self._poll_seconds)
                asked = self._asked
            if not self._closed:
                self.look()
            with self._turn:
                self._answered = asked
                self._turn.notify_all()


def _say(error: Exception) -> None:
    log.warning(
        "what people changed is not yet in Qdrant and the prototypes, trying again: %s",
        first_line(error),
        exc_info=None if isinstance(error, AWAY) else error,
    )
