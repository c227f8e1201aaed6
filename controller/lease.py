"""Who leads: one row, taken by compare-and-set on PostgreSQL's clock; every write names its term."""

from dataclasses import dataclass

import sqlalchemy as sa

from trainyard.database import Database, lock_timed_out

LEASE_SECONDS = 15.0

# A worker that is gone may leave its shard's row locked until the server notices. A fenced transaction that waited
# for it would in turn keep the lease's row from everybody.
FENCED_LOCK_MS = 5_000
LEASE_LOCK_MS = 6_000  # a renewal outlasts what its own controller's fenced write waits for
# A controller that is frozen in the midst of such a transaction would keep the lease's row locked, and its successor
# waiting: the server ends one whose client says nothing for so long.
FROZEN_MS = 5_000


class LeaseHeld(Exception):
    """Another controller leads."""


class LeaseLost(Exception):
    """This controller's term has ended; it must exit and write nothing more."""


@dataclass(frozen=True)
class Lease:
    holder: str
    term: int


# Part of each statement rather than one before it, which would cost a round trip: rows are filtered before they are
# locked, so it counts for the statement's own lock too, and until the transaction ends.
BOUND = (
    "set_config('lock_timeout', :lock_ms, true) IS NOT NULL"
    " AND set_config('idle_in_transaction_session_timeout', :idle_ms, true) IS NOT NULL"
)

TAKE = sa.text(f"""
    INSERT INTO controller_lease (holder, term, expires_at)
    SELECT :holder, 1, clock_timestamp() + make_interval(secs => :seconds) WHERE {BOUND}
    ON CONFLICT (is_only) DO UPDATE
    SET holder = :holder, term = controller_lease.term + 1,
        expires_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE controller_lease.expires_at < clock_timestamp() OR :alone
    RETURNING term
""")

RENEW = sa.text(f"""
    UPDATE controller_lease SET expires_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE holder = :holder AND term = :term AND expires_at > clock_timestamp() AND {BOUND}
""")

RELEASE = sa.text(f"""
    UPDATE controller_lease SET expires_at = clock_timestamp() - interval '1 microsecond'
    WHERE holder = :holder AND term = :term AND expires_at > clock_timestamp() AND {BOUND}
""")

HOLD = sa.text(f"""
    SELECT 1 FROM controller_lease
    WHERE holder = :holder AND term = :term AND expires_at > clock_timestamp() AND {BOUND} FOR SHARE
""")


def take(database: Database, holder: str, *, alone: bool = False) -> Lease:
    """Begin a new term. `alone` is for a process that knows, by a lock, that no other one can be alive.

    Raises LeaseHeld, also when some transaction keeps the lease's row locked.
    """
    parameters = {"holder": holder, "seconds": LEASE_SECONDS, "alone": alone, **_bounds(LEASE_LOCK_MS)}
    try:
        term = database.transact(lambda connection: connection.execute(TAKE, parameters).scalar_one_or_none())
    except sa.exc.OperationalError as error:
        if not lock_timed_out(error):
            raise
        raise LeaseHeld("A transaction that does not end locks the lease.") from error
    if term is None:
        raise LeaseHeld("Another controller holds the lease.")
    return Lease(holder, term)


def renew(database: Database, lease: Lease) -> None:
    """Lengthen the term. Raises LeaseLost, and an OperationalError that `lock_timed_out` where the row is locked."""

    def work(connection: sa.Connection) -> None:
        parameters = {**_named(lease, LEASE_LOCK_MS), "seconds": LEASE_SECONDS}
        if connection.execute(RENEW, parameters).rowcount != 1:
            raise LeaseLost(f"The lease of {lease.holder}, term {lease.term}, has ended.")

    database.transact(work)


def release(database: Database, lease: Lease) -> None:
    """End the term, so that whoever waits for it need not wait longer. Nothing to do if it has ended.

    Raises an OperationalError that `lock_timed_out` where the row is locked.
    """
    database.transact(lambda connection: connection.execute(RELEASE, _named(lease, LEASE_LOCK_MS)))


def hold(connection: sa.Connection, lease: Lease) -> None:
    """Fence: lock the lease's row until this transaction ends. Raises LeaseLost.

    From here on this transaction waits for no lock for longer than FENCED_LOCK_MS: it then ends in an
    OperationalError that `lock_timed_out`.
    """
    if connection.execute(HOLD, _named(lease, FENCED_LOCK_MS)).scalar_one_or_none() is None:
        raise LeaseLost(f"The lease of {lease.holder}, term {lease.term}, has ended.")


def _named(lease: Lease, lock_ms: int) -> dict[str, str | int]:
    return {"holder": lease.holder, "term": lease.term, **_bounds(lock_ms)}


def _bounds(lock_ms: int) -> dict[str, str]:
    return {"lock_ms": str(lock_ms), "idle_ms": str(FROZEN_MS)}
