"""What a controller tells of itself while it works. Probes and metrics listen; nothing it decides depends on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from controller.lease import Lease
from controller.observe import Snapshot

Outcome = Literal["ok", "backend_away", "database_away"]


@dataclass(frozen=True)
class Asked:
    """A try for the lease ended without it; `answered`: by the database, which said that another one leads."""

    answered: bool


@dataclass(frozen=True)
class Leads:
    """The lease was taken or renewed; it was asked for at `asked_at`, of time.monotonic, and holds from then."""

    lease: Lease
    asked_at: float


@dataclass(frozen=True)
class Saw:
    """What a pass begins with."""

    snapshot: Snapshot


@dataclass(frozen=True)
class Acted:
    """One of the things that a pass does was done, or is about to be; a pass may do many, and take long."""


@dataclass(frozen=True)
class Passed:
    """A pass ended."""

    outcome: Outcome
    seconds: float


Event = Asked | Leads | Saw | Acted | Passed

# Called by the loop and by the thread that renews the lease: must be quick, and raise nothing.
Tell = Callable[[Event], None]


def tell_nobody(event: Event) -> None:
    """For a controller that nobody listens to."""
