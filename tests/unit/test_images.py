"""What builds and installs the images agrees with what it builds: paths, packages, the chart's names."""

import re
import runpy
import sys
import tomllib
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.pieces import database_url
from trainyard.settings import BadSetting, load_settings

CHECKOUT = Path(__file__).parents[2]
IMAGES = ("api", "controller", "jobs")
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
SKAFFOLD = yaml.safe_load((CHECKOUT / "skaffold.yaml").read_text())
VALUES = yaml.safe_load((CHECKOUT / "charts/trainyard/values.yaml").read_text())
RELEASE = SKAFFOLD["deploy"]["helm"]["releases"][0]
ARTIFACTS = {artifact["image"]: artifact["docker"] for artifact in SKAFFOLD["build"]["artifacts"]}

requirements = runpy.run_path(str(CHECKOUT / "images/requirements.py"))["requirements"]


def dockerfile(image: str) -> str:
    return (CHECKOUT / f"images/{image}/Dockerfile").read_text()


def stage(image: str, name: str) -> str:
    found = re.search(rf"^FROM \S+ AS {name}$.*?(?=^FROM )", dockerfile(image), re.MULTILINE | re.DOTALL)
    assert found, f"images/{image}/Dockerfile has no stage {name}"
    return found[0]


def let_in() -> set[str]:
    """What .dockerignore lets into a build."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    return {line[1:] for line in lines if line.startswith("!")}


def at(tree: Any, path: str, separator: str) -> Any:
    def below(node: Any, key: str) -> Any:
        return node[int(key)] if isinstance(node, list) else node[key]

    return reduce(below, path.strip(separator).split(separator), tree)


def test_an_image_is_made_of_what_the_wheel_takes_and_nothing_else() -> None:
    packages = {package.partition(".")[0] for package in PROJECT["tool"]["setuptools"]["packages"]}
    build = {"pyproject.toml", "constraints.txt", "images/requirements.py", PROJECT["project"]["readme"]}
    assert let_in() == packages | build


@pytest.mark.parametrize("image", IMAGES)
def test_the_code_is_built_alike_for_all_images_so_that_it_is_built_once(image: str) -> None:
    assert stage(image, "tools") == stage("api", "tools")
    assert stage(image, "code") == stage("api", "code")


def test_torch_is_in_the_workers_image_alone() -> None:
    with_torch = {extra for extra in IMAGES if any(line.startswith("torch>") for line in requirements(extra))}
    assert with_torch == {"jobs"}


def test_search_by_words_needs_nothing_of_the_workers_image() -> None:
    """The API imports these when the first text comes; a missing one would show only then."""
    code = "".join((CHECKOUT / f"api/{file}.py").read_text() for file in ("text_tower", "text_tokens"))
    imported = {name.partition(".")[0] for name in re.findall(r"^\s*(?:import|from) (\S+)", code, re.MULTILINE)}
    others = imported - sys.stdlib_module_names - {"api", "trainyard"}
    assert others >= {"ftfy", "onnxruntime", "tokenizers"}
    assert others <= {re.split(r"[\[>]", line)[0] for line in requirements("api")}


@pytest.mark.parametrize("extra", [*IMAGES, "jobs-gpu"])
def test_everything_an_image_installs_is_pinned(extra: str) -> None:
    pins = re.findall(r"^([\w.-]+)==", (CHECKOUT / "constraints.txt").read_text(), re.MULTILINE)
    pinned = {_normal(name) for name in pins}
    assert {_normal(re.split(r"[\[>]", line)[0]) for line in requirements(extra)} <= pinned


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_skaffold_builds_the_images_that_the_chart_installs() -> None:
    assert {values["repository"] for name, values in VALUES["images"].items() if name in IMAGES} == set(ARTIFACTS)


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_skaffold_builds_from_dockerfiles_and_arguments_that_are_there(artifact: str) -> None:
    file = CHECKOUT / ARTIFACTS[artifact]["dockerfile"]
    assert file == CHECKOUT / f"images/{artifact.removeprefix('trainyard-')}/Dockerfile"
    declared = set(re.findall(r"^ARG (\w+)=", file.read_text(), re.MULTILINE))
    assert set(ARTIFACTS[artifact].get("buildArgs", {})) <= declared


def test_skaffold_installs_a_chart_and_values_that_are_there() -> None:
    assert (CHECKOUT / RELEASE["chartPath"] / "Chart.yaml").is_file()
    values = [yaml.safe_load((CHECKOUT / file).read_text()) for file in RELEASE["valuesFiles"]]
    assert values[0]["evaluation"]["enabled"]


@pytest.mark.parametrize(("value", "template"), RELEASE["setValueTemplates"].items())
def test_skaffold_sets_values_that_the_chart_has_to_images_it_builds(value: str, template: str) -> None:
    assert isinstance(at(VALUES, value, "."), str)
    built = {f"{part}_{image.replace('-', '_')}" for image in ARTIFACTS for part in ("IMAGE_REPO", "IMAGE_TAG")}
    assert template.strip("{}.") in built


@pytest.mark.parametrize("profile", SKAFFOLD["profiles"], ids=lambda profile: profile["name"])
def test_a_profile_of_skaffold_changes_what_is_there(profile: dict[str, Any]) -> None:
    for patch in profile["patches"]:
        path = patch["path"] if patch["op"] == "replace" else patch["path"].rpartition("/")[0]
        assert at(SKAFFOLD, path, "/"), path


def test_skaffold_forwards_the_apis_service() -> None:
    forward = SKAFFOLD["portForward"][0]
    assert forward["resourceName"] == f"{RELEASE['name']}-api"
    assert (forward["namespace"], forward["port"]) == (RELEASE["namespace"], VALUES["api"]["service"]["port"])


def test_without_the_packages_of_a_laptop_an_unset_database_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "local.postgres", None)  # importing it fails as where they are missing
    with pytest.raises(BadSetting, match="TRAINYARD_DATABASE_URL is not set"):
        database_url(load_settings())
