"""What a controller asks of the API server, as metrics; and whether it knows the cluster."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from controller.kubernetes.client import Cluster
from controller.kubernetes.metrics import ClusterMetrics
from controller.kubernetes.paths import jobs_path, pods_path
from controller.kubernetes.readiness import QUIET_SECONDS, not_ready
from controller.kubernetes.watch import Watch
from tests.local_runs import wait_until
from tests.scripted_api import Answer, Lines, ScriptedApi, scripted_api

JOBS = jobs_path("photos")
EMPTY = Answer({"items": [], "metadata": {"resourceVersion": "1"}})
QUIET = Lines((), "wait")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ScriptedApi]:
    with scripted_api(tmp_path / "kubeconfig") as scripted:
        yield scripted


@pytest.fixture
def cluster(api: ScriptedApi, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster.connect(tmp_path / "kubeconfig", "photos", sleep=lambda seconds: None)
    yield made
    made.close()


def scrape(cluster: Cluster) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(ClusterMetrics(cluster))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    short = "trainyard_controller_"
    return {
        (sample.name.removeprefix(short), *(text for _, text in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_are_counted_by_verb_and_resource(api: ScriptedApi, cluster: Cluster) -> None:
    assert scrape(cluster) == {}
    api.answers = [EMPTY]
    cluster.list(JOBS)
    cluster.list(JOBS)
    cluster.get(pods_path("photos", "a"))
    assert scrape(cluster) == {
        ("kubernetes_requests_total", "jobs", "list"): 2,
        ("kubernetes_requests_total", "pods", "get"): 1,
    }


def test_a_watch_says_how_long_it_has_heard_nothing(api: ScriptedApi, cluster: Cluster) -> None:
    api.answers = [EMPTY, QUIET]
    watch = Watch(cluster, JOBS, keep=lambda item: item, changed=lambda: None)
    assert cluster.watches == ()  # until it is started
    watch.start()
    assert watch.wait_synced(30)
    wait_until(lambda: cluster.sent()["watch", "jobs"] == 1, "the watch")
    assert 0 <= scrape(cluster)["watch_silent_seconds", "jobs"] < inf
    assert not_ready(cluster.watches) is None
    api.closing.set()
    watch.stop()


@dataclass(frozen=True)
class Seen:
    """A watch in the given state."""

    synced: bool
    fresh_seconds: float
    resource: str = "jobs"


def test_nothing_watched_is_nothing_missing() -> None:
    assert not_ready([]) is None


def test_every_watch_must_have_listed_all_there_is() -> None:
    told = "The API server has not listed all jobs yet; the log has its words."
    assert not_ready([Seen(True, 1.0, "trainingsessions"), Seen(False, inf)]) == told


def test_a_watch_that_hears_nothing_for_long_knows_nothing_any_more() -> None:
    assert not_ready([Seen(True, QUIET_SECONDS)]) is None
    assert not_ready([Seen(True, 200.0)]) == "The API server has said nothing about jobs for 200 s."
