"""A session as far as its resource goes: what a pass over resources knows of its row."""

from dataclasses import dataclass

from controller.kubernetes.resource import Maker
from trainyard.lifecycle import ENDED
from trainyard.progress import Progress


@dataclass(frozen=True)
class Failing:
    """The step under way of a session, once attempts of it have failed; what comes after them is tried again."""

    step: str
    attempts: int  # that failed, since the last retry
    failure: tuple[str, str] | None = None  # of the last of them


@dataclass(frozen=True)
class Shown:
    """What the resource's status tells."""

    progress: Progress
    suspended: bool  # by the resource; progress.requested is the API's own brake
    images: int
    faces: int
    failure: tuple[str, str] | None = None
    failing: Failing | None = None
    gone: bool = False  # by the row, although it stands


@dataclass(frozen=True)
class SessionRow:
    """`shown` is None when its status need not be looked at."""

    maker: Maker
    status: str
    suspended: bool = False
    name: str | None = None  # of its resource
    uid: str | None = None
    gone: bool = False
    deleted: bool = False
    shown: Shown | None = None

    @property
    def id(self) -> int:
        return self.maker[0]

    @property
    def ended(self) -> bool:
        return self.status in ENDED
