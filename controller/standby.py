"""Standing by: asking for the lease until whoever leads has let it end."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from controller import lease as leases
from controller.events import Asked, Tell, tell_nobody
from controller.lease import Lease, LeaseHeld
from trainyard.database import Database, connection_lost, first_line

log = logging.getLogger(__name__)

TRY_AGAIN_SECONDS = 2.0


@contextmanager
def leading(database: Database, holder: str, stop: threading.Event, tell: Tell = tell_nobody) -> Iterator[Lease | None]:
    """The lease, once it is to be had; None when told to stop before. Whoever ends well leaves it to the next."""
    lease = wait_for_lease(database, holder, stop, tell)
    yield lease
    if lease is not None:
        leases.release(database, lease)


def wait_for_lease(database: Database, holder: str, stop: threading.Event, tell: Tell = tell_nobody) -> Lease | None:
    """The lease; None when told to stop before. An outage of the database is waited out too."""
    said: bool | None = None
    while not stop.is_set():
        found = _ask(database, holder)
        if isinstance(found, Lease):
            return found
        answered = isinstance(found, LeaseHeld)
        tell(Asked(answered))
        if answered != said:  # once for each time that it changes
            log.log(logging.INFO if answered else logging.WARNING, "%s", _sentence(found))
        said = answered
        stop.wait(TRY_AGAIN_SECONDS)
    return None


def _ask(database: Database, holder: str) -> Lease | LeaseHeld | sa.exc.OperationalError:
    """The lease, or why there is none."""
    try:
        return leases.take(database, holder)
    except LeaseHeld as held:
        return held
    except sa.exc.OperationalError as error:
        if not connection_lost(error):
            raise
        return error


def _sentence(trouble: Exception) -> str:
    if isinstance(trouble, LeaseHeld):
        return f"{trouble} Waiting for it to end."
    return f"PostgreSQL is away, waiting for it: {first_line(trouble)}"
