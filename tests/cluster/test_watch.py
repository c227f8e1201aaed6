"""Watches of the real API server, over its encrypted connections and through its outages."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from controller.kubernetes.client import Cluster
from controller.kubernetes.paths import jobs_path
from controller.kubernetes.watch import Watch
from tests.cluster.control_plane import ControlPlane
from tests.cluster.test_client import job
from tests.local_runs import wait_until


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Iterator[Cluster]:
    connected = Cluster.connect(control_plane.admin, namespace)
    yield connected
    connected.close()


def test_jobs_are_seen_as_they_come_change_and_go(cluster: Cluster) -> None:
    create(cluster, "embed")
    create(cluster, "of-someone-else", number="2")
    with watching(cluster, labels="number=1") as (watch, told):
        assert watch.snapshot() == {"embed": 1}
        assert told.is_set()
        create(cluster, "detect")
        wait_until(lambda: watch.snapshot() == {"embed": 1, "detect": 1}, "the new Job")
        cluster.patch(jobs_path(cluster.namespace, "embed"), {"spec": {"parallelism": 3}})
        wait_until(lambda: watch.snapshot()["embed"] == 3, "the change")
        cluster.delete(jobs_path(cluster.namespace, "detect"), propagation="Background")
        wait_until(lambda: watch.snapshot() == {"embed": 3}, "the deletion")
        cluster.patch(jobs_path(cluster.namespace, "embed"), {"metadata": {"labels": {"number": "2"}}})
        wait_until(lambda: watch.snapshot() == {}, "the Job that is ours no more")
    assert cluster.requests["list", "jobs"] == 1


def test_stopping_does_not_wait_for_the_server(cluster: Cluster) -> None:
    with watching(cluster) as (watch, _):
        wait_until(lambda: cluster.requests["watch", "jobs"], "the watch")
        watch.stop()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("watch ")]


def test_an_outage_makes_nothing_disappear_and_is_followed_by_a_full_list(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    create(cluster, "embed")
    with watching(cluster) as (watch, _):
        with control_plane.outage():
            wait_until(lambda: cluster.requests["list", "jobs"] > 1, "a try")
            assert watch.snapshot() == {"embed": 1}
        create(cluster, "detect")
        wait_until(lambda: set(watch.snapshot()) == {"embed", "detect"}, "what was made after it")


@contextmanager
def watching(cluster: Cluster, labels: str = "") -> Iterator[tuple[Watch, threading.Event]]:
    """A watch that knows all Jobs' parallelism, and the sign that it gives."""
    told = threading.Event()
    watch = Watch(cluster, jobs_path(cluster.namespace), labels=labels, keep=_parallelism, changed=told.set)
    watch.start()
    try:
        assert watch.wait_synced(60)
        yield watch, told
    finally:
        watch.stop()


def create(cluster: Cluster, name: str, number: str = "1") -> None:
    cluster.create(jobs_path(cluster.namespace), job(name, number=number))


def _parallelism(item: dict[str, Any]) -> int:
    return int(item["spec"]["parallelism"])
