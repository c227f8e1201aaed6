"""An installation belongs to one namespace; a controller that looks elsewhere takes no resource for deleted."""

import threading
from contextlib import closing
from pathlib import Path

import pytest

from controller.kubernetes.binding import WrongNamespace, bind_namespace, bind_when_there
from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import Forbidden
from tests.cluster.cluster_runs import ClusterRun
from tests.cluster.commands import controller_command
from tests.libraries import write_photos
from tests.local_runs import wait_until


def test_an_installation_stays_in_its_namespace_until_it_is_told_to_move(run: ClusterRun) -> None:
    with closing(Cluster.connect(run.control_plane.admin, "default")) as elsewhere:
        bind_namespace(run.database, run.admin)
        bind_namespace(run.database, run.admin)
        with pytest.raises(WrongNamespace, match=f"are in {run.namespace}, and not in this namespace default"):
            bind_namespace(run.database, elsewhere)
        bind_namespace(run.database, elsewhere, rebind=True)
        with pytest.raises(WrongNamespace, match="are in default"):
            bind_namespace(run.database, run.admin)


def test_a_namespace_made_anew_is_another_one(run: ClusterRun) -> None:
    bind_namespace(run.database, run.admin)
    run.rows("UPDATE installation SET namespace_uid = 'of before' RETURNING 1")
    with pytest.raises(WrongNamespace, match="of another cluster or since deleted"):
        bind_namespace(run.database, run.admin)


def test_a_namespace_that_is_not_there_is_told(run: ClusterRun) -> None:
    with (
        closing(Cluster.connect(run.control_plane.admin, "nosuch")) as elsewhere,
        pytest.raises(WrongNamespace, match="There is no namespace nosuch"),
    ):
        bind_namespace(run.database, elsewhere)
    with closing(Cluster.connect(run.kubeconfig, "nosuch")) as elsewhere, pytest.raises(Forbidden):
        bind_namespace(run.database, elsewhere)


def test_an_api_server_that_is_away_is_waited_for(run: ClusterRun) -> None:
    found: list[bool] = []
    stop = threading.Event()
    waiting = threading.Thread(target=lambda: found.append(bind_when_there(run.database, run.admin, stop)))
    with run.control_plane.outage():
        waiting.start()
        asked = run.admin.requests["get", "namespaces"]
        wait_until(lambda: run.admin.requests["get", "namespaces"] > asked + 2, "it to be asked again")
        assert not found
    waiting.join()
    assert found == [True]


def test_a_controller_of_a_wrong_namespace_cancels_nothing(run: ClusterRun, tmp_path: Path) -> None:
    let_go = run.pods.hold("discover")
    with run.controller():
        run.apply("victim", write_photos(tmp_path / "photos", 4), faceDetection={"enabled": False})
        run.claimed(run.session_of("victim"), "discover")
    run.expire_lease()
    with controller_command(run, tmp_path, namespace="default") as wrong:
        _, said = wrong.communicate(timeout=60)
    assert wrong.returncode == 2
    assert f"are in {run.namespace}" in said
    let_go()
    with run.controller():
        run.completed("victim")
