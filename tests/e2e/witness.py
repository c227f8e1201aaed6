"""Whoever watches a session all along: what the API and the resource said of it, and when."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.e2e.client import Api
from trainyard.lifecycle import ENDED

PHASES = ("training", "faceDetection", "clustering")
AGREE_SECONDS = 15.0
LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class Said:
    asked_at: float  # seconds of the monotonic clock
    at: float  # when the answer was there
    percentage: float
    status: str
    whole: dict[str, Any]


@dataclass
class Witness:
    """What the API said, in order, and what the resource did."""

    of_api: list[Said] = field(default_factory=list)
    of_resource: list[Said] = field(default_factory=list)

    def never_fell(self) -> None:
        """Neither the overall number, nor a phase's."""
        _rises([said.percentage for said in self.of_api])
        for phase in PHASES:
            _rises([said.whole["phases"][phase]["progress"]["percentage"] for said in self.of_api])
        _rises([said.percentage for said in self.of_resource])

    def never_done_early(self) -> None:
        """100 only when everything is."""
        early = [said for said in self.of_api if said.percentage == 100 and said.status != "completed"]
        assert early == []
        for phase in PHASES:
            shown = [said.whole["phases"][phase] for said in self.of_api]
            assert [p for p in shown if p["progress"]["percentage"] == 100 and p["status"] != "completed"] == []

    def was_seen_at_work(self) -> None:
        """Not only before and after: in every phase, and at numbers between."""
        for phase in PHASES:
            statuses = {said.whole["phases"][phase]["status"] for said in self.of_api}
            assert statuses & {"running", "processing"}, f"{phase} was not seen at work: {statuses}"
        assert len({said.percentage for said in self.of_api}) >= 5

    def agreed(self) -> None:
        """At any moment the resource says what the API said at most 15 s before, and never more than it says now."""
        assert self.of_resource, "the resource was never seen"
        for said in self.of_resource:
            before = [api for api in self.of_api if api.at <= said.asked_at - AGREE_SECONDS]
            assert not before or said.percentage >= int(before[-1].percentage), f"it lags: {said} after {before[-1]}"
            after = [api for api in self.of_api if api.asked_at >= said.at]
            assert not after or said.percentage <= after[0].percentage, f"it is ahead: {said} before {after[0]}"


def _rises(numbers: list[float]) -> None:
    fallen = [(before, after) for before, after in pairwise(numbers) if after < before]
    assert fallen == []


@contextmanager
def watching(api: Api, session: int, status_of_resource: Callable[[], dict[str, Any]]) -> Iterator[Witness]:
    """From now until the session has ended, and the resource says so, or the block ends."""
    seen, stop = Witness(), threading.Event()
    looks = [
        (seen.of_api, lambda: _of_api(api, session)),
        (seen.of_resource, lambda: _of_resource(status_of_resource)),
    ]
    with ThreadPoolExecutor(len(looks)) as pool:
        watching = [pool.submit(_look, said, ask, stop) for said, ask in looks]
        try:
            yield seen
        finally:
            stop.set()
    for look in watching:
        look.result()  # raises what went wrong in it


def _look(said: list[Said], ask: Callable[[], Said | None], stop: threading.Event) -> None:
    while True:
        answer = ask()
        if answer is not None:
            said.append(answer)
        if stop.wait(LOOK_SECONDS) or (answer is not None and answer.status in ENDED):
            return


def _of_api(api: Api, session: int) -> Said:
    asked_at = time.monotonic()
    shown = api.progress(session)
    return Said(asked_at, time.monotonic(), shown["overallProgress"]["percentage"], shown["overallStatus"], shown)


def _of_resource(read: Callable[[], dict[str, Any]]) -> Said | None:
    asked_at = time.monotonic()
    status = read()
    if "progress" not in status:  # not yet written
        return None
    percentage = float(status["progress"].rstrip("%"))
    return Said(asked_at, time.monotonic(), percentage, status["overallStatus"], status)
