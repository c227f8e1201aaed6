"""The control plane of the tests is a real one: it takes Jobs as Trainyard makes them and does by them what it must."""

from collections.abc import Callable, Collection
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane, KubectlFailed
from tests.cluster.fake_nodes import GPU, FakeNodes
from tests.local_runs import wait_until

INDEX = "batch.kubernetes.io/job-completion-index"
COME_BACK_LATER = 75
WRONG_CONFIGURATION = 78


def test_an_indexed_job_completes_as_its_pods_end(
    control_plane: ControlPlane, namespace: str, nodes: FakeNodes
) -> None:
    nodes.add("gpus")
    control_plane.create(indexed_job("embed", completions=3), namespace)
    first = {pod["metadata"]["annotations"][INDEX]: name_of(pod) for pod in running(control_plane, namespace, 3)}
    for index, exit_code in enumerate((0, 1, COME_BACK_LATER)):
        nodes.end_pod(namespace, first[str(index)], exit_code, "out of memory" if exit_code else "")
    for pod in running(control_plane, namespace, 2, but=first.values()):  # indexes 1 and 2 once more
        nodes.end_pod(namespace, name_of(pod), 0)
    status = job_with(control_plane, namespace, "Complete")
    assert status["completedIndexes"] == "0-2"
    assert status["succeeded"] == 3
    assert status["failed"] == 1  # coming back later is no failure
    assert terminated(control_plane, namespace, first["1"])["message"] == "out of memory"
    assert terminated(control_plane, namespace, first["2"])["exitCode"] == COME_BACK_LATER


def test_a_worker_that_can_never_work_fails_its_job_at_once(
    control_plane: ControlPlane, namespace: str, nodes: FakeNodes
) -> None:
    nodes.add("gpus")
    control_plane.create(indexed_job("embed", completions=2), namespace)
    one, _ = running(control_plane, namespace, 2)
    nodes.end_pod(namespace, name_of(one), WRONG_CONFIGURATION)
    status = job_with(control_plane, namespace, "Failed")
    failure = {condition["type"]: condition for condition in status["conditions"]}["FailureTarget"]
    assert failure["reason"] == "PodFailurePolicy"
    assert f"exit code {WRONG_CONFIGURATION}" in failure["message"]


def test_a_pod_waits_for_gpus_with_the_schedulers_sentence(
    control_plane: ControlPlane, namespace: str, nodes: FakeNodes
) -> None:
    nodes.add("gpus", gpus=2)
    control_plane.create(indexed_job("embed", completions=2, gpus=2), namespace)
    running(control_plane, namespace, 1)
    (waiting,) = pods(control_plane, namespace, lambda pod: pod["status"]["phase"] == "Pending", count=1)
    scheduled = wait_until(lambda: scheduling(control_plane, namespace, name_of(waiting)), "the scheduler's word")
    assert scheduled["reason"] == "Unschedulable"
    assert scheduled["message"].startswith("0/2 nodes are available: 1 Insufficient nvidia.com/gpu")


def test_pods_of_a_lost_node_stay_terminating_and_are_not_replaced(
    control_plane: ControlPlane, namespace: str, nodes: FakeNodes
) -> None:
    nodes.add("gpus")
    nodes.add("more-gpus")
    control_plane.create(indexed_job("embed", completions=1), namespace)
    (pod,) = running(control_plane, namespace, 1)
    nodes.lose(pod["spec"]["nodeName"])
    status = wait_until(lambda: job_status(control_plane, namespace, "terminating"), "the pod to be deleted")
    assert status["terminating"] == 1
    assert not status.get("active")
    (still,) = control_plane.get("pods", f"--namespace={namespace}")["items"]
    assert name_of(still) == name_of(pod)
    assert still["status"]["phase"] == "Running"
    assert {"DisruptionTarget"} <= {condition["type"] for condition in still["status"]["conditions"]}


def test_a_deleted_job_leaves_no_pods(control_plane: ControlPlane, namespace: str, nodes: FakeNodes) -> None:
    nodes.add("gpus")
    control_plane.create(indexed_job("embed", completions=2), namespace)
    running(control_plane, namespace, 2)
    control_plane.kubectl("delete", "job", "embed", f"--namespace={namespace}", "--cascade=background")
    pods(control_plane, namespace, lambda pod: True, count=0)


def test_the_api_server_knows_everything_after_an_outage(
    control_plane: ControlPlane, namespace: str, nodes: FakeNodes
) -> None:
    nodes.add("gpus")
    job = control_plane.create(indexed_job("embed", completions=1), namespace)
    (pod,) = running(control_plane, namespace, 1)
    with control_plane.outage(), pytest.raises(KubectlFailed, match="refused"):
        control_plane.get("jobs", f"--namespace={namespace}")
    assert control_plane.get("job", "embed", f"--namespace={namespace}")["metadata"]["uid"] == job["metadata"]["uid"]
    nodes.end_pod(namespace, name_of(pod), 0)
    assert job_with(control_plane, namespace, "Complete")["succeeded"] == 1


def test_a_service_account_may_do_what_it_was_given_and_no_more(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "serviceaccount", "watcher", f"--namespace={namespace}")
    watcher = control_plane.kubeconfig_of_service_account(namespace, "watcher")
    with pytest.raises(KubectlFailed, match="Forbidden"):
        control_plane.kubectl("get", "pods", kubeconfig=watcher)
    bound = ("--clusterrole=view", f"--serviceaccount={namespace}:watcher", f"--namespace={namespace}")
    control_plane.kubectl("create", "rolebinding", "watcher", *bound)
    wait_until(lambda: allowed(control_plane, "list pods", watcher), "the binding to be known")
    control_plane.kubectl("get", "pods", kubeconfig=watcher)
    with pytest.raises(KubectlFailed, match="Forbidden"):
        control_plane.kubectl("get", "nodes", kubeconfig=watcher)


def test_a_user_is_known_by_a_certificate(control_plane: ControlPlane) -> None:
    someone = control_plane.kubeconfig_of_user("someone", "operators")
    assert "operators" in control_plane.kubectl("auth", "whoami", kubeconfig=someone)
    assert not allowed(control_plane, "list pods", someone)


def indexed_job(name: str, completions: int, gpus: int = 1) -> dict[str, Any]:
    """As Trainyard's steps are: a failure counts against its index, but for those that are nobody's or everybody's."""
    container = {
        "name": "worker",
        "image": "trainyard-jobs",
        "resources": {"limits": {GPU: str(gpus)}},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completionMode": "Indexed",
            "completions": completions,
            "parallelism": completions,
            "backoffLimitPerIndex": 2,
            "maxFailedIndexes": completions,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [COME_BACK_LATER]}},
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [WRONG_CONFIGURATION]}},
                ]
            },
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }


def running(control_plane: ControlPlane, namespace: str, count: int, but: Collection[str] = ()) -> list[dict[str, Any]]:
    """The running pods, `but` those of these names, once there are so many."""
    return pods(
        control_plane, namespace, lambda pod: pod["status"]["phase"] == "Running" and name_of(pod) not in but, count
    )


def pods(
    control_plane: ControlPlane, namespace: str, which: Callable[[dict[str, Any]], bool], count: int
) -> list[dict[str, Any]]:
    def look() -> list[list[dict[str, Any]]]:
        found = [pod for pod in control_plane.get("pods", f"--namespace={namespace}")["items"] if which(pod)]
        return [found] if len(found) == count else []

    return wait_until(look, f"{count} such pods")[0]


def name_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def terminated(control_plane: ControlPlane, namespace: str, pod: str) -> dict[str, Any]:
    status = control_plane.get("pod", pod, f"--namespace={namespace}")["status"]
    return dict(status["containerStatuses"][0]["state"]["terminated"])


def scheduling(control_plane: ControlPlane, namespace: str, pod: str) -> dict[str, Any]:
    conditions = control_plane.get("pod", pod, f"--namespace={namespace}")["status"].get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == "PodScheduled"), {})


def job_status(control_plane: ControlPlane, namespace: str, field: str) -> dict[str, Any]:
    """The status of the Job; empty until it has something in this field."""
    status = control_plane.get("job", "embed", f"--namespace={namespace}").get("status", {})
    return dict(status) if status.get(field) else {}


def job_with(control_plane: ControlPlane, namespace: str, condition: str) -> dict[str, Any]:
    """The Job's status once it has this condition."""

    def look() -> dict[str, Any]:
        status = job_status(control_plane, namespace, "conditions")
        return status if condition in [each["type"] for each in status.get("conditions", [])] else {}

    return wait_until(look, f"the Job to be {condition}")


def allowed(control_plane: ControlPlane, what: str, who: Any) -> bool:
    try:
        return control_plane.kubectl("auth", "can-i", *what.split(), kubeconfig=who).strip() == "yes"
    except KubectlFailed:  # how it says no
        return False
