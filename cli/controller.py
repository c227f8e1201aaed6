"""`trainyard controller`: drive the sessions of a database, by Jobs of a cluster or by threads of this process."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.pieces import calling, database_url, stop_signals, work_context
from trainyard.settings import BadSetting, Settings, load_settings

if TYPE_CHECKING:
    from controller.endpoint import Endpoint
    from trainyard.database import Database

HOST = "127.0.0.1"
PORT = 8081

HostOption = Annotated[
    str,
    typer.Option(help="Address for probes and metrics; any but this machine's own lets whoever reaches it read them."),
]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port for probes and metrics; 0 takes a free one.")]

log = logging.getLogger(__name__)


def controller(
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Of the cluster, for a controller outside it; inside, its service account's.")
    ] = None,
    host: HostOption = HOST,
    port: PortOption = PORT,
    rebind: Annotated[
        bool,
        typer.Option(
            "--rebind",
            help="Take the installation to this namespace, the one before being gone: what is unfinished there is "
            "cancelled.",
        ),
    ] = False,
) -> None:
    """Drive the sessions of a database. One leads at a time; others wait for its lease to end.

    With TRAINYARD_KUBERNETES_SETTINGS, by Jobs of that cluster, with sessions as TrainingSession resources. Without,
    by threads of this process, which then needs the photos and the models; PostgreSQL and Qdrant are
    TRAINYARD_DATABASE_URL and TRAINYARD_QDRANT_URL, or the data directory's.

    Leading or not, it answers /livez (it gets on), /readyz (and could work just now) and /metrics (for Prometheus).
    """
    from trainyard.logs import log_to_stderr

    log_to_stderr()
    settings = load_settings()
    with stop_signals() as stop, _endpoint(host, port) as endpoint:
        if settings.kubernetes_settings is None:
            _lead_threads(settings, stop, endpoint)
        else:
            _lead_cluster(settings, settings.kubernetes_settings, kubeconfig, rebind, stop, endpoint)


@contextmanager
def _endpoint(host: str, port: int) -> "Iterator[Endpoint]":
    """Served until the block ends. Raises CannotListen."""
    from controller.endpoint import Endpoint
    from controller.serving import listen, serving, url_of

    endpoint = Endpoint()
    with listen(host, port) as bound, serving(bound, endpoint.routes()):
        log.info("probes and metrics at %s", url_of(bound))
        yield endpoint


def _lead_threads(settings: Settings, stop: threading.Event, endpoint: "Endpoint") -> None:
    # Workers ride an outage of the database out; the loop has to see it, or no look would end and nobody could say so.
    with _database(database_url(settings), stop, endpoint) as database:
        if not stop.is_set():
            _run_threads(settings, database, stop, endpoint)


def _run_threads(settings: Settings, database: "Database", stop: threading.Event, endpoint: "Endpoint") -> None:
    from controller.loop import Controller
    from controller.standby import leading
    from local.jobs import LocalJobs

    with (
        work_context(settings, stop) as context,
        leading(database, _holder(), stop, endpoint.tell) as lease,
    ):
        if lease is None:
            return
        jobs = LocalJobs(context, changed=lambda: loop.look.set())
        loop = Controller(
            database,
            jobs,
            lease,
            silence_seconds=settings.silence_seconds,
            pinned_weights=settings.pinned_weights,
            tell=endpoint.tell,
        )
        log.info("leading in term %d; jobs run as threads of this process", lease.term)
        with calling(loop.stop, when=stop):
            loop.run()
        for running in jobs.observe():
            jobs.stop(running)
        jobs.join()


def _lead_cluster(
    settings: Settings,
    file: Path,
    kubeconfig: Path | None,
    rebind: bool,
    stop: threading.Event,
    endpoint: "Endpoint",
) -> None:
    from controller.kubernetes.binding import bind_when_there
    from controller.kubernetes.client import Cluster
    from controller.kubernetes.leading import cluster_controller
    from controller.kubernetes.metrics import ClusterMetrics
    from controller.kubernetes.readiness import not_ready
    from controller.kubernetes.settings import load_kubernetes_settings
    from controller.standby import leading

    described = load_kubernetes_settings(file)
    cluster = Cluster.connect(kubeconfig, described.namespace)
    endpoint.include(ClusterMetrics(cluster), lambda: not_ready(cluster.watches))
    with _database(_url_of_cluster(settings), stop, endpoint) as database:
        if not bind_when_there(database, cluster, stop, rebind=rebind):
            return
        with leading(database, _holder(), stop, endpoint.tell) as lease:
            if lease is None:
                return
            log.info("leading in term %d; jobs run in namespace %s", lease.term, described.namespace)
            with (
                cluster_controller(
                    database,
                    cluster,
                    described,
                    lease,
                    defaults={"untrained": settings.untrained, "face_engine": settings.face_engine},
                    silence_seconds=settings.silence_seconds,
                    pinned_weights=settings.pinned_weights,
                    tell=endpoint.tell,
                ) as loop,
                calling(loop.stop, when=stop),
            ):
                loop.run()
    log.info("stopped")


def _url_of_cluster(settings: Settings) -> str:
    if settings.database_url is None:
        raise BadSetting("TRAINYARD_DATABASE_URL is not set: name the PostgreSQL that the cluster's pods use too.")
    return settings.database_url


@contextmanager
def _database(url: str, stop: threading.Event, endpoint: "Endpoint") -> "Iterator[Database]":
    """Once it answers, or told to stop before. Raises SchemaMismatch."""
    from controller.standby import wait_for_schema
    from trainyard.database import Database

    with closing(Database(url, stop=stop)) as database:
        wait_for_schema(database, stop, endpoint.tell)
        yield database


def _holder() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"
