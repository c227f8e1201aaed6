"""The TrainingSession resource: the API's limits, the columns an operator sees, and a description of every field."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.routes.sessions import FaceDetectionRequest, SessionRequest
from controller.kubernetes.names import GROUP, KIND, VERSION
from controller.kubernetes.resource_status import LONGEST_FAILURE
from trainyard.folders import LONGEST_PATH, MOST_SUBDIRECTORIES, MOST_SUBDIRECTORY_CHARACTERS
from trainyard.lifecycle import ACTIVE, ENDED
from trainyard.steps import PHASES, STEPS

FILE = Path(__file__).parents[2] / "charts/trainyard/crds/trainingsessions.yaml"
CRD = yaml.safe_load(FILE.read_text())
VERSIONS = CRD["spec"]["versions"]
RESOURCE = VERSIONS[0]["schema"]["openAPIV3Schema"]
SPEC, STATUS = (RESOURCE["properties"][part] for part in ("spec", "status"))


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from fields(field, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")


FIELDS = dict(fields(RESOURCE))


def test_it_has_the_name_that_owner_references_use() -> None:
    assert CRD["metadata"]["name"] == f"trainingsessions.{GROUP}"
    assert (CRD["spec"]["group"], CRD["spec"]["names"]["kind"]) == (GROUP, KIND)
    assert [version["name"] for version in VERSIONS] == [VERSION]
    assert CRD["spec"]["names"]["shortNames"] == ["ts"]


def test_the_columns_are_those_an_operator_reads() -> None:
    columns = [(column["name"].upper(), column["type"]) for column in VERSIONS[0]["additionalPrinterColumns"]]
    assert columns == [
        ("STATUS", "string"),
        ("PHASE", "string"),
        ("PROGRESS", "string"),
        ("WAITING", "string"),
        ("ETA", "string"),
        ("IMAGES", "integer"),
        ("FACES", "integer"),
        ("AGE", "date"),
    ]


def test_every_column_shows_a_field_of_its_own_type() -> None:
    for column in VERSIONS[0]["additionalPrinterColumns"]:
        if column["jsonPath"].startswith(".status"):
            assert FIELDS[column["jsonPath"]]["type"] == column["type"]


def test_folders_have_the_limits_of_the_api() -> None:
    root, subdirectories = SPEC["properties"]["rootPath"], SPEC["properties"]["subdirectories"]
    assert root["maxLength"] == subdirectories["items"]["maxLength"] == LONGEST_PATH
    assert subdirectories["maxItems"] == MOST_SUBDIRECTORIES
    assert str(MOST_SUBDIRECTORY_CHARACTERS) in subdirectories["description"]  # no schema can say that one


@pytest.mark.parametrize("name", ["minConfidence", "minFaceSize"])
def test_thresholds_have_the_limits_of_the_api(name: str) -> None:
    asked = FaceDetectionRequest.model_json_schema()["properties"][name]["anyOf"][0]
    limits = {limit: asked[limit] for limit in ("type", "minimum", "maximum")}
    wanted = SPEC["properties"]["faceDetection"]["properties"][name]
    assert {limit: wanted[limit] for limit in limits} == limits


def test_a_category_has_the_limits_of_the_api() -> None:
    asked = SessionRequest.model_json_schema()["properties"]["category"]["anyOf"][0]
    category = SPEC["properties"]["category"]
    assert (category["minLength"], category["maxLength"]) == (asked["minLength"], asked["maxLength"])


def test_its_fields_are_those_of_the_api_and_suspend() -> None:
    assert set(SPEC["properties"]) == {*SessionRequest.model_json_schema()["properties"], "suspend"}
    asked = FaceDetectionRequest.model_json_schema()["properties"]
    assert set(SPEC["properties"]["faceDetection"]["properties"]) == set(asked)


def test_statuses_and_phases_are_the_apis_own_words() -> None:
    assert set(STATUS["properties"]["overallStatus"]["enum"]) == ACTIVE | ENDED
    assert STATUS["properties"]["phase"]["enum"] == [phase.name for phase in PHASES]
    assert STATUS["properties"]["failedStep"]["enum"] == list(STEPS)


def test_failed_attempts_are_optional_and_bounded() -> None:
    assert "required" not in STATUS
    assert STATUS["properties"]["failedAttempts"]["minimum"] == 1
    assert STATUS["properties"]["lastFailure"]["maxLength"] == LONGEST_FAILURE


def test_one_rule_names_every_field_but_suspend() -> None:
    (rule,) = SPEC["x-kubernetes-validations"]
    for name in SPEC["properties"]:
        assert (f"self.{name} == oldSelf.{name}" in rule["rule"]) == (name != "suspend")


def test_every_field_is_explained() -> None:
    unexplained = [path for path, field in FIELDS.items() if not field.get("description")]
    assert unexplained == [".metadata"]  # which Kubernetes explains itself, and lets nobody else


def test_every_text_and_list_of_the_spec_is_bounded() -> None:
    """Else the API server refuses the rule for what it might cost."""
    bound = {"string": "maxLength", "array": "maxItems"}
    spec = {path: field for path, field in FIELDS.items() if path.startswith(".spec.")}
    assert [path for path, field in spec.items() if bound.get(field["type"], "type") not in field] == []
