"""What evaluation makes: all that is not named, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from api.tokens import Tokens
from tests.charts.cases import EVALUATION, LEAST
from tests.charts.rendering import CHART, Rendering, Values, merged, render
from trainyard.settings import Settings

MAKES = {
    "database": {
        "StatefulSet/trainyard-postgresql",
        "Service/trainyard-postgresql",
        "NetworkPolicy/trainyard-postgresql",
    },
    "qdrant": {"StatefulSet/trainyard-qdrant", "Service/trainyard-qdrant", "NetworkPolicy/trainyard-qdrant"},
    "tokens": set(),
    "photos": {"PersistentVolumeClaim/trainyard-photos", "NetworkPolicy/trainyard-samples", "Job/trainyard-samples"},
    "models": {"PersistentVolumeClaim/trainyard-models", "Job/trainyard-models"},
}
SECRET = "Secret/trainyard-evaluation"


def made(values: Values) -> set[str]:
    """Jobs without the hash at the end of their names."""
    manifests = render(values).manifests
    names = {f"{m['kind']}/{m['metadata']['name']}" for m in manifests}
    return {name.rpartition("-")[0] if name.startswith("Job/") else name for name in names}


def secret(rendering: Rendering) -> dict[str, str]:
    return dict(rendering.one("Secret", "trainyard-evaluation")["stringData"])


@pytest.mark.parametrize("section", sorted(MAKES))
def test_what_is_named_is_not_made(section: str) -> None:
    others = [things for name, things in MAKES.items() if name != section]
    assert made(merged(EVALUATION, {section: LEAST[section]})) == made(LEAST) | {SECRET}.union(*others)


def test_without_evaluation_no_secret_no_claim_and_no_store_is_made(rendering: Rendering) -> None:
    kinds = {manifest["kind"] for manifest in rendering.manifests}
    if SECRET not in {f"{m['kind']}/{m['metadata']['name']}" for m in rendering.manifests}:
        assert not {"Secret", "PersistentVolumeClaim", "StatefulSet"} & kinds


def test_its_stores_are_where_the_secret_says(tmp_path: Path) -> None:
    rendering = render(EVALUATION)
    content = secret(rendering)
    settings = Settings(database_url=content["database-url"], qdrant_url=content["qdrant-url"])
    assert (
        settings.database_url
        == f"postgresql://trainyard:{content['database-password']}@trainyard-postgresql:5432/trainyard"
    )
    assert settings.qdrant_url == "http://trainyard-qdrant:6333"
    ports = {name: service["spec"]["ports"][0]["port"] for name, service in rendering.of_kind("Service").items()}
    assert (ports["trainyard-postgresql"], ports["trainyard-qdrant"]) == (5432, 6333)
    assert rendering.settings(tmp_path).database.key == "database-url"


def test_its_tokens_are_ones_that_the_api_takes(tmp_path: Path) -> None:
    content = secret(render(EVALUATION))
    file = tmp_path / "tokens"
    file.write_text(content["tokens"])
    tokens = Tokens(file)
    assert tokens.role_of_token(content["operator-token"]) == "operator"
    assert tokens.role_of_token(content["reader-token"]) == "reader"


def test_what_holds_something_is_kept_when_uninstalled() -> None:
    rendering = render(EVALUATION)
    kept = {**rendering.of_kind("PersistentVolumeClaim"), **rendering.of_kind("Secret")}
    assert set(kept) == {"trainyard-photos", "trainyard-models", "trainyard-evaluation"}
    for manifest in kept.values():
        assert manifest["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_it_is_monitored_with_a_token_that_it_made() -> None:
    rendering = render(merged(EVALUATION, {"serviceMonitor": {"enabled": True}}))
    (api,) = rendering.one("ServiceMonitor", "trainyard-api")["spec"]["endpoints"]
    assert api["authorization"]["credentials"] == {"name": "trainyard-evaluation", "key": "reader-token"}


def test_sample_pictures_are_written_once(tmp_path: Path) -> None:
    """By the script that its Job runs, as it runs it."""
    (container,) = render(EVALUATION).pod("samples").spec["containers"]
    program, flag = container["command"]
    script, folder = container["args"]
    assert (program, flag, folder) == ("python3", "-c", "/photos")
    assert script.strip() == (CHART / "files/sample_photos.py").read_text().strip()
    first, second = (_run(script, tmp_path) for _ in range(2))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert (first, second) == (f"{len(written)} pictures", "0 pictures")
    assert [path.name for path in (tmp_path / "smoke-test").iterdir()] == ["group.jpg"]
    assert len(list((tmp_path / "samples/people").iterdir())) >= 8


def _run(script: str, folder: Path) -> str:
    """`12 pictures`, of what it says."""
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.partition(" written")[0]
