"""Standing by: asking for the lease until whoever leads has let it end, and for the database until it answers."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa

from controller import lease as leases
from controller.events import Asked, Tell, tell_nobody
from controller.lease import Lease, LeaseHeld
from trainyard.database import Database, check_schema, connection_lost, first_line, lock_timed_out

log = logging.getLogger(__name__)

TRY_AGAIN_SECONDS = 2.0

T = TypeVar("T")


@contextmanager
def leading(database: Database, holder: str, stop: threading.Event, tell: Tell = tell_nobody) -> Iterator[Lease | None]:
    """The lease, once it is to be had; None when told to stop before. Whoever ends well leaves it to the next."""
    lease = wait_for_lease(database, holder, stop, tell)
    yield lease
    if lease is not None:
        _leave(database, lease)


def _leave(database: Database, lease: Lease) -> None:
    try:
        leases.release(database, lease)
    except sa.exc.OperationalError as error:
        if not (lock_timed_out(error) or connection_lost(error)):
            raise
        log.warning("the lease is left to end by itself: %s", first_line(error))


def wait_for_schema(database: Database, stop: threading.Event, tell: Tell = tell_nobody) -> None:
    """Until the database answers, or told to stop. Raises SchemaMismatch."""
    _wait(lambda: database.transact(check_schema), stop, tell)


def wait_for_lease(database: Database, holder: str, stop: threading.Event, tell: Tell = tell_nobody) -> Lease | None:
    """The lease; None when told to stop before. An outage of the database is waited out too."""
    return _wait(lambda: leases.take(database, holder), stop, tell)


def _wait(ask: Callable[[], T], stop: threading.Event, tell: Tell) -> T | None:
    """What `ask` returns once neither another's lease nor an outage is in the way; None when told to stop before."""
    said: bool | None = None
    while not stop.is_set():
        try:
            return ask()
        except (LeaseHeld, sa.exc.OperationalError) as trouble:
            if isinstance(trouble, sa.exc.OperationalError) and not connection_lost(trouble):
                raise
            answered = isinstance(trouble, LeaseHeld)
            tell(Asked(answered))
            if answered != said:  # once for each time that it changes
                log.log(logging.INFO if answered else logging.WARNING, "%s", _sentence(trouble))
            said = answered
        stop.wait(TRY_AGAIN_SECONDS)
    return None


def _sentence(trouble: Exception) -> str:
    if isinstance(trouble, LeaseHeld):
        return f"{trouble} Waiting for it to end."
    return f"PostgreSQL is away, waiting for it: {first_line(trouble)}"
