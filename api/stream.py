"""Live progress for any number of clients: a watched session is read once a second, however many watch it."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa
from anyio import to_thread
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from trainyard.database import Database
from trainyard.lifecycle import NoSuchSession

log = logging.getLogger(__name__)

READ_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15.0  # proxies close what is silent for 30 s and more
RECONNECT_MILLISECONDS = 2_000
EVENT = "progress"


@dataclass(frozen=True)
class Reading:
    """What a look at a session gave: its progress as JSON, or why there is none. After `over` nothing more comes."""

    body: str | None = None
    over: bool = False
    error: Exception | None = None

    @property
    def goes_on(self) -> bool:
        return not self.over and self.error is None


class Watched:
    """A session somebody watches: its latest reading, which whoever is slow skips to. Belongs to one event loop."""

    def __init__(self, read: Callable[[], Reading], *, closed: bool) -> None:
        self.watchers = 0
        self.reader: asyncio.Task[None] | None = None
        self._read = read
        self._closed = closed
        self._latest: Reading | None = None
        self._frame = b""
        self._id = 0
        self._changed = asyncio.Event()  # another one after each change

    async def begun(self) -> None:
        """Return once there is progress to send. Raises what the reading raised.

        A session may be retried after a reading that said it is over, so those who come then wait for the next one.
        """
        if not self._closed and (self._latest is None or not self._latest.goes_on):
            await self._changed.wait()
        if self._latest is not None and self._latest.error is not None:
            raise self._latest.error

    async def frames(self) -> AsyncGenerator[bytes]:
        """The stream's bytes: the progress at once, then each change, until the session is over."""
        yield format_sse_event(retry=RECONNECT_MILLISECONDS)
        sent: str | None = None
        while True:
            changed, reading = self._changed, self._latest
            if reading is not None and reading.body is not None and reading.body != sent:
                sent = reading.body
                yield self._frame
            elif self._closed or reading is None or reading.over:
                return
            elif not await _set_in_time(changed):
                yield KEEPALIVE_COMMENT

    async def keep_reading(self) -> None:
        """Read until nobody watches any more."""
        while self.watchers and not self._closed:
            self._publish(await self._look())
            await asyncio.sleep(READ_SECONDS)

    def close(self) -> None:
        self._closed = True
        self._wake()
        if self.reader is not None:
            self.reader.cancel()

    async def _look(self) -> Reading:
        try:
            return await to_thread.run_sync(self._read, abandon_on_cancel=True)
        except NoSuchSession as error:
            return Reading(over=True, error=error)
        except Exception as error:  # a database that is away comes back: those who watch stay
            if self._latest is None or self._latest.error is None:
                _say(error)
            return Reading(error=error)

    def _publish(self, reading: Reading) -> None:
        if reading == self._latest and reading.goes_on:
            return
        self._latest = reading
        if reading.body is not None:
            self._id = max(self._id + 1, time.time_ns() // 1_000_000)  # grows over a restart of the server, too
            self._frame = format_sse_event(data_str=reading.body, event=EVENT, id=str(self._id))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _say(error: Exception) -> None:
    away = isinstance(error, sa.exc.SQLAlchemyError)
    words = getattr(error, "orig", None) or error
    log.warning("a watched session cannot be read: %r", words, exc_info=None if away else error)


async def _set_in_time(event: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(KEEP_ALIVE_SECONDS):
            await event.wait()
    return event.is_set()


class ProgressStream:
    """All sessions that are watched in this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watched: dict[int, Watched] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def watchers(self) -> int:
        return sum(watched.watchers for watched in tuple(self._watched.values()))

    @contextmanager
    def watching(self, session_id: int, read: Callable[[sa.Connection], Reading]) -> Iterator[Watched]:
        """Watch the session, inside the event loop; `read` is called in a thread, once for all who watch it."""
        watched = self._watched.get(session_id) or self._begin(session_id, read)
        watched.watchers += 1
        try:
            yield watched
        finally:
            watched.watchers -= 1

    def close(self) -> None:
        """End every stream, from whatever thread."""
        self._closed = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and the streams with it
                self._loop.call_soon_threadsafe(self._end_all)

    def _begin(self, session_id: int, read: Callable[[sa.Connection], Reading]) -> Watched:
        self._loop = asyncio.get_running_loop()
        watched = Watched(partial(self._database.transact, read), closed=self._closed)
        self._watched[session_id] = watched
        watched.reader = self._loop.create_task(self._follow(session_id, watched))
        return watched

    async def _follow(self, session_id: int, watched: Watched) -> None:
        try:
            await watched.keep_reading()
        finally:
            del self._watched[session_id]

    def _end_all(self) -> None:
        for watched in tuple(self._watched.values()):
            watched.close()
