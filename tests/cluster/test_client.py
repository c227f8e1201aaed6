"""The client against the real API server: what it makes, finds, changes and deletes, and how it is refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import ClusterUnavailable, Conflict, Forbidden, Gone, NotFound, Refused
from controller.kubernetes.paths import events_path, jobs_path, pods_path
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fake_nodes import FakeNodes
from tests.local_runs import wait_until

ANOTHER_UID = "5d2cf8f9-9d2b-4a6c-8f6f-0d5a4cf0c0de"


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Iterator[Cluster]:
    connected = Cluster.connect(control_plane.admin, namespace)
    yield connected
    connected.close()


def test_what_is_made_is_found_and_is_made_once(cluster: Cluster) -> None:
    made = cluster.create(jobs_path(cluster.namespace), job("embed"))
    found = cluster.get(jobs_path(cluster.namespace, "embed"))
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(Conflict, match=r'jobs\.batch "embed" already exists') as caught:
        cluster.create(jobs_path(cluster.namespace), job("embed"))
    assert caught.value.reason == "AlreadyExists"


def test_a_dry_run_is_judged_and_makes_nothing(cluster: Cluster) -> None:
    cluster.create(jobs_path(cluster.namespace), job("embed"), dry_run=True)
    with pytest.raises(Refused, match=r"spec\.completions: Invalid value"):
        cluster.create(jobs_path(cluster.namespace), job("embed", completions=-1), dry_run=True)
    with pytest.raises(NotFound, match=r'jobs\.batch "embed" not found'):
        cluster.get(jobs_path(cluster.namespace, "embed"))


def test_a_list_is_the_sum_of_its_pages(cluster: Cluster) -> None:
    for number in range(5):
        cluster.create(jobs_path(cluster.namespace), job(f"embed-{number}", number=str(number % 2)))
    listing = cluster.list(jobs_path(cluster.namespace), page=2)
    assert names(listing.items) == [f"embed-{number}" for number in range(5)]
    assert cluster.requests["list", "jobs"] == 3
    pages = list(cluster.pages(jobs_path(cluster.namespace), labels="number=0", page=2))
    assert [names(page) for page in pages] == [["embed-0", "embed-2"], ["embed-4"]]
    assert names(cluster.list(jobs_path(cluster.namespace), fields="metadata.name=embed-3").items) == ["embed-3"]


def test_only_the_one_that_is_meant_is_deleted(cluster: Cluster) -> None:
    made = cluster.create(jobs_path(cluster.namespace), job("embed"))
    path = jobs_path(cluster.namespace, "embed")
    with pytest.raises(Conflict, match="does not match the UID in record"):
        cluster.delete(path, uid=ANOTHER_UID)
    cluster.delete(path, uid=made["metadata"]["uid"], propagation="Foreground")
    wait_until(lambda: not cluster.list(jobs_path(cluster.namespace)).items, "the Job to go")
    cluster.delete(path, uid=made["metadata"]["uid"])  # once more: nothing to do


def test_a_job_deleted_in_the_foreground_is_seen_until_its_pods_are_gone(cluster: Cluster, nodes: FakeNodes) -> None:
    nodes.add("cpus")
    cluster.create(jobs_path(cluster.namespace), job("embed"))
    pods = wait_until(lambda: cluster.list(pods_path(cluster.namespace)).items, "the pod")
    held = {"metadata": {"finalizers": [*pods[0]["metadata"].get("finalizers", []), "test.trainyard.dev/hold"]}}
    pod = pods_path(cluster.namespace, pods[0]["metadata"]["name"])
    cluster.patch(pod, held)
    cluster.delete(jobs_path(cluster.namespace, "embed"), propagation="Foreground")
    wait_until(lambda: cluster.get(pod)["metadata"].get("deletionTimestamp"), "the pod to be told")
    (left,) = cluster.list(jobs_path(cluster.namespace)).items
    assert left["metadata"]["deletionTimestamp"]
    cluster.patch(pod, {"metadata": {"finalizers": None}})
    wait_until(lambda: not cluster.list(jobs_path(cluster.namespace)).items, "the Job to go")


def test_a_patch_changes_what_it_names_of_the_one_that_is_meant(cluster: Cluster) -> None:
    made = cluster.create(jobs_path(cluster.namespace), job("embed"))
    path = jobs_path(cluster.namespace, "embed")
    patched = cluster.patch(path, {"metadata": {"uid": made["metadata"]["uid"]}, "spec": {"parallelism": 0}})
    assert patched["spec"]["parallelism"] == 0
    assert patched["spec"]["completions"] == 1
    with pytest.raises(Conflict, match="field is immutable"):
        cluster.patch(path, {"metadata": {"uid": ANOTHER_UID}, "spec": {"parallelism": 1}})
    with pytest.raises(Conflict, match="the object has been modified"):
        cluster.patch(path, {"metadata": {"resourceVersion": "1"}, "spec": {"parallelism": 1}})
    operations = [
        {"op": "test", "path": "/metadata/uid", "value": made["metadata"]["uid"]},
        {"op": "replace", "path": "/spec/parallelism", "value": 2},
    ]
    assert cluster.patch(path, operations, kind="json")["spec"]["parallelism"] == 2


def test_a_watch_tells_what_happens_after_a_list(cluster: Cluster) -> None:
    listing = cluster.list(jobs_path(cluster.namespace))
    cluster.create(jobs_path(cluster.namespace), job("embed", number="1"))
    cluster.create(jobs_path(cluster.namespace), job("embed-other"))
    cluster.delete(jobs_path(cluster.namespace, "embed"), propagation="Background")
    stream = cluster.watch(jobs_path(cluster.namespace), listing.resource_version, labels="number=1")
    kinds = []
    for kind, item in stream:
        assert item["metadata"]["name"] == "embed"
        kinds.append(kind)
        if kind == "DELETED":
            break
    stream.close()
    assert kinds[0] == "ADDED"
    assert set(kinds[1:-1]) <= {"MODIFIED"}


def test_a_watch_is_ended_by_the_server_in_time(cluster: Cluster) -> None:
    version = cluster.list(jobs_path(cluster.namespace)).resource_version
    cluster.create(jobs_path(cluster.namespace), job("embed"))
    told = list(cluster.watch(jobs_path(cluster.namespace), version, timeout_seconds=2))
    assert told[0][0] == "ADDED"
    assert told[0][1]["metadata"]["name"] == "embed"


def test_the_server_says_which_right_is_missing(control_plane: ControlPlane, cluster: Cluster) -> None:
    watcher = control_plane.kubeconfig_of_service_account(cluster.namespace, "default")
    limited = Cluster.connect(watcher, cluster.namespace)
    with pytest.raises(Forbidden, match=f'{cluster.namespace}:default" cannot list resource "jobs".* Grant it'):
        limited.list(jobs_path(cluster.namespace))
    with pytest.raises(Forbidden, match="cannot watch"):
        limited.watch(jobs_path(cluster.namespace), "0")
    limited.close()


def test_events_are_written_where_they_are_read(cluster: Cluster) -> None:
    made = cluster.create(jobs_path(cluster.namespace), job("embed"))
    about = {key: made["metadata"][key] for key in ("name", "namespace", "uid")} | {"kind": "Job"}
    event = {"metadata": {"generateName": "embed."}, "involvedObject": about, "reason": "Tested", "message": "Seen."}
    cluster.create(events_path(cluster.namespace), event)
    (told,) = cluster.list(events_path(cluster.namespace), fields="involvedObject.name=embed,reason=Tested").items
    assert told["message"] == "Seen."


def test_after_an_outage_it_goes_on_but_older_versions_are_gone(control_plane: ControlPlane, cluster: Cluster) -> None:
    version = cluster.list(jobs_path(cluster.namespace)).resource_version
    cluster.create(jobs_path(cluster.namespace), job("embed"))
    with control_plane.outage():
        with pytest.raises(ClusterUnavailable, match="refused"):
            cluster.get(jobs_path(cluster.namespace, "embed"))
        with pytest.raises(ClusterUnavailable):
            cluster.create(jobs_path(cluster.namespace), job("detect"))
    assert cluster.get(jobs_path(cluster.namespace, "embed"))["metadata"]["name"] == "embed"
    assert names(cluster.list(jobs_path(cluster.namespace)).items) == ["embed"]
    with pytest.raises(Gone, match="too old resource version"):
        list(cluster.watch(jobs_path(cluster.namespace), version, timeout_seconds=30))


def job(name: str, completions: int = 1, **labels: str) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "worker", "image": "trainyard-jobs"}]}}
    spec = {"completionMode": "Indexed", "completions": completions, "parallelism": 1, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels}, "spec": spec}


def names(items: list[dict[str, Any]]) -> list[str]:
    return sorted(item["metadata"]["name"] for item in items)
