"""`python -m tests.cluster.transcript`: what an operator sees of two sessions, for the README.

Real kubectl, API server, scheduler, controller and worker code; kwok plays the nodes, and the networks are fakes that
take their time. One session has all the GPUs, so that the other one waits for them.
"""

import tempfile
import threading
from pathlib import Path

from local.postgres import EmbeddedPostgres
from tests.cluster.cluster_runs import ClusterRun, cluster_run
from tests.cluster.conftest import CRD
from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.fake_nodes import CONTROL_PLANE_TAINT, GPU, FakeNodes
from tests.conftest import TEMPLATE, ensure_template, execute, passable_dir, url_of
from tests.libraries import write_photos
from tests.local_runs import wait_until

NAMESPACE = "photos"
PHOTOS = 480
SECONDS_PER_PHOTO = 0.4
SHOWN_AT = 60.0  # percent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, control_plane(Path(folder) / "control-plane") as cluster:
        _prepare(cluster)
        nodes = FakeNodes(cluster)
        nodes.add("control-plane", gpus=0, taints=(CONTROL_PLANE_TAINT,))
        server = EmbeddedPostgres(passable_dir())
        try:
            url = server.start()
            ensure_template(url)
            execute(url, "CREATE DATABASE {} TEMPLATE {}", "transcript", TEMPLATE)
            with cluster_run(cluster, nodes, NAMESPACE, url_of(url, "transcript"), Path(folder)) as run:
                _tell(run, Path(folder))
        finally:
            server.stop()


def _prepare(cluster: ControlPlane) -> None:
    cluster.kubectl("apply", f"--filename={CRD}")
    cluster.kubectl("wait", "--for=condition=Established", f"--filename={CRD}", "--timeout=60s")
    cluster.kubectl("create", "namespace", NAMESPACE)


def _tell(run: ClusterRun, folder: Path) -> None:
    run.engines.fake_faces.on_detect = lambda: threading.Event().wait(SECONDS_PER_PHOTO)
    one_gpu = {"resources": {"limits": {GPU: "1"}}}
    with run.controller(steps={"embed": one_gpu, "detect": one_gpu}):
        run.apply("holiday-2025", write_photos(folder / "photos/holidays/2025", PHOTOS))
        holiday = run.session_of("holiday-2025")
        run.claimed(holiday, "detect")
        run.apply("archive", write_photos(folder / "photos/archive", 2 * PHOTOS))
        wait_until(lambda: run.waiting("archive") == "Unschedulable", "the archive to wait for GPUs")
        wait_until(lambda: int(run.status("holiday-2025")["progress"].rstrip("%")) >= SHOWN_AT, "it to get on")
        _show(run, "get", "trainingsessions")
        _show(run, "describe", "ts", "archive")
        run.suspend("archive", True)
        run.until(run.session_of("archive"), "paused")
        run.engines.fake_faces.on_detect = lambda: None
        _show(run, "wait", "ts/holiday-2025", "--for=condition=Complete")
        _show(run, "get", "ts")
        _show(run, "explain", "ts.spec.suspend")


def _show(run: ClusterRun, *command: str) -> None:
    print(f"$ kubectl {' '.join(command)}")
    print(run.kubectl(*command))


if __name__ == "__main__":
    main()
