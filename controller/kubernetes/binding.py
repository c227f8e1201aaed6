"""One installation is one database and one namespace: which one, is written down when it is first led there.

In any other namespace, or in one of the same name on another cluster, every resource would look deleted, and every
session would be cancelled for that.
"""

import logging
import threading

import sqlalchemy as sa

from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import ClusterUnavailable, NotFound, Throttled
from controller.kubernetes.paths import namespace_path
from trainyard.database import Database
from trainyard.tables import installation

log = logging.getLogger(__name__)

AGAIN_SECONDS = 2.0


class WrongNamespace(Exception):
    """The settings name a namespace that is not there, or not the installation's."""


def bind_when_there(database: Database, cluster: Cluster, stop: threading.Event, *, rebind: bool = False) -> bool:
    """`bind_namespace` once the API server answers; False when told to stop before."""
    said = False
    while not stop.is_set():
        try:
            bind_namespace(database, cluster, rebind=rebind)
            return True
        except (ClusterUnavailable, Throttled) as error:
            log.log(logging.DEBUG if said else logging.WARNING, "%s", error.message)
            said = True
            stop.wait(AGAIN_SECONDS)
    return False


def bind_namespace(database: Database, cluster: Cluster, *, rebind: bool = False) -> None:
    """Take the installation to this namespace, unless it belongs to another one already; `rebind`: even then.

    Raises WrongNamespace, and ClusterError.
    """
    namespace = cluster.namespace
    uid = _uid_of(cluster)
    i = installation.c
    mine = sa.or_(i.namespace_uid.is_(None), i.namespace_uid == uid, sa.literal(rebind))
    bound = sa.update(installation).where(mine).values(namespace=namespace, namespace_uid=uid)
    if database.transact(lambda connection: connection.execute(bound).rowcount):
        return
    before = database.transact(lambda connection: connection.execute(sa.select(i.namespace)).scalar_one())
    which = f"another namespace {namespace}, of another cluster or since deleted" if before == namespace else before
    raise WrongNamespace(
        f"This database's sessions are in {which}, and not in this namespace {namespace}. Correct `namespace` in the "
        "settings, the kubeconfig, or TRAINYARD_DATABASE_URL. If the namespace before is gone for good, --rebind takes "
        "the installation here: what is unfinished there is cancelled."
    )


def _uid_of(cluster: Cluster) -> str:
    try:
        return str(cluster.get(namespace_path(cluster.namespace))["metadata"]["uid"])
    except NotFound:
        raise WrongNamespace(
            f"There is no namespace {cluster.namespace} on this cluster; correct `namespace` in the settings, or make "
            "it first."
        ) from None
