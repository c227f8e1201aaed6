"""Everything Trainyard needs, in one process and one folder: PostgreSQL, Qdrant's local engine, controller, jobs."""

import logging
import os
import socket
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from controller import lease
from controller.loop import Controller
from jobs.context import Context
from jobs.engines.loading import Engines
from jobs.worker import worker_name
from local.data_dir import DataDir
from local.jobs import LocalJobs
from local.postgres import EmbeddedPostgres
from trainyard.database import Database, migrate
from trainyard.settings import Settings
from trainyard.vectors import Vectors

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
OUTAGE_SECONDS = 60.0  # our own PostgreSQL is brought back by ourselves; more than this is no restart


class ControllerDied(Exception):
    """The controller's loop ended by an error; nothing moves any more."""


class LocalInstallation:
    """The data directory, locked, with everything on it running. A context manager.

    `engines` are the networks to use, those of the settings where none are given. Raises DataDirBusy,
    DataDirUnusable, PostgresFailed, VectorsUnusable, LeaseLost.
    """

    def __init__(self, settings: Settings, engines: Engines | None = None) -> None:
        self.settings = settings
        self.engines = engines or Engines(settings)
        self._open = ExitStack()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            folder = opening.enter_context(DataDir(self.settings.data_dir))
            self._postgres = EmbeddedPostgres(folder.path)
            url = self._postgres.start()
            opening.callback(self._postgres.stop)
            migrate(url)
            self.database = Database(url, outage_seconds=OUTAGE_SECONDS, pool_size=8)
            opening.callback(self.database.close)
            # The controller brings a lost PostgreSQL back, so it must see the loss, not ride it out.
            self._steering = Database(url, pool_size=2)
            opening.callback(self._steering.close)
            self.vectors = Vectors.local(folder.folder("qdrant"))
            opening.callback(self.vectors.close)
            self._make_controller()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._open.close()

    def _make_controller(self) -> None:
        context = Context(
            database=self.database,
            vectors=self.vectors,
            settings=self.settings,
            engines=self.engines,
            stop=threading.Event(),
            worker=worker_name(),
        )
        self.jobs = LocalJobs(context, changed=lambda: self.controller.look.set())
        self.controller = Controller(
            self._steering,
            self.jobs,
            self._take_lease(),
            period_seconds=PERIOD_SECONDS,
            silence_seconds=self.settings.silence_seconds,
            pinned_weights=self.settings.pinned_weights,
            on_outage=self.bring_back_postgres,
            regain=self._take_lease,
        )

    def _take_lease(self) -> lease.Lease:
        """The data directory's lock says that no other controller of this database can be alive."""
        return lease.take(self._steering, f"{socket.gethostname()}/{os.getpid()}", alone=True)

    def start(self) -> None:
        """Let the controller run, in a thread of its own."""
        self._thread = threading.Thread(target=self._control, name="controller", daemon=True)
        self._thread.start()

    def _control(self) -> None:
        try:
            self.controller.run()
        except BaseException as error:
            log.exception("the controller died")
            self._failure = error

    def check(self) -> None:
        """Raises ControllerDied when nothing can move any more."""
        if self._failure is not None:
            raise ControllerDied(f"The controller ended: {self._failure}") from self._failure

    def bring_back_postgres(self) -> None:
        self._postgres.ensure_running()

    def stop(self) -> None:
        """Stop the controller, and the workers at their batch."""
        self.controller.stop()
        if self._thread is not None:
            self._thread.join()
        for job in self.jobs.observe():
            self.jobs.stop(job)
        self.jobs.join()
