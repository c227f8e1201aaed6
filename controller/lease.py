"""Who leads: one row, taken by compare-and-set on PostgreSQL's clock; every write names its term."""

from dataclasses import dataclass

import sqlalchemy as sa

from trainyard.database import Database

LEASE_SECONDS = 15.0


class LeaseHeld(Exception):
    """Another controller leads."""


class LeaseLost(Exception):
    """This controller's term has ended; it must exit and write nothing more."""


@dataclass(frozen=True)
class Lease:
    holder: str
    term: int


TAKE = sa.text("""
    INSERT INTO controller_lease (holder, term, expires_at)
    VALUES (:holder, 1, clock_timestamp() + make_interval(secs => :seconds))
    ON CONFLICT (is_only) DO UPDATE
    SET holder = :holder, term = controller_lease.term + 1,
        expires_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE controller_lease.expires_at < clock_timestamp() OR :alone
    RETURNING term
""")

RENEW = sa.text("""
    UPDATE controller_lease SET expires_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE holder = :holder AND term = :term AND expires_at > clock_timestamp()
""")

RELEASE = sa.text("""
    UPDATE controller_lease SET expires_at = clock_timestamp() - interval '1 microsecond'
    WHERE holder = :holder AND term = :term AND expires_at > clock_timestamp()
""")

HOLD = sa.text("""
    SELECT 1 FROM controller_lease
    WHERE holder = :holder AND term = :term AND expires_at > clock_timestamp() FOR SHARE
""")


def take(database: Database, holder: str, *, alone: bool = False) -> Lease:
    """Begin a new term. `alone` is for a process that knows, by a lock, that no other one can be alive.

    Raises LeaseHeld.
    """
    term = database.transact(
        lambda connection: connection.execute(
            TAKE, {"holder": holder, "seconds": LEASE_SECONDS, "alone": alone}
        ).scalar_one_or_none()
    )
    if term is None:
        raise LeaseHeld("Another controller holds the lease.")
    return Lease(holder, term)


def renew(database: Database, lease: Lease) -> None:
    """Lengthen the term. Raises LeaseLost."""

    def work(connection: sa.Connection) -> None:
        parameters = {"holder": lease.holder, "term": lease.term, "seconds": LEASE_SECONDS}
        if connection.execute(RENEW, parameters).rowcount != 1:
            raise LeaseLost(f"The lease of {lease.holder}, term {lease.term}, has ended.")

    database.transact(work)


def release(database: Database, lease: Lease) -> None:
    """End the term, so that whoever waits for it need not wait longer. Nothing to do if it has ended."""
    parameters = {"holder": lease.holder, "term": lease.term}
    database.transact(lambda connection: connection.execute(RELEASE, parameters))


def hold(connection: sa.Connection, lease: Lease) -> None:
    """Fence: lock the lease's row until this transaction ends. Raises LeaseLost."""
    parameters = {"holder": lease.holder, "term": lease.term}
    if connection.execute(HOLD, parameters).scalar_one_or_none() is None:
        raise LeaseLost(f"The lease of {lease.holder}, term {lease.term}, has ended.")
