"""The loop: observe, plan, apply; then wait for a sign to look again, or for the period to pass."""

import logging
import threading
import time
from collections.abc import Callable

import psycopg
import sqlalchemy as sa

from controller import lease as leases
from controller.accounts import account
from controller.apply import Applier
from controller.backend import BackendUnavailable, JobBackend, JobRefused
from controller.events import Acted, Leads, Outcome, Passed, Saw, Tell, tell_nobody
from controller.lease import LEASE_SECONDS, Lease, LeaseHeld, LeaseLost
from controller.observe import observe
from controller.plan import Action, CreateJob, RemoveJob, StopJob, Wait, plan
from trainyard.database import CHANNEL, Database, connection_lost, first_line, lock_timed_out
from trainyard.lifecycle import ImpossibleTransition

log = logging.getLogger(__name__)

FENCE_SECONDS = 2.0  # that a lease must still have for a request that nothing else fences
AGAIN_SECONDS = 1.0  # after a renewal that failed
MOST_PASSES_AT_ONCE = 50  # a plan that never comes to rest is a defect, not a reason to spin


def run_pass(
    database: Database, backend: JobBackend, applier: Applier, silence_seconds: float, tell: Tell = tell_nobody
) -> list[Action]:
    """One pass over everything; returns what was done. The same after a restart as at any other moment."""
    jobs = backend.observe()
    snapshot = database.transact(lambda connection: observe(connection, jobs, silence_seconds))
    tell(Saw(snapshot))
    done: list[Action] = []
    stuck: set[int] = set()  # sessions of which something failed: what was to follow it must not come before it
    for action in plan(snapshot):
        if action.session_id in stuck:
            continue
        if _apply(applier, action):
            done.append(action)
        elif not isinstance(action, StopJob | RemoveJob):
            stuck.add(action.session_id)
        tell(Acted())
    return done


def _apply(applier: Applier, action: Action) -> bool:
    """Whether it was done. What fails of one session is tried again after a moment, and keeps nobody else waiting."""
    if applier.refusals.hold(action):
        return False
    log.debug("apply %s", action)
    try:
        applier.apply(action)
    except JobRefused as refused:
        _refuse(applier, action, refused)
        return False
    except (sa.exc.DBAPIError, ImpossibleTransition) as error:
        if isinstance(error, sa.exc.OperationalError) and connection_lost(error):
            raise
        applier.refusals.add(action)
        log.error("%s failed and is tried again: %s", action, first_line(error))
        return False
    if sentence := account(action):
        log.info("%s", sentence)
    return True


def _refuse(applier: Applier, action: Action, refused: JobRefused) -> None:
    applier.refusals.add(action)
    what = type(action).__name__
    log.warning("session %d: %s was refused and is tried again: %s", action.session_id, what, refused.message)
    if isinstance(action, CreateJob):
        applier.apply(Wait(action.session_id, (refused.code, refused.message)))


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
        before_pass: Callable[[Lease], object] = lambda lease: None,
        after_pass: Callable[[Lease], bool] = lambda lease: False,
        tell: Tell = tell_nobody,
    ) -> None:
        self.database = database
        self.backend = backend
        self.period_seconds = period_seconds
        self.silence_seconds = silence_seconds
        self.pinned_weights = pinned_weights
        self.on_outage = on_outage
        self.regain = regain  # for a process that knows to be alone: a new term after a long outage
        self.before_pass = before_pass  # what has to be in step with the rows first; may raise BackendUnavailable
        self.after_pass = after_pass  # tells of what was done, and whether there is more to tell; may raise it too
        self.tell = tell
        self._lead(lease)
        self._last_outcome: Outcome = "ok"
        self.look = threading.Event()  # set it to say "look now"
        self._stop = threading.Event()

    def run(self) -> None:
        listener = threading.Thread(target=self._listen, name="controller-listen", daemon=True)
        listener.start()
        if self.regain is None:
            threading.Thread(target=self._keep_lease, name="controller-lease", daemon=True).start()
        while not self._stop.is_set():
            self.look.wait(self.period_seconds)
            self.look.clear()
            self._look()

    def stop(self) -> None:
        self._stop.set()
        self.look.set()

    def check_lease(self) -> None:
        """For requests that nothing else fences. Raises LeaseLost a little before the lease can have ended."""
        if time.monotonic() - self._renewed_at > LEASE_SECONDS - FENCE_SECONDS:
            raise LeaseLost(f"The lease of {self.lease.holder}, term {self.lease.term}, may have ended.")

    def _keep_lease(self) -> None:
        """A pass may take longer than the lease; a lease that is lost all the same ends the next pass."""
        pause_seconds = LEASE_SECONDS / 3
        while not self._stop.wait(pause_seconds):
            pause_seconds = LEASE_SECONDS / 3
            try:
                self._renew()
            except LeaseLost:
                self.look.set()
                return
            except sa.exc.OperationalError as error:
                log.warning("the lease could not be renewed: %s", first_line(error))
                pause_seconds = AGAIN_SECONDS  # there may be little of it left

    def _renew(self) -> None:
        asked_at = time.monotonic()
        leases.renew(self.database, self.lease)
        self._renewed_at = asked_at
        self.tell(Leads(self.lease, asked_at))

    def _lead(self, lease: Lease) -> None:
        self._renewed_at = time.monotonic()
        self.lease: Lease = lease
        self.applier = Applier(self.database, self.backend, lease, self.pinned_weights)
        self.tell(Leads(lease, self._renewed_at))

    def _look(self) -> None:
        """Passes until there is nothing to do."""
        try:
            for number in range(MOST_PASSES_AT_ONCE):
                if not self._pass(renews=number == 0):
                    break
        except LeaseLost:
            if self.regain is None:
                raise
            self._regain(self.regain)

    def _regain(self, regain: Callable[[], Lease]) -> None:
        try:
            self._lead(regain())
            self.look.set()
        except (LeaseHeld, sa.exc.OperationalError) as error:  # the next look finds the lease lost once more
            log.warning("The lease could not be taken again: %s", first_line(error))

    def _pass(self, renews: bool) -> bool:
        """Whether there may be more to do."""
        begun = time.monotonic()
        outcome, more = self._try_pass(renews)
        self.tell(Passed(outcome, time.monotonic() - begun))
        if outcome == "ok" and self._last_outcome != "ok":
            log.info("What was away answers again.")
        self._last_outcome = outcome
        return more

    def _try_pass(self, renews: bool) -> tuple[Outcome, bool]:
        try:
            if renews:
                self._renew()
            self.before_pass(self.lease)
            done = run_pass(self.database, self.backend, self.applier, self.silence_seconds, self.tell)
            untold = self.after_pass(self.lease)
            return "ok", bool(done) or untold
        except BackendUnavailable as error:
            self._log_outage("backend_away", f"{error} Looking again every {self.period_seconds:g} s.")
            return "backend_away", False
        except sa.exc.OperationalError as error:
            if lock_timed_out(error):  # of the lease's row
                log.warning("The pass was given up, and is begun again: %s", first_line(error))
                return "database_away", False
            if not connection_lost(error):
                raise
            self._log_outage("database_away", f"PostgreSQL is away, {first_line(error)}; looking again in a moment")
            if self.on_outage:
                self.on_outage()
            return "database_away", False

    def _log_outage(self, outcome: Outcome, sentence: str) -> None:
        """Aloud only when it begins."""
        log.log(logging.DEBUG if self._last_outcome == outcome else logging.WARNING, "%s", sentence)

    def _listen(self) -> None:
        """Turn NOTIFY into "look now". Losing it costs only time: the period remains."""
        while not self._stop.is_set():
            try:
                with self.database.connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self.look.set()
                    while not self._stop.is_set():
                        for _ in connection.notifies(timeout=1.0, stop_after=1):
                            self.look.set()
            except psycopg.OperationalError:
                self._stop.wait(1.0)
