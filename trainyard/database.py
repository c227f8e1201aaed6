"""Connections to PostgreSQL: transactions that ride out an outage, and migrations."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_260_113_071  # any fixed number: the key of the advisory lock migrations take
MIGRATION_LOCK_TIMEOUT_MS = 10_000
CHANNEL = "trainyard"  # NOTIFY on it says "look now", never what happened

# A peer that lost its power or its network says nothing: each side finds that out for itself, within a minute.
# libpq leaves these alone on a Unix socket, where a dead peer is known at once.
NOTICE_DEAD_SERVER = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
CONNECT_ARGUMENTS = {"connect_timeout": 5, "application_name": "trainyard", **NOTICE_DEAD_SERVER}
# The same for the server, which would keep the locks of a worker that is gone. No transaction of ours computes for
# minutes between two statements. Set once connected, as poolers refuse such options in the startup message.
NOTICE_DEAD_CLIENT = """
    SELECT set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
           set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '60s', false),
           set_config('idle_in_transaction_session_timeout', '5min', false)
"""
DEADLOCK = "40P01"  # of two transactions that waited for each other this one was chosen to give way
MOST_DEADLOCKS = 4  # in a row, each found after a second
IDLE_TOO_LONG = "25P03"  # the server ended a session that did nothing in its transaction, as after a machine's sleep

T = TypeVar("T")


class DatabaseUnavailable(Exception):
    """PostgreSQL did not come back within the time an outage is ridden out."""


class SchemaMismatch(Exception):
    """The database's schema is not the one this version was written for."""


class Database:
    """One PostgreSQL database.

    `outage_seconds` says how long `transact` goes on trying when the connection is lost; `on_outage(error)` is
    called once when that begins, and `on_recovery()` when it ends. `stop` ends the wait early. With `pool_pre_ping`
    a connection is asked whether it still lives before it is used: for those who do not ride an outage out.
    """

    def __init__(
        self,
        url: str,
        *,
        outage_seconds: float = 0.0,
        on_outage: Callable[[Exception], None] | None = None,
        on_recovery: Callable[[], None] | None = None,
        stop: threading.Event | None = None,
        pool_size: int = 5,
        pool_pre_ping: bool = False,
    ) -> None:
        self.url = url
        self.engine = sa.create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=pool_pre_ping,
            pool_reset_on_return="rollback",
            connect_args=CONNECT_ARGUMENTS,
        )
        sa.event.listen(self.engine, "connect", _notice_dead_client)
        self.outage_seconds = outage_seconds
        self._on_outage = on_outage
        self._on_recovery = on_recovery
        self._stop = stop or threading.Event()

    def transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction and commit it; again, when the connection was lost on the way.

        A commit whose answer was lost may have happened: `work` must find that out by itself.
        """
        try:
            return self._once(work)
        except sa.exc.OperationalError as error:
            if not connection_lost(error) or self.outage_seconds <= 0:
                raise
            return self._ride_out(work, error)

    def _once(self, work: Callable[[sa.Connection], T]) -> T:
        """Again, too, when it was the one that PostgreSQL chose to end a deadlock: the other has gone on by then."""
        for _ in range(MOST_DEADLOCKS):
            try:
                return self._attempt(work)
            except sa.exc.OperationalError as error:
                if _state(error) != DEADLOCK:
                    raise
        return self._attempt(work)

    def _attempt(self, work: Callable[[sa.Connection], T]) -> T:
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except (psycopg.OperationalError, psycopg.InternalError) as error:  # from COPY, which SQLAlchemy does not see
            raise sa.exc.OperationalError("COPY", None, error) from error
        except sa.exc.InternalError as error:
            if _state(error) != IDLE_TOO_LONG:
                raise
            raise sa.exc.OperationalError(error.statement, error.params, error.orig or error) from error

    def _ride_out(self, work: Callable[[sa.Connection], T], error: Exception) -> T:
        if self._on_outage:
            self._on_outage(error)
        deadline = time.monotonic() + self.outage_seconds
        pause_seconds = 0.1
        while time.monotonic() < deadline and not self._stop.wait(pause_seconds):
            pause_seconds = min(pause_seconds * 2, 5.0)
            try:
                result = self._once(work)
            except sa.exc.OperationalError as again:
                if not connection_lost(again):
                    raise
                error = again
            else:
                if self._on_recovery:
                    self._on_recovery()
                return result
        raise DatabaseUnavailable(f"PostgreSQL could not be reached: {first_line(error)}") from error

    def connect(self) -> psycopg.Connection[Any]:
        """A connection outside the pool, each statement committed by itself: for whoever keeps it to listen.

        From the URL's parts, as SQLAlchemy writes some of them otherwise than libpq reads them: a password's spaces.
        """
        _, parts = self.engine.dialect.create_connect_args(self.engine.url)
        return psycopg.connect(**{**parts, **CONNECT_ARGUMENTS}, autocommit=True)

    def close(self) -> None:
        self.engine.dispose()


def connection_lost(error: sa.exc.DBAPIError) -> bool:
    """Whether the server went away (worth waiting for), rather than refused what was asked."""
    if error.connection_invalidated:
        return True
    state = _state(error)
    # 08: connection exception; 57P01-3: shutting down, crashed, starting up. None: never connected.
    return state is None or state.startswith("08") or state in {"57P01", "57P02", "57P03", IDLE_TOO_LONG}


def lock_timed_out(error: sa.exc.DBAPIError) -> bool:
    """Whether another transaction kept a lock for longer than this one's lock_timeout; it may be done again later."""
    return _state(error) == "55P03"


def _state(error: sa.exc.DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _notice_dead_client(connection: psycopg.Connection[Any], record: object) -> None:
    """In a statement of its own: the new connection is not left in a transaction."""
    connection.autocommit = True
    connection.execute(NOTICE_DEAD_CLIENT)
    connection.autocommit = False


def first_line(error: Exception) -> str:
    """The driver's own sentence, without SQLAlchemy's statement and link around it."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def notify(connection: sa.Connection) -> None:
    """Tell whoever listens, once this transaction is committed, to look at the rows."""
    connection.execute(sa.text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


def migrate(url: str) -> str | None:
    """Bring the schema up to this version, and return None; that of a later version is left as it is and returned.

    Several processes may call it at once: an advisory lock queues them. Workers may go on meanwhile: a table that they
    keep in use is waited for so long that nobody behind it has to wait for long, then lock_timed_out says so.
    """
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=CONNECT_ARGUMENTS)
    sa.event.listen(engine, "connect", _notice_dead_client)  # the locks below are everybody's
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.execute(sa.text(f"SET LOCAL lock_timeout = {MIGRATION_LOCK_TIMEOUT_MS}"))
            return _upgrade(connection)
    finally:
        engine.dispose()


def _upgrade(connection: sa.Connection) -> str | None:
    later = _later_version(connection)
    if later is None:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return later


def _later_version(connection: sa.Connection) -> str | None:
    """The schema's version where this version of Trainyard does not know it."""
    found = MigrationContext.configure(connection).get_current_revision()
    return found if found not in _known_versions() else None


def _known_versions() -> set[str | None]:
    """None stands for an empty database."""
    script = ScriptDirectory.from_config(_alembic_config())
    return {None, *(revision.revision for revision in script.walk_revisions())}


def check_schema(connection: sa.Connection) -> None:
    """Raise SchemaMismatch unless the schema is at least this version's (newer ones only add to it)."""
    wanted = ScriptDirectory.from_config(_alembic_config()).get_current_head()
    found = MigrationContext.configure(connection).get_current_revision()
    if found != wanted and found in _known_versions():
        raise SchemaMismatch(
            f"The database's schema is at version {found or 'none'}, this version of Trainyard needs {wanted}. "
            "Run `trainyard migrate`."
        )


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
