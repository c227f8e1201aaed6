"""One real control plane for the whole run; a namespace and nodes of its own for each test."""

from collections.abc import Generator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.binaries import CONTROL_PLANE, binary
from tests.cluster.cluster_runs import ClusterRun, cluster_run
from tests.cluster.control_plane import ControlPlane, KubectlFailed
from tests.cluster.control_plane import control_plane as started_control_plane
from tests.cluster.fake_nodes import CONTROL_PLANE_TAINT, FakeNodes
from tests.local_runs import wait_until

CRD = Path(__file__).parents[2] / "charts/trainyard/crds/trainingsessions.yaml"


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # a build takes minutes, and says so
        for name in CONTROL_PLANE:
            binary(name)
    with started_control_plane(tmp_path_factory.mktemp("kubernetes") / "control-plane") as started:
        # Kubernetes deletes no pod of a lost node when every node is lost: this one never is.
        FakeNodes(started).add("control-plane", gpus=0, taints=(CONTROL_PLANE_TAINT,))
        yield started


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace in which pods can be made; its deletion afterwards is not waited for."""
    name = f"test-{uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    wait_until(lambda: _has_default_account(control_plane, name), f"namespace {name} to have its service account")
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def nodes(control_plane: ControlPlane) -> Iterator[FakeNodes]:
    """No node that takes pods until the test adds one; those go with it."""
    of_test = FakeNodes(control_plane)
    yield of_test
    of_test.remove_all()


@pytest.fixture(scope="session")
def with_crd(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, once it knows TrainingSessions."""
    control_plane.kubectl("apply", f"--filename={CRD}")
    control_plane.kubectl("wait", "--for=condition=Established", f"--filename={CRD}", "--timeout=60s")
    wait_until(lambda: _is_served(control_plane), "the kind to be served")
    return control_plane


@pytest.fixture
def run(
    with_crd: ControlPlane, nodes: FakeNodes, namespace: str, database_url: str, tmp_path: Path
) -> Iterator[ClusterRun]:
    """An installation at rest; its controllers are the test's to start."""
    with cluster_run(with_crd, nodes, namespace, database_url, tmp_path) as installed:
        yield installed


def _is_served(control_plane: ControlPlane) -> bool:
    try:
        return bool(control_plane.kubectl("get", "trainingsessions", "--output=json"))
    except KubectlFailed:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the servers said last, under a failed test."""
    report = yield
    started = getattr(item, "funcargs", {}).get("control_plane")
    if report.failed and started is not None:
        report.sections.append(("Control plane", started.last_lines()))
    return report


def _has_default_account(control_plane: ControlPlane, namespace: str) -> bool:
    try:
        control_plane.get("serviceaccount", "default", f"--namespace={namespace}")
    except KubectlFailed:
        return False
    return True
