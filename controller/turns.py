"""Whose turn it is: one clustering at a time, and sessions whose folders overlap one after another. Pure.

Sessions are found by their folders, not each compared with each: there may be thousands.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from pathlib import PurePosixPath

from controller.observe import SessionView, StepView
from trainyard.lifecycle import ENDED, SETTLED


class Turns:
    """Of the sessions of one snapshot, the oldest first."""

    def __init__(self, sessions: Sequence[SessionView]) -> None:
        self._active = [session for session in sessions if session.status not in ENDED]
        self._clusterers = [one for one in self._active if _clusters(one) or _begins_to_cluster(one)]
        self._places: dict[str, list[int]] = {}  # in _active, by folder
        for place, session in enumerate(self._active):
            self._places.setdefault(folder(session.root_path), []).append(place)
        self._folders = sorted(self._places)

    def queued(self, session: SessionView, step: StepView) -> tuple[str, str] | None:
        """Why this step must not begin yet, beside other sessions; None: it is its turn."""
        if step.name == "cluster" and (other := self._clusters_before(session)):
            return ("Queued", f"Session {other.id} is clustering; one at a time.")
        if other := self._works_before(session):
            return ("Queued", f"Session {other.id} works on the same folders ({other.root_path}) first.")
        return None

    def _clusters_before(self, session: SessionView) -> SessionView | None:
        others = (one for one in self._clusterers if one.id != session.id)
        return next((one for one in others if _clusters(one) or one.id < session.id), None)

    def _works_before(self, session: SessionView) -> SessionView | None:
        """What only assigns opens no photo and finds no face: it takes turns with its like alone.

        So a name is followed at once, though a session may be at its folders for days.
        """
        others = (one for one in self.overlapping(session) if one.id != session.id and one.assign == session.assign)
        return next((one for one in others if _precedes(one, session)), None)

    def overlapping(self, session: SessionView) -> Iterator[SessionView]:
        """Those whose root is the session's own, lies in it, or has it inside; in their order."""
        own = folder(session.root_path)
        folders = [*_above(own), *self._within(own)]
        places = sorted(place for each in folders for place in self._places.get(each, ()))
        return (self._active[place] for place in places)

    def _within(self, own: str) -> Iterator[str]:
        rest = islice(self._folders, bisect_left(self._folders, own), None)
        return takewhile(lambda each: each.startswith(own), rest)


def folder(path: str) -> str:
    """The folder so written that all in it begin with it: `/photos/`."""
    return str(PurePosixPath(path)).rstrip("/") + "/"


def _above(own: str) -> Iterator[str]:
    return (own[: end + 1] for end, character in enumerate(own[:-1]) if character == "/")


def _clusters(session: SessionView) -> bool:
    return "cluster" in session.steps and session.steps["cluster"].status == "running"


def _begins_to_cluster(session: SessionView) -> bool:
    """Whether it does in this very pass, unless an older one does."""
    step = session.next_step
    begins = step is not None and step.name == "cluster" and step.status == "pending" and session.faces_to_cluster
    return begins and session.wanted == "run"


def _precedes(other: SessionView, session: SessionView) -> bool:
    """Whether `other` has, or is first to get, folders that both want. A paused one keeps nobody waiting."""
    if any(step.status == "running" for step in other.steps.values()):
        return True
    if other.status == "paused" or other.wanted != "run":
        return False
    if _discovered(other) != _discovered(session):
        return _discovered(other)
    return other.id < session.id


def _discovered(session: SessionView) -> bool:
    return "discover" in session.steps and session.steps["discover"].status in SETTLED
