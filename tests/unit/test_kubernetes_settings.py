"""The Kubernetes settings' file: what it takes, how steps differ from the defaults, and how a mistake is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.kubernetes.settings import KubernetesSettings, load_kubernetes_settings
from trainyard.settings import BadSetting

MINIMAL: dict[str, Any] = {
    "namespace": "photos",
    "image": "registry.example/trainyard-jobs:1",
    "photos": {"claimName": "library", "mountPath": "/photos"},
    "models": {"claimName": "weights", "mountPath": "/models"},
    "database": {"secretName": "postgres", "key": "url"},
    "qdrant": {"secretName": "qdrant", "key": "url"},
}


def load(tmp_path: Path, changes: dict[str, Any]) -> KubernetesSettings:
    """The minimal file with some top-level keys changed."""
    path = tmp_path / "kubernetes.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return load_kubernetes_settings(path)


def refusal(tmp_path: Path, changes: dict[str, Any]) -> str:
    with pytest.raises(BadSetting) as refused:
        load(tmp_path, changes)
    start = f"TRAINYARD_KUBERNETES_SETTINGS={tmp_path}/kubernetes.yaml: "
    assert all(line.startswith(start) for line in str(refused.value).splitlines())
    return str(refused.value).replace(start, "")


def test_six_keys_are_enough(tmp_path: Path) -> None:
    settings = load(tmp_path, {})
    assert (settings.run_as_user, settings.image_pull_policy) == (65532, "IfNotPresent")
    assert settings.step("embed").image == "registry.example/trainyard-jobs:1"
    assert settings.step("embed").parallelism == 1  # a claim that one node holds is enough for it


@pytest.mark.parametrize("key", sorted(MINIMAL))
def test_none_of_the_six_may_be_missing(tmp_path: Path, key: str) -> None:
    path = tmp_path / "kubernetes.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in MINIMAL.items() if name != key}))
    with pytest.raises(BadSetting, match=rf"yaml: {key} is missing; name it\.$"):
        load_kubernetes_settings(path)


def test_a_step_replaces_what_it_names_and_adds_to_the_environment(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        {
            "defaults": {
                "parallelism": 8,
                "nodeSelector": {"pool": "cpu"},
                "env": {"TRAINYARD_DEVICE": "cpu", "TRAINYARD_EMBED_BATCH": "16"},
            },
            "steps": {
                "embed": {
                    "image": "registry.example/trainyard-jobs-gpu:1",
                    "nodeSelector": {"gpu": "h100"},
                    "env": {"TRAINYARD_DEVICE": "cuda"},
                }
            },
        },
    )
    embed, detect = settings.step("embed"), settings.step("detect")
    assert (embed.image, embed.parallelism) == ("registry.example/trainyard-jobs-gpu:1", 8)
    assert embed.node_selector == {"gpu": "h100"}
    assert embed.env == {"TRAINYARD_DEVICE": "cuda", "TRAINYARD_EMBED_BATCH": "16"}
    assert (detect.image, detect.node_selector) == ("registry.example/trainyard-jobs:1", {"pool": "cpu"})
    assert detect.env == {"TRAINYARD_DEVICE": "cpu", "TRAINYARD_EMBED_BATCH": "16"}


def test_a_step_takes_a_default_back_with_null(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        {
            "defaults": {"image": "registry.example/gpu:1", "runtimeClassName": "nvidia", "kueueQueue": "gpus"},
            "steps": {"discover": {"image": None, "runtimeClassName": None, "kueueQueue": None}},
        },
    )
    assert (settings.step("embed").runtime_class_name, settings.step("embed").kueue_queue) == ("nvidia", "gpus")
    discover = settings.step("discover")
    assert (discover.runtime_class_name, discover.kueue_queue) == (None, None)
    assert discover.image == "registry.example/gpu:1"  # there is always one


def test_quantities_are_numbers_or_text(tmp_path: Path) -> None:
    limits = {"cpu": 0.5, "memory": "8Gi", "nvidia.com/gpu": 1, "ephemeral-storage": "1e9"}
    assert load(tmp_path, {"defaults": {"resources": {"limits": limits}}}).step("embed").resources.limits == {
        "cpu": "0.5",
        "memory": "8Gi",
        "nvidia.com/gpu": "1",
        "ephemeral-storage": "1e9",
    }


BAD = [
    ({"replicas": 3}, "replicas is not known; correct its spelling or leave it out."),
    (
        {"steps": {"embed": {"resources": {"limts": {"cpu": 1}}}}},
        "steps.embed.resources.limts is not known; correct its spelling or leave it out.",
    ),
    ({"defaults": {"node_selector": {}}}, "defaults.node_selector is not known"),
    ({"defaults": {"affinity": {"nodes": {}}}}, "defaults.affinity.nodes is not known"),
    ({"defaults": {"tolerations": [{"keys": "gpu"}]}}, "defaults.tolerations.0.keys is not known"),
    ({"steps": {"embde": {}}}, "steps.embde is no step; the steps are discover, embed, detect, assign, cluster."),
    ({"photos": {"claimName": "library"}}, "photos.mountPath is missing; name it."),
    ({"namespace": "Photos"}, "namespace='Photos' does not fit: "),
    ({"namespace": "a" * 64}, "does not fit: "),
    ({"image": ""}, "image='' does not fit: "),
    ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy='Sometimes' does not fit: "),
    ({"runAsUser": 0}, "runAsUser=0 does not fit: "),
    ({"defaults": {"parallelism": 0}}, "defaults.parallelism=0 does not fit: "),
    ({"defaults": {"sharedMemory": "8 GB"}}, "defaults.sharedMemory takes a quantity, such as 2, 500m or 8Gi."),
    ({"defaults": {"resources": {"limits": {"cpu": True}}}}, "defaults.resources.limits.cpu takes a quantity"),
    ({"defaults": {"env": {"OMP_NUM_THREADS": 1}}}, "defaults.env.OMP_NUM_THREADS=1 does not fit: "),
    ({"defaults": {"env": {"A-B": "1"}}}, "defaults.env.A-B='A-B' does not fit: "),
    (
        {"steps": {"detect": {"env": {"TRAINYARD_DATABASE_URL": "postgresql://"}}}},
        "steps.detect.env.TRAINYARD_DATABASE_URL is set by Kubernetes or by another key of this file; leave it out.",
    ),
    ({"labels": {"team": "a b"}}, "labels.team='a b' does not fit: "),
    ({"labels": {"-team": "a"}}, "labels.-team='-team' does not fit: "),
    (
        {"models": {"claimName": "weights", "mountPath": "/photos/models"}},
        "photos (/photos) and models (/photos/models) may not be mounted inside one another.",
    ),
]


@pytest.mark.parametrize(("changes", "told"), BAD, ids=[told for _, told in BAD])
def test_a_mistake_is_told_by_the_keys_path(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    assert told in refusal(tmp_path, changes)


@pytest.mark.parametrize("path", ["photos", "/", "//", "/a:b", "/a//b", "/a/../b", "/photos/"])
def test_a_mount_path_is_absolute_and_plain(tmp_path: Path, path: str) -> None:
    told = refusal(tmp_path, {"photos": {"claimName": "library", "mountPath": path}})
    assert told == "photos.mountPath takes an absolute, plain path without a colon, such as /photos."


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    told = refusal(tmp_path, {"namespace": "Photos", "replicas": 3, "database": {}})
    assert len(told.splitlines()) == 4


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("photos: [", "is no YAML: while parsing a flow node"),
        ("- namespace", "it takes keys and values, beginning with namespace"),
        ("", "it takes keys and values, beginning with namespace"),
    ],
)
def test_a_file_that_is_no_object_is_told(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "kubernetes.yaml"
    path.write_text(content)
    with pytest.raises(BadSetting) as refused:
        load_kubernetes_settings(path)
    assert str(refused.value).startswith(f"TRAINYARD_KUBERNETES_SETTINGS={path} ")
    assert told in str(refused.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"gone\.yaml cannot be read: No such file or directory"):
        load_kubernetes_settings(tmp_path / "gone.yaml")
