"""One look at something that may hang, shared by all who ask: it holds one thread, none of the routes'."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")

LONGEST_SECONDS = 4.0  # within the patience of those who probe and scrape
FRESH_SECONDS = 1.0


class SingleFlight(Generic[T]):
    """`look` is called in a thread; what it gave or raised is given again for a second. Belongs to one event loop."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._task: asyncio.Task[T] | None = None
        self._landed = 0.0

    async def result(self) -> T:
        """What the look gave. Raises what it raised, and TimeoutError when it takes too long."""
        if self._task is None or (self._task.done() and time.monotonic() > self._landed + FRESH_SECONDS):
            self._task = asyncio.create_task(self._run())
        task = self._task
        done, _ = await asyncio.wait({task}, timeout=LONGEST_SECONDS)
        if not done:
            raise TimeoutError(f"no answer within {LONGEST_SECONDS:.0f} s")
        return task.result()

    async def _run(self) -> T:
        try:
            return await to_thread.run_sync(self._look, abandon_on_cancel=True, limiter=CapacityLimiter(1))
        finally:
            self._landed = time.monotonic()
