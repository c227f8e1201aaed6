"""Jobs' manifests, whole: what the smallest and the fullest settings file make of one step, and what always holds."""

import re
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.backend import JobSpec
from controller.kubernetes.manifests import COME_BACK, WRONG_CONFIGURATION, Owner, job_manifest
from controller.kubernetes.names import job_labels, job_name
from controller.kubernetes.settings import KubernetesSettings
from jobs.outcomes import EXIT_COME_BACK, EXIT_WRONG_CONFIGURATION
from trainyard.steps import STEPS

INSTALLATION = UUID("8d0e1a52-6f64-4f0b-9d0c-0a4f3a9a3b11")
SPEC = JobSpec(session_id=7, step="embed", attempt=2, shards=40, token="00ff00ff00ff00ff")
OWNER = Owner("holiday-2025", "5f0c1b9e-7d3a-4c58-8a6f-2f1d0e9b8c7a")

MINIMAL = KubernetesSettings.model_validate(
    {
        "namespace": "photos",
        "image": "registry.example/trainyard-jobs:1",
        "photos": {"claimName": "library", "mountPath": "/photos"},
        "models": {"claimName": "weights", "mountPath": "/models"},
        "database": {"secretName": "postgres", "key": "url"},
        "qdrant": {"secretName": "qdrant", "key": "url"},
    }
)

FULL = KubernetesSettings.model_validate(
    {
        "namespace": "photos",
        "image": "registry.example/trainyard-jobs:1",
        "imagePullPolicy": "Always",
        "imagePullSecrets": ["registry"],
        "photos": {"claimName": "library", "mountPath": "/srv/photos"},
        "models": {"claimName": "weights", "mountPath": "/srv/models"},
        "database": {"secretName": "postgres", "key": "url"},
        "databaseCa": {"secretName": "postgres-ca", "key": "root.pem"},
        "qdrant": {"secretName": "qdrant", "key": "url"},
        "qdrantApiKey": {"secretName": "qdrant", "key": "api-key"},
        "labels": {"team": "archive", "trainyard.dev/session": "stranger"},
        "annotations": {"example.com/scrape": "false"},
        "runAsUser": 1000,
        "runAsGroup": 1001,
        "fsGroup": 1002,
        "supplementalGroups": [2000, 2001],
        "serviceAccountName": "worker",
        "defaults": {
            "parallelism": 8,
            "terminationGracePeriodSeconds": 45,
            "env": {"TRAINYARD_DEVICE": "cpu", "HOME": "/tmp/home"},
        },
        "steps": {
            "embed": {
                "image": "registry.example/trainyard-jobs-gpu:1",
                "env": {"TRAINYARD_DEVICE": "cuda"},
                "resources": {
                    "requests": {"cpu": "500m", "memory": "8Gi"},
                    "limits": {"memory": "8Gi", "nvidia.com/gpu": 1},
                },
                "sharedMemory": "2Gi",
                "nodeSelector": {"gpu": "h100"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]
                        }
                    }
                },
                "runtimeClassName": "nvidia",
                "priorityClassName": "batch",
                "kueueQueue": "gpus",
                "pendingDeadlineSeconds": 3600,
            }
        },
    }
)

LABELS = {
    "app.kubernetes.io/name": "trainyard",
    "app.kubernetes.io/component": "worker",
    "app.kubernetes.io/managed-by": "trainyard",
    "trainyard.dev/installation": "8d0e1a52-6f64-4f0b-9d0c-0a4f3a9a3b11",
    "trainyard.dev/session": "7",
    "trainyard.dev/step": "embed",
    "trainyard.dev/attempt": "2",
    "trainyard.dev/token": "00ff00ff00ff00ff",
}
RULES = {
    "completionMode": "Indexed",
    "completions": 40,
    "backoffLimitPerIndex": 2,
    "maxFailedIndexes": 0,
    "podReplacementPolicy": "Failed",
    "podFailurePolicy": {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "Ignore", "onExitCodes": {"containerName": "worker", "operator": "In", "values": [75]}},
            {"action": "FailJob", "onExitCodes": {"containerName": "worker", "operator": "In", "values": [78]}},
        ]
    },
}
COMMAND = ["trainyard", "job", "embed", "--session", "7", "--attempt", "2"]
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
LOST_NODE = [
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
]


def build(
    spec: JobSpec = SPEC,
    settings: KubernetesSettings = MINIMAL,
    owner: Owner | None = None,
    number: int = 0,
) -> dict[str, Any]:
    return job_manifest(spec, settings, installation=INSTALLATION, owner=owner, number=number)


def secret(name: str, secret_name: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}}


def test_the_smallest_settings_file() -> None:
    assert build() == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "trainyard-s7-embed-a2", "namespace": "photos", "labels": LABELS},
        "spec": {
            **RULES,
            "parallelism": 1,
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 120,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "tolerations": LOST_NODE,
                    "containers": [
                        {
                            "name": "worker",
                            "image": "registry.example/trainyard-jobs:1",
                            "imagePullPolicy": "IfNotPresent",
                            "command": COMMAND,
                            "env": [
                                {"name": "HOME", "value": "/tmp"},
                                {"name": "TRAINYARD_IMAGE_ROOTS", "value": "/photos"},
                                {"name": "TRAINYARD_MODEL_DIR", "value": "/models"},
                                secret("TRAINYARD_DATABASE_URL", "postgres", "url"),
                                secret("TRAINYARD_QDRANT_URL", "qdrant", "url"),
                            ],
                            "securityContext": CONTAINER_SECURITY,
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File",
                            "volumeMounts": [
                                {"name": "photos", "mountPath": "/photos", "readOnly": True},
                                {"name": "models", "mountPath": "/models", "readOnly": True},
                                {"name": "tmp", "mountPath": "/tmp"},
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "photos", "persistentVolumeClaim": {"claimName": "library", "readOnly": True}},
                        {"name": "models", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    }


def test_the_fullest_settings_file() -> None:
    labels = {"team": "archive", **LABELS}
    annotations = {"example.com/scrape": "false"}
    assert build(settings=FULL, owner=OWNER, number=3) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "trainyard-s7-embed-a2-3",
            "namespace": "photos",
            "labels": {**labels, "kueue.x-k8s.io/queue-name": "gpus"},
            "annotations": annotations,
            "ownerReferences": [
                {
                    "apiVersion": "trainyard.dev/v1alpha1",
                    "kind": "TrainingSession",
                    "name": "holiday-2025",
                    "uid": "5f0c1b9e-7d3a-4c58-8a6f-2f1d0e9b8c7a",
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            **RULES,
            "parallelism": 8,
            "suspend": True,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "worker",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 45,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 1000,
                        "runAsGroup": 1001,
                        "fsGroup": 1002,
                        "fsGroupChangePolicy": "OnRootMismatch",
                        "supplementalGroups": [2000, 2001],
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "imagePullSecrets": [{"name": "registry"}],
                    "priorityClassName": "batch",
                    "runtimeClassName": "nvidia",
                    "nodeSelector": {"gpu": "h100"},
                    "affinity": {
                        "nodeAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": {
                                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]
                            }
                        }
                    },
                    "tolerations": [
                        *LOST_NODE,
                        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
                    ],
                    "containers": [
                        {
                            "name": "worker",
                            "image": "registry.example/trainyard-jobs-gpu:1",
                            "imagePullPolicy": "Always",
                            "command": COMMAND,
                            "env": [
                                {
                                    "name": "TRAINYARD_LOADERS",
                                    "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1"}},
                                },
                                {"name": "HOME", "value": "/tmp/home"},
                                {"name": "PGSSLMODE", "value": "verify-full"},
                                {"name": "PGSSLROOTCERT", "value": "/etc/trainyard/database-ca/ca.crt"},
                                {"name": "TRAINYARD_DEVICE", "value": "cuda"},
                                {"name": "TRAINYARD_IMAGE_ROOTS", "value": "/srv/photos"},
                                {"name": "TRAINYARD_MODEL_DIR", "value": "/srv/models"},
                                secret("TRAINYARD_DATABASE_URL", "postgres", "url"),
                                secret("TRAINYARD_QDRANT_URL", "qdrant", "url"),
                                secret("TRAINYARD_QDRANT_API_KEY", "qdrant", "api-key"),
                            ],
                            "resources": {
                                "requests": {"cpu": "500m", "memory": "8Gi"},
                                "limits": {"memory": "8Gi", "nvidia.com/gpu": "1"},
                            },
                            "securityContext": CONTAINER_SECURITY,
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File",
                            "volumeMounts": [
                                {"name": "photos", "mountPath": "/srv/photos", "readOnly": True},
                                {"name": "models", "mountPath": "/srv/models", "readOnly": True},
                                {"name": "tmp", "mountPath": "/tmp"},
                                {"name": "shared-memory", "mountPath": "/dev/shm"},
                                {
                                    "name": "database-ca",
                                    "mountPath": "/etc/trainyard/database-ca",
                                    "readOnly": True,
                                },
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "photos", "persistentVolumeClaim": {"claimName": "library", "readOnly": True}},
                        {"name": "models", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
                        {"name": "tmp", "emptyDir": {}},
                        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
                        {
                            "name": "database-ca",
                            "secret": {
                                "secretName": "postgres-ca",
                                "items": [{"key": "root.pem", "path": "ca.crt"}],
                            },
                        },
                    ],
                },
            },
        },
    }


@pytest.mark.parametrize(
    ("resources", "env"),
    [
        ({}, {}),
        ({"requests": {"cpu": 2}, "limits": {"cpu": 4}}, {}),
        ({"requests": {"cpu": 2}}, {"TRAINYARD_LOADERS": "3"}),
    ],
    ids=["nothing-requested", "a-limit", "the-settings-own"],
)
def test_loaders_are_as_many_as_requested_cpus_only_where_nothing_else_says(
    resources: dict[str, Any], env: dict[str, str]
) -> None:
    settings = KubernetesSettings.model_validate(
        {**MINIMAL.model_dump(by_alias=True), "defaults": {"resources": resources, "env": env}}
    )
    (container,) = build(settings=settings)["spec"]["template"]["spec"]["containers"]
    said = [variable.get("value") for variable in container["env"] if variable["name"] == "TRAINYARD_LOADERS"]
    assert said == list(env.values())


def test_a_step_without_settings_of_its_own_looks_like_the_defaults() -> None:
    job = build(replace(SPEC, step="cluster", shards=1), FULL)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/trainyard-jobs:1"
    assert container["command"] == ["trainyard", "job", "cluster", "--session", "7", "--attempt", "2"]
    assert "resources" not in container
    assert "suspend" not in job["spec"]


@pytest.mark.parametrize(("shards", "parallelism"), [(1, 1), (7, 7), (8, 8), (9, 8), (2_000, 8)])
def test_no_more_workers_than_shards_and_than_the_cap(shards: int, parallelism: int) -> None:
    job = build(replace(SPEC, shards=shards), FULL)["spec"]
    assert (job["completions"], job["parallelism"]) == (shards, parallelism)


def test_the_exit_codes_are_those_of_the_workers() -> None:
    assert (COME_BACK, WRONG_CONFIGURATION) == (EXIT_COME_BACK, EXIT_WRONG_CONFIGURATION)


def test_two_manifests_share_nothing_that_can_be_changed() -> None:
    first = build(settings=FULL, owner=OWNER)
    before = repr(first)
    second = build(settings=FULL, owner=OWNER)
    second["spec"]["podFailurePolicy"]["rules"].clear()
    second["metadata"]["labels"].clear()
    second["metadata"]["annotations"].clear()
    second["spec"]["template"]["spec"]["nodeSelector"].clear()
    assert repr(first) == before == repr(build(settings=FULL, owner=OWNER))


DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

INTEGERS = st.integers(1, 2**31 - 1)  # ids and attempts are PostgreSQL's integers
SPECS = st.builds(
    JobSpec,
    session_id=INTEGERS,
    step=st.sampled_from(STEPS),
    attempt=INTEGERS,
    shards=st.integers(1, 2_000),
    token=st.text("0123456789abcdef", min_size=16, max_size=16),
)
NUMBERS = st.integers(0, 2**31 - 1)


@given(SPECS, NUMBERS)
def test_every_pods_host_name_is_a_dns_label(spec: JobSpec, number: int) -> None:
    host_name = f"{build(spec, number=number)['metadata']['name']}-{spec.shards - 1}"
    assert DNS_LABEL.fullmatch(host_name)
    assert len(host_name) <= 63


@given(SPECS, st.uuids())
def test_every_label_is_valid(spec: JobSpec, installation: UUID) -> None:
    for key, value in job_labels(spec, installation).items():
        assert LABEL_KEY.fullmatch(key)
        assert LABEL_VALUE.fullmatch(value)
        assert len(value) <= 63


@given(SPECS, NUMBERS, st.sampled_from([MINIMAL, FULL]))
def test_the_same_in_gives_the_same_out(spec: JobSpec, number: int, settings: KubernetesSettings) -> None:
    assert repr(build(spec, settings, OWNER, number)) == repr(build(replace(spec), settings, OWNER, number))


@given(st.lists(st.tuples(SPECS, NUMBERS), min_size=2, max_size=5))
def test_another_attempt_or_number_has_another_name(given_names: list[tuple[JobSpec, int]]) -> None:
    told_apart = {(spec.session_id, spec.step, spec.attempt, number) for spec, number in given_names}
    assert len({job_name(spec, number) for spec, number in given_names}) == len(told_apart)


@given(SPECS, st.sampled_from([MINIMAL, FULL]))
def test_a_job_keeps_within_what_the_api_takes(spec: JobSpec, settings: KubernetesSettings) -> None:
    job = build(spec, settings)["spec"]
    assert 1 <= job["parallelism"] <= job["completions"] == spec.shards
    assert 0 <= job["maxFailedIndexes"] <= job["completions"]
    assert {"activeDeadlineSeconds", "ttlSecondsAfterFinished"}.isdisjoint(job)
    assert "activeDeadlineSeconds" not in job["template"]["spec"]
