"""`trainyard controller`: drive the sessions of a database, by Jobs of a cluster or by threads of this process."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.pieces import calling, say_outage, stop_signals, work_context
from trainyard.settings import BadSetting, Settings, load_settings

if TYPE_CHECKING:
    from controller.lease import Lease
    from trainyard.database import Database

TRY_AGAIN_SECONDS = 2.0

log = logging.getLogger(__name__)


def controller(
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Of the cluster, for a controller outside it; inside, its service account's.")
    ] = None,
) -> None:
    """Drive the sessions of a database. One leads at a time; others wait for its lease to end.

    With TRAINYARD_KUBERNETES_SETTINGS, by Jobs of that cluster, with sessions as TrainingSession resources. Without,
    by threads of this process, which then needs the photos and the models; PostgreSQL and Qdrant are
    TRAINYARD_DATABASE_URL and TRAINYARD_QDRANT_URL, or the data directory's.
    """
    from trainyard.logs import log_to_stderr

    log_to_stderr()
    settings = load_settings()
    with stop_signals() as stop:
        if settings.kubernetes_settings is None:
            _lead_threads(settings, stop)
        else:
            _lead_cluster(settings, settings.kubernetes_settings, kubeconfig, stop)


def _lead_threads(settings: Settings, stop: threading.Event) -> None:
    from controller.loop import Controller
    from local.jobs import LocalJobs

    with work_context(settings, stop) as context:
        lease = _wait_for_lease(context.database, stop)
        if lease is None:
            return
        jobs = LocalJobs(context, changed=lambda: loop.look.set())
        loop = Controller(
            context.database,
            jobs,
            lease,
            silence_seconds=settings.silence_seconds,
            pinned_weights=settings.pinned_weights,
        )
        log.info("leading in term %d; jobs run as threads of this process", lease.term)
        with calling(loop.stop, when=stop):
            loop.run()
        for running in jobs.observe():
            jobs.stop(running)
        jobs.join()


def _lead_cluster(settings: Settings, file: Path, kubeconfig: Path | None, stop: threading.Event) -> None:
    from controller.kubernetes.client import Cluster
    from controller.kubernetes.leading import cluster_controller
    from controller.kubernetes.settings import load_kubernetes_settings

    described = load_kubernetes_settings(file)
    cluster = Cluster.connect(kubeconfig, described.namespace)
    with _database(settings, stop) as database:
        lease = _wait_for_lease(database, stop)
        if lease is None:
            return
        with cluster_controller(
            database,
            cluster,
            described,
            lease,
            defaults={"untrained": settings.untrained, "face_engine": settings.face_engine},
            silence_seconds=settings.silence_seconds,
            pinned_weights=settings.pinned_weights,
        ) as loop:
            log.info("leading in term %d; jobs run in namespace %s", lease.term, described.namespace)
            with calling(loop.stop, when=stop):
                loop.run()


@contextmanager
def _database(settings: Settings, stop: threading.Event) -> "Iterator[Database]":
    """Raises BadSetting and SchemaMismatch."""
    from trainyard.database import Database, check_schema

    if settings.database_url is None:
        raise BadSetting("TRAINYARD_DATABASE_URL is not set: name the PostgreSQL that the cluster's pods use too.")
    database = Database(settings.database_url, on_outage=say_outage, stop=stop)
    try:
        database.transact(check_schema)
        yield database
    finally:
        database.close()


def _wait_for_lease(database: "Database", stop: threading.Event) -> "Lease | None":
    """The lease, once whoever leads has let it end; None when told to stop before."""
    from controller import lease as leases

    said = False
    while not stop.is_set():
        try:
            return leases.take(database, f"{socket.gethostname()}/{os.getpid()}")
        except leases.LeaseHeld as held:
            if not said:
                log.info("%s Waiting for it to end.", held)
            said = True
            stop.wait(TRY_AGAIN_SECONDS)
    return None
