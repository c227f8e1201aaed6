"""What could not be done of one session, and is left alone for a moment: nobody else waits for it."""

import time
from collections.abc import Callable
from typing import Any

from controller.plan import Action, RemoveJob, StopJob

AGAIN_SECONDS = 5.0


class Refusals:
    """Lost with the process, which costs one more try."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[Any, ...], float] = {}

    def add(self, action: Action) -> None:
        now = self._clock()
        self._until = {key: until for key, until in self._until.items() if until > now}
        self._until[_key(action)] = now + AGAIN_SECONDS

    def hold(self, action: Action) -> bool:
        """Whether the same was refused just now."""
        return self._until.get(_key(action), 0.0) > self._clock()


def _key(action: Action) -> tuple[Any, ...]:
    """A Job is the same whatever has become of it since."""
    if isinstance(action, StopJob | RemoveJob):
        return type(action), action.job.uid
    return type(action), action
