"""Values that cannot be: a typo is told with its place, what is missing in words."""

from typing import Any

import pytest

from tests.charts.cases import EVALUATION, LEAST
from tests.charts.rendering import HelmRefused, Values, merged, render


def refusal(values: Values) -> str:
    with pytest.raises(HelmRefused) as refused:
        render(values)
    return str(refused.value)


def at(path: str, value: Any) -> Values:
    """Values with one thing in it, by a path of dots."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


@pytest.mark.parametrize(
    "path",
    [
        "imagess", "images.api.digests", "database.existingSecrets", "database.ca.secret", "qdrant.apikey",
        "tokens.keys", "photos.claim", "models.download.accept", "security.fsgroup", "api.replica", "api.ingress.hosts",
        "api.service.ports", "api.thumbnails.size", "controller.replica", "jobs.default", "jobs.steps.embedding",
        "jobs.defaults.paralelism", "jobs.defaults.resources.limit", "jobs.steps.embed.kueue", "networkPolicy.enable",
        "networkPolicy.egress.postgres", "networkPolicy.egress.dns.port", "networkPolicy.ingress.api.to",
        "serviceMonitor.labelz", "test.folders", "evaluation.enable", "evaluation.qdrant.tag",
    ],
)  # fmt: skip
def test_a_typo_is_refused_with_its_place(path: str) -> None:
    parent, _, key = path.rpartition(".")
    place = "/" + parent.replace(".", "/") if parent else ""
    assert f"at '{place}': additional properties '{key}' not allowed" in refusal(merged(EVALUATION, at(path, "x")))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("images.api.digest", "latest"),
        ("images.api.repository", "registry.example/trainyard-api:0.1.0"),
        ("images.pullPolicy", "Sometimes"),
        ("images.pullSecrets", ["Registry"]),
        ("database.existingSecret", "Postgres"),
        ("database.key", "the url"),
        ("photos.mountPath", "photos"),
        ("photos.mountPath", "/photos/"),
        ("photos.mountPath", "/photos/../etc"),
        ("photos.mountPath", "/a:/b"),
        ("models.faceEngine", "opencv"),
        ("models.untrained", "yes"),
        ("security.runAsUser", 0),
        ("security.supplementalGroups", [-1]),
        ("api.replicas", 1.5),
        ("api.resources.limits.memory", "4 GB"),
        ("api.service.port", 70000),
        ("api.env.TRAINYARD_LOADERS", 4),
        ("api.env.TRAINYARD_DATABASE_URL", "postgresql://user:password@host/db"),
        ("controller.env.PGSSLMODE", "disable"),
        ("jobs.defaults.parallelism", 0),
        ("jobs.defaults.env.JOB_COMPLETION_INDEX", "1"),
        ("jobs.steps.embed.sharedMemory", "8GiB"),
        ("jobs.steps.embed.tolerations", [{"effect": "Never"}]),
        ("jobs.labels.team", "the archive"),
        ("networkPolicy.egress.dns.ports", []),
        ("networkPolicy.ingress.api.from", [{"cidr": "10.0.0.0/8"}]),
        ("serviceMonitor.interval", 30),
        ("test.folder", "smoke"),
        ("evaluation.accessMode", "ReadOnlyMany"),
        ("evaluation.postgresql.runAsUser", 0),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_place(path: str, value: object) -> None:
    assert f"at '/{path.replace('.', '/')}" in refusal(merged(EVALUATION, at(path, value)))


@pytest.mark.parametrize("section", sorted(LEAST))
def test_what_is_missing_is_asked_for_in_words(section: str) -> None:
    said = refusal({name: value for name, value in LEAST.items() if name != section})
    (key,) = LEAST[section]
    (line,) = [line for line in said.splitlines() if " is not set." in line]
    assert line.startswith(f"{section}.{key} is not set. Name ")
    assert line.endswith("set evaluation.enabled=true.")


def test_all_that_is_missing_is_asked_for_at_once() -> None:
    said = refusal({})
    assert all(f"{section}.existing" in said for section in LEAST)


def test_monitoring_asks_for_a_token() -> None:
    said = refusal(merged(LEAST, {"serviceMonitor": {"enabled": True}}))
    assert (
        "serviceMonitor.token.existingSecret is not set. Name the Secret whose key token has a reader's token" in said
    )


def test_monitoring_asks_for_a_token_where_the_tokens_are_not_the_evaluations() -> None:
    values = merged(EVALUATION, {"tokens": LEAST["tokens"], "serviceMonitor": {"enabled": True}})
    assert "serviceMonitor.token.existingSecret is not set." in refusal(values)


@pytest.mark.parametrize("key", ["runAsUser", "runAsGroup"])
def test_a_user_that_is_taken_away_is_not_taken_for_root(key: str) -> None:
    assert f"missing property '{key}'" in refusal(merged(LEAST, {"security": {key: None}}))


@pytest.mark.parametrize("repository", ["trainyard-api", "localhost:5000/trainyard-api", "registry.example/a/b-c_d"])
def test_a_repository_may_name_its_registry(repository: str) -> None:
    assert render(merged(LEAST, {"images": {"api": {"repository": repository}}})).text.count(f"{repository}:0.1.0") == 3


def test_an_ingress_asks_for_a_host() -> None:
    assert "api.ingress.host is not set." in refusal(merged(LEAST, {"api": {"ingress": {"enabled": True}}}))


@pytest.mark.parametrize(("photos", "models"), [("/data", "/data"), ("/data", "/data/models"), ("/data/x", "/data")])
def test_photos_and_models_may_not_lie_in_one_another(photos: str, models: str) -> None:
    mounts = {"photos": {"mountPath": photos}, "models": {"mountPath": models}}
    assert f"photos.mountPath ({photos}) and models.mountPath ({models}) may not" in refusal(merged(LEAST, mounts))


def test_folders_with_names_alike_do_not_lie_in_one_another() -> None:
    assert render(merged(LEAST, {"photos": {"mountPath": "/data"}, "models": {"mountPath": "/data-models"}}))
