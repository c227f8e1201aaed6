"""Whole sessions on a cluster in tests: an installation in a namespace, controllers of it, sessions and their ends."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from controller import lease as leases
from controller.kubernetes.binding import bind_namespace
from controller.kubernetes.client import Cluster
from controller.kubernetes.leading import cluster_controller
from controller.loop import Controller
from jobs.context import Context
from tests.cluster.accounts import controller_account
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fake_nodes import FakeNodes
from tests.cluster.installations import bind_volumes, kubernetes_settings
from tests.cluster.played_pods import PlayedPods
from tests.engines import FakeEngines
from tests.local_runs import BATCHES, wait_until
from trainyard import sessions
from trainyard.database import Database
from trainyard.lifecycle import ENDED, Answer, request
from trainyard.sessions import NewSession
from trainyard.settings import Settings
from trainyard.summary import read_summary
from trainyard.tables import metadata
from trainyard.vectors import Vectors

DEFAULTS = {"untrained": True, "face_engine": "auto"}
PERIOD_SECONDS = 0.5


class ClusterRun:
    """One namespace and one database, a node, and workers for what is given to it; `kubeconfig` is its controller's.

    `rows` and `vectors` are what natural_keys reads.
    """

    def __init__(self, control_plane: ControlPlane, nodes: FakeNodes, kubeconfig: Path, context: Context) -> None:
        self.control_plane = control_plane
        self.nodes = nodes
        self.kubeconfig = kubeconfig
        self.namespace = json.loads(kubeconfig.read_text())["contexts"][0]["context"]["namespace"]
        self.node = f"node-{self.namespace}"
        self.database = context.database
        self.vectors = context.vectors
        self.engines: FakeEngines = context.engines  # type: ignore[assignment]
        self.admin = Cluster.connect(control_plane.admin, self.namespace)
        self.pods = PlayedPods(self.admin, context)

    @contextmanager
    def controller(self, cluster: Cluster | None = None, **settings: Any) -> Iterator[Controller]:
        """One that leads, in a thread; whoever led before is known to be dead."""
        lease = leases.take(self.database, f"test/{os.getpid()}/{threading.get_native_id()}", alone=True)
        ours = cluster or Cluster.connect(self.kubeconfig, self.namespace)
        bind_namespace(self.database, ours)
        with (
            closing(ours),
            cluster_controller(
                self.database,
                ours,
                kubernetes_settings(self.namespace, **settings),
                lease,
                defaults=DEFAULTS,
                period_seconds=PERIOD_SECONDS,
            ) as loop,
        ):
            thread = threading.Thread(target=loop.run, daemon=True)
            thread.start()
            try:
                yield loop
                assert thread.is_alive(), "the controller ended by itself"
            finally:
                loop.stop()
                thread.join()

    # Kubernetes' side

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.control_plane.kubectl(*arguments, f"--namespace={self.namespace}", stdin=stdin)

    def get(self, *what: str) -> dict[str, Any]:
        return self.control_plane.get(*what, f"--namespace={self.namespace}")

    def apply(self, name: str, root: Path, **spec: Any) -> None:
        """As an operator does."""
        resource = {
            "apiVersion": "trainyard.dev/v1alpha1",
            "kind": "TrainingSession",
            "metadata": {"name": name},
            "spec": {"rootPath": os.path.realpath(root), **spec},
        }
        self.kubectl("apply", "--filename=-", stdin=json.dumps(resource))

    def suspend(self, name: str, suspended: bool) -> None:
        patch = json.dumps({"spec": {"suspend": suspended}})
        self.kubectl("patch", "trainingsession", name, "--type=merge", f"--patch={patch}")

    def resources(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.get("trainingsessions")["items"]]

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.get("trainingsession", name).get("status", {}))

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        return {each["type"]: each for each in self.status(name).get("conditions", [])}.get(kind, {})

    def waiting(self, name: str) -> str | None:
        code: str | None = self.status(name).get("waiting", {}).get("code")
        return code

    def completed(self, name: str) -> None:
        self.kubectl("wait", f"trainingsession/{name}", "--for=condition=Complete", "--timeout=50s")

    def jobs(self) -> list[dict[str, Any]]:
        return list(self.get("jobs")["items"])

    def unended_pods(self) -> list[str]:
        items = self.get("pods")["items"]
        return [pod["metadata"]["name"] for pod in items if pod["status"].get("phase") in {"Pending", "Running"}]

    # The rows' side

    def begin(self, root: Path, **options: Any) -> int:
        """A session as the API makes it; its id."""
        new = NewSession(os.path.realpath(root), options={"faces": True, "untrained": True, **options})
        return self.database.transact(lambda connection: sessions.create(connection, new)[0])

    def ask(self, session_id: int, verb: str) -> Answer:
        return self.database.transact(lambda connection: request(connection, session_id, verb))

    def delete(self, session_id: int) -> Answer:
        return self.database.transact(lambda connection: sessions.delete(connection, session_id))

    def rows(self, statement: str, **parameters: Any) -> list[Any]:
        return self.database.transact(lambda connection: list(connection.execute(sa.text(statement), parameters)))

    def session_of(self, name: str) -> int:
        """The session of this resource, once it has one."""
        found = "SELECT id FROM training_sessions WHERE resource_name = :name AND resource_gone_at IS NULL"
        return int(wait_until(lambda: self.rows(found, name=name), f"the session of {name}")[0].id)

    def summary(self, session_id: int) -> dict[str, Any]:
        return self.database.transact(lambda connection: read_summary(connection, session_id))

    def overall(self, session_id: int) -> str:
        return str(self.rows("SELECT status FROM training_sessions WHERE id = :id", id=session_id)[0].status)

    def until(self, session_id: int, status: str) -> None:
        wait_until(lambda: self.overall(session_id) == status, f"session {session_id} to be {status}")

    def ended(self, session_id: int) -> dict[str, Any]:
        wait_until(lambda: self.overall(session_id) in ENDED, f"session {session_id} to end")
        return self.summary(session_id)

    def step(self, session_id: int, step: str) -> Any:
        return self.rows("SELECT * FROM steps WHERE session_id = :id AND step = :step", id=session_id, step=step)[0]

    def claimed(self, session_id: int, step: str) -> None:
        """Once a worker of the step's running attempt has begun."""
        found = """
            SELECT 1 FROM steps JOIN shards USING (session_id, step, attempt)
            WHERE session_id = :id AND step = :step AND status = 'running' AND claim > 0
        """
        wait_until(lambda: self.rows(found, id=session_id, step=step), f"{step} of session {session_id} to begin")

    def all_shards_finished(self, session_id: int, step: str) -> bool:
        unfinished = "SELECT 1 FROM shards WHERE session_id = :id AND step = :step AND finished_at IS NULL"
        return not self.rows(unfinished, id=session_id, step=step)

    # What may befall it

    def expire_lease(self) -> None:
        """As time does, when its holder is dead."""
        self._execute("UPDATE controller_lease SET expires_at = clock_timestamp() - interval '1 s'")

    def restore_empty_database(self) -> None:
        """As from a backup made when there was nothing in it; Qdrant keeps what it has."""
        tables = ", ".join(table.name for table in metadata.sorted_tables if table.name != "installation")
        self._execute(f"TRUNCATE {tables} RESTART IDENTITY")

    def skew_database_clock(self, minutes: int) -> None:
        """What PostgreSQL says the time is from the next connection on: so many minutes from everybody else's."""
        skewed = f"pg_catalog.clock_timestamp() + interval '{minutes} min'"
        self._execute(
            "CREATE SCHEMA skewed",
            f"CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT {skewed} $$",
            f"CREATE FUNCTION skewed.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT {skewed} $$",
            f"ALTER DATABASE {self.database.engine.url.database} SET search_path = skewed, pg_catalog, public",
        )
        self.database.engine.dispose()

    def _execute(self, *statements: str) -> None:
        self.database.transact(lambda connection: [connection.execute(sa.text(each)) for each in statements] and None)

    def at_rest(self) -> None:
        """Nothing is left at work: no pod, and no shard of an attempt that runs."""
        wait_until(lambda: not self.unended_pods(), "every pod to end")
        assert self.rows("SELECT session_id, step FROM steps WHERE status = 'running'") == []


@contextmanager
def cluster_run(
    control_plane: ControlPlane, nodes: FakeNodes, namespace: str, database_url: str, folder: Path
) -> Iterator[ClusterRun]:
    kubeconfig = controller_account(control_plane, namespace)
    bind_volumes(control_plane, namespace)
    nodes.add(f"node-{namespace}")
    settings = Settings(data_dir=folder / "data", device="cpu", untrained=True, **BATCHES)
    with (
        closing(Database(database_url, pool_size=16)) as database,
        closing(Vectors.local(folder / "qdrant")) as vectors,
    ):
        context = Context(database, vectors, settings, FakeEngines(settings), threading.Event(), "played")
        run = ClusterRun(control_plane, nodes, kubeconfig, context)
        run.pods.start()
        try:
            yield run
        finally:
            run.pods.stop()
            run.admin.close()
