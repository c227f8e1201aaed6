"""What the Job controller would have done while it stands still: every Job's pods, running."""

from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from controller.kubernetes.client import Object
from controller.kubernetes.paths import jobs_path, pods_path
from tests.bench.kubernetes_stage import KubernetesStage

WRITERS = 4
NODE = "bench-0"


def make_pods(stage: KubernetesStage, pods_a_job: int) -> None:
    """Every Job's; then the Jobs say that their pods run, and the workers have claimed their shards."""
    jobs = stage.cluster.list(jobs_path(stage.namespace)).items
    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(lambda job: _make_pods_of(stage, job, pods_a_job), jobs))
        list(writers.map(lambda job: _say_they_run(stage, job, pods_a_job), jobs))
    claim = sa.text("UPDATE shards SET claim = 1, claimed_at = clock_timestamp(), committed_at = clock_timestamp()")
    stage.database.transact(lambda connection: connection.execute(claim))


def _make_pods_of(stage: KubernetesStage, job: Object, pods: int) -> None:
    for index in range(pods):
        stage.cluster.create(pods_path(stage.namespace), _pod(job, index))


def _say_they_run(stage: KubernetesStage, job: Object, pods: int) -> None:
    status = {"active": pods, "ready": pods, "startTime": job["metadata"]["creationTimestamp"]}
    stage.cluster.patch(f"{jobs_path(stage.namespace, job['metadata']['name'])}/status", {"status": status})


def _pod(job: Object, index: int) -> Object:
    """As the Job controller makes it, but on a node already."""
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    template = job["spec"]["template"]
    labels = template["metadata"]["labels"] | {"batch.kubernetes.io/job-completion-index": str(index)}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
    metadata = {"name": f"{name}-{index}", "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] | {"nodeName": NODE}}
