"""The loop: observe, plan, apply; then wait for a sign to look again, or for the period to pass."""

import logging
import threading
from collections.abc import Callable

import psycopg
import sqlalchemy as sa

from controller import lease as leases
from controller.apply import Applier
from controller.backend import JobBackend
from controller.lease import Lease, LeaseLost
from controller.observe import observe
from controller.plan import Action, plan
from trainyard.database import CHANNEL, Database, connection_lost

log = logging.getLogger(__name__)

MOST_PASSES_AT_ONCE = 50  # a plan that never comes to rest is a defect, not a reason to spin


def run_pass(database: Database, backend: JobBackend, applier: Applier, silence_seconds: float) -> list[Action]:
    """One pass over everything; returns what was done. The same after a restart as at any other moment."""
    snapshot = database.transact(lambda connection: observe(connection, backend, silence_seconds))
    actions = plan(snapshot)
    for action in actions:
        log.debug("apply %s", action)
        applier.apply(action)
    return actions


class Controller:
    """Runs passes until told to stop. Raises LeaseLost when another one has taken over."""

    def __init__(
        self,
        database: Database,
        backend: JobBackend,
        lease: Lease,
        *,
        period_seconds: float = 5.0,
        silence_seconds: float = 1500.0,
        pinned_weights: dict[str, float] | None = None,
        on_outage: Callable[[], None] | None = None,
        regain: Callable[[], Lease] | None = None,
    ) -> None:
        self.database = database
        self.backend = backend
        self.period_seconds = period_seconds
        self.silence_seconds = silence_seconds
        self.pinned_weights = pinned_weights
        self.on_outage = on_outage
        self.regain = regain  # for a process that knows to be alone: a new term after a long outage
        self._lead(lease)
        self.look = threading.Event()  # set it to say "look now"
        self._stop = threading.Event()

    def run(self) -> None:
        listener = threading.Thread(target=self._listen, name="controller-listen", daemon=True)
        listener.start()
        while not self._stop.is_set():
            self.look.wait(self.period_seconds)
            self.look.clear()
            self._look()

    def stop(self) -> None:
        self._stop.set()
        self.look.set()

    def _lead(self, lease: Lease) -> None:
        self.lease = lease
        self.applier = Applier(self.database, self.backend, lease, self.pinned_weights)

    def _look(self) -> None:
        try:
            self._pass()
        except LeaseLost:
            if self.regain is None:
                raise
            self._lead(self.regain())
            self.look.set()

    def _pass(self) -> None:
        try:
            leases.renew(self.database, self.lease)
            for _ in range(MOST_PASSES_AT_ONCE):
                if not run_pass(self.database, self.backend, self.applier, self.silence_seconds):
                    break
        except sa.exc.OperationalError as error:
            if not connection_lost(error):
                raise
            log.warning("PostgreSQL is away; looking again in a moment")
            if self.on_outage:
                self.on_outage()

    def _listen(self) -> None:
        """Turn NOTIFY into "look now". Losing it costs only time: the period remains."""
        url = self.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while not self._stop.is_set():
            try:
                with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self.look.set()
                    while not self._stop.is_set():
                        for _ in connection.notifies(timeout=1.0, stop_after=1):
                            self.look.set()
            except psycopg.OperationalError:
                self._stop.wait(1.0)
