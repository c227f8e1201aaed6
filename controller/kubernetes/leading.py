"""A controller of a cluster, put together: resources and rows in step first, then the plan, by Jobs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from controller.events import Acted
from controller.kubernetes.client import Cluster
from controller.kubernetes.jobs import KubernetesJobs
from controller.kubernetes.resource_mirror import ResourceMirror
from controller.kubernetes.settings import KubernetesSettings
from controller.lease import Lease
from controller.loop import Controller
from trainyard.database import Database
from trainyard.tables import installation

SYNC_SECONDS = 3.0  # each; the lease is not renewed meanwhile


@contextmanager
def cluster_controller(
    database: Database,
    cluster: Cluster,
    settings: KubernetesSettings,
    lease: Lease,
    *,
    defaults: Mapping[str, Any],
    **of_controller: Any,
) -> Iterator[Controller]:
    """A Controller that leads by this lease, its watches running; `run` is the caller's to call.

    `defaults` are as ResourceMirror takes them, `of_controller` as Controller does.
    """

    def look() -> None:
        loop.look.set()

    def guard() -> None:
        loop.check_lease()
        loop.tell(Acted())  # not only the plan's actions take time: resources are written too

    found = database.transact(lambda connection: connection.execute(sa.select(installation.c.id)).scalar_one())
    mirror = ResourceMirror(cluster, database, defaults, look)
    jobs = KubernetesJobs(cluster, settings, found, mirror.owner_of, look)
    loop = Controller(
        database,
        jobs,
        lease,
        before_pass=mirror.follow,
        after_pass=lambda lease: mirror.show(lease)[1],
        **of_controller,
    )
    cluster.guard = guard
    mirror.start()
    jobs.start()
    mirror.wait_synced(SYNC_SECONDS)  # what is not listed by then is waited for pass by pass
    jobs.wait_synced(SYNC_SECONDS)
    try:
        yield loop
    finally:
        jobs.stop_watching()
        mirror.stop_watching()
