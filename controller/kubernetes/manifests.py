"""The manifest of a Job, whole, from its spec and this installation's settings. Pure: the same in, the same out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from controller.backend import JobSpec
from controller.kubernetes.names import GROUP, KIND, VERSION, job_labels, job_name
from controller.kubernetes.settings import KubernetesSettings, SecretKey, StepSettings, Volume

Manifest = dict[str, Any]

CONTAINER = "worker"
COME_BACK, WRONG_CONFIGURATION = 75, 78  # how workers exit: EX_TEMPFAIL and EX_CONFIG of sysexits.h
TRIES_AGAIN = 2  # of a shard within an attempt: enough to fail by name one image that kills its workers
LOST_NODE_SECONDS = 60
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
LOADERS = "TRAINYARD_LOADERS"
CA_FOLDER = "/etc/trainyard/database-ca"

# A shard that failed for good ends the attempt at once, as it does on one machine. What the others committed stays,
# they stop at their batch, and the next attempt cuts what is left anew; waiting for them, a thousand shards might run
# for hours before anyone hears of the one.
MOST_FAILED_SHARDS = 0


@dataclass(frozen=True)
class Owner:
    """The TrainingSession whose Job this is: the Job goes when it goes."""

    name: str
    uid: str


def job_manifest(
    spec: JobSpec, settings: KubernetesSettings, *, installation: UUID, owner: Owner | None, number: int
) -> Manifest:
    """An Indexed Job in which index i runs shard i; `number` as in job_name."""
    step = settings.step(spec.step)
    labels = {**settings.labels, **job_labels(spec, installation)}
    annotations = dict(settings.annotations)
    queue = {QUEUE_LABEL: step.kueue_queue} if step.kueue_queue else {}  # not of the pods: Kueue would queue each
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _present(
            name=job_name(spec, number),
            namespace=settings.namespace,
            labels={**labels, **queue},
            annotations=annotations,
            ownerReferences=[_owner_reference(owner)] if owner else None,
        ),
        "spec": {
            **_job_rules(spec, step),
            "template": {
                "metadata": _present(labels=labels, annotations=annotations),
                "spec": _pod(spec, settings, step),
            },
        },
    }


def _present(**fields: Any) -> Manifest:
    """The fields that say something: an empty list or object is how the API leaves one out."""
    return {name: value for name, value in fields.items() if value not in (None, {}, [])}


def _owner_reference(owner: Owner) -> Manifest:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _job_rules(spec: JobSpec, step: StepSettings) -> Manifest:
    """No deadline, which would also end a Job that waits for a GPU; no TTL before its results are in the rows."""
    return _present(
        completionMode="Indexed",
        completions=spec.shards,
        parallelism=min(step.parallelism, spec.shards),
        backoffLimitPerIndex=TRIES_AGAIN,
        maxFailedIndexes=MOST_FAILED_SHARDS,
        podReplacementPolicy="Failed",
        podFailurePolicy={"rules": _failure_rules()},
        suspend=True if step.kueue_queue else None,
    )


def _failure_rules() -> list[Manifest]:
    """Read in order, the first that matches decides; what none names counts against the shard."""

    def on_exit(code: int) -> Manifest:
        return {"containerName": CONTAINER, "operator": "In", "values": [code]}

    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": on_exit(COME_BACK)},
        {"action": "FailJob", "onExitCodes": on_exit(WRONG_CONFIGURATION)},
    ]


def _pod(spec: JobSpec, settings: KubernetesSettings, step: StepSettings) -> Manifest:
    """A pod of the restricted Pod Security level that may ask nothing of the Kubernetes API."""
    return _present(
        restartPolicy="Never",
        serviceAccountName=settings.service_account_name,
        automountServiceAccountToken=False,
        enableServiceLinks=False,
        terminationGracePeriodSeconds=step.termination_grace_period_seconds,
        securityContext=_pod_security(settings),
        imagePullSecrets=[{"name": name} for name in settings.image_pull_secrets],
        priorityClassName=step.priority_class_name,
        runtimeClassName=step.runtime_class_name,
        nodeSelector=dict(step.node_selector),
        affinity=step.affinity.model_dump(by_alias=True, exclude_none=True) if step.affinity else None,
        tolerations=_tolerations(step),
        containers=[_container(spec, settings, step)],
        volumes=_volumes(settings, step),
    )


def _pod_security(settings: KubernetesSettings) -> Manifest:
    return _present(
        runAsNonRoot=True,
        runAsUser=settings.run_as_user,
        runAsGroup=settings.run_as_group,
        fsGroup=settings.fs_group,
        # never walk a library of millions of files to change their group when its root has it already
        fsGroupChangePolicy=None if settings.fs_group is None else "OnRootMismatch",
        supplementalGroups=list(settings.supplemental_groups),
        seccompProfile={"type": "RuntimeDefault"},
    )


def _tolerations(step: StepSettings) -> list[Manifest]:
    """A lost node's pods are given up after a minute, not after the five that Kubernetes would add by itself."""
    lost = [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": LOST_NODE_SECONDS,
        }
        for state in ("not-ready", "unreachable")
    ]
    return [*lost, *(toleration.model_dump(by_alias=True, exclude_none=True) for toleration in step.tolerations)]


def _container(spec: JobSpec, settings: KubernetesSettings, step: StepSettings) -> Manifest:
    session, attempt = str(spec.session_id), str(spec.attempt)
    return _present(
        name=CONTAINER,
        image=step.image,
        imagePullPolicy=settings.image_pull_policy,
        command=["trainyard", "job", spec.step, "--session", session, "--attempt", attempt],
        env=_environment(settings, step),
        resources=_present(requests=dict(step.resources.requests), limits=dict(step.resources.limits)),
        securityContext={
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        volumeMounts=_mounts(settings, step),
    )


def _environment(settings: KubernetesSettings, step: StepSettings) -> list[Manifest]:
    """The settings' own variables over the plain ones below, then what comes from secrets."""
    plain = {
        "HOME": "/tmp",  # the one place that can be written to
        "TRAINYARD_IMAGE_ROOTS": settings.photos.mount_path,
        "TRAINYARD_MODEL_DIR": settings.models.mount_path,
    }
    if settings.database_ca:
        plain |= {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": f"{CA_FOLDER}/ca.crt"}
    secret = {
        "TRAINYARD_DATABASE_URL": settings.database,
        "TRAINYARD_QDRANT_URL": settings.qdrant,
        "TRAINYARD_QDRANT_API_KEY": settings.qdrant_api_key,
    }
    return [
        *_loaders(step),
        *({"name": name, "value": value} for name, value in sorted({**plain, **step.env}.items())),
        *({"name": name, "valueFrom": {"secretKeyRef": _secret_key(key)}} for name, key in secret.items() if key),
    ]


def _loaders(step: StepSettings) -> list[Manifest]:
    """Without a limit of CPUs a worker sees all of its node's, and would fill its memory with a decoder for each."""
    if "cpu" not in step.resources.requests or "cpu" in step.resources.limits or LOADERS in step.env:
        return []
    return [{"name": LOADERS, "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1"}}}]


def _secret_key(secret: SecretKey) -> Mapping[str, str]:
    return {"name": secret.secret_name, "key": secret.key}


def _mounts(settings: KubernetesSettings, step: StepSettings) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "photos", "mountPath": settings.photos.mount_path, "readOnly": True},
        {"name": "models", "mountPath": settings.models.mount_path, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if step.shared_memory:
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    if settings.database_ca:
        mounts.append({"name": "database-ca", "mountPath": CA_FOLDER, "readOnly": True})
    return mounts


def _volumes(settings: KubernetesSettings, step: StepSettings) -> list[Manifest]:
    volumes = [_claim("photos", settings.photos), _claim("models", settings.models), {"name": "tmp", "emptyDir": {}}]
    if step.shared_memory:
        memory = {"medium": "Memory", "sizeLimit": step.shared_memory}
        volumes.append({"name": "shared-memory", "emptyDir": memory})
    if settings.database_ca:
        ca = settings.database_ca
        items = [{"key": ca.key, "path": "ca.crt"}]
        volumes.append({"name": "database-ca", "secret": {"secretName": ca.secret_name, "items": items}})
    return volumes


def _claim(name: str, volume: Volume) -> Manifest:
    return {"name": name, "persistentVolumeClaim": {"claimName": volume.claim_name, "readOnly": True}}
