"""Calls made up from the API's own description: no 5xx, nothing undocumented, every answer as it was described."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.follow_up import FollowUp
from api.services import Services
from api.stream import ProgressStream
from api.text_tower import TextTower
from api.thumbnails import Thumbnails
from api.tokens import Tokens
from tests.libraries import write_broken, write_photos
from tests.local_runs import data_directory
from tests.served import Served, served
from trainyard.database import Database
from trainyard.settings import Settings
from trainyard.vectors import Vectors

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
CALLS = 40  # made up for each operation


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = write_photos(tmp_path_factory.mktemp("photos"), 8)
    write_broken(root)
    with data_directory() as data_dir, served(data_dir, root) as found:
        for faces in (True, False):  # ids 1 and 2, so that some made-up calls find something
            found.ended(found.create(root, faceDetection={"enabled": faces}, category="Holidays"))
        for group in found.client.get("/api/v1/clusters").json()["items"][:2]:
            found.client.post(f"/api/v1/clusters/{group['id']}/name", json={"name": f"Person {group['id']}"})
        yield found


def description() -> dict[str, Any]:
    """The API's description of itself, of an app that nobody calls."""
    nowhere = Path("/nonexistent")
    database = Database("postgresql+psycopg://nobody@nowhere/nothing")
    services = Services(
        settings=Settings(data_dir=nowhere),
        database=database,
        vectors=cast(Vectors, None),
        tokens=Tokens(None),
        stream=ProgressStream(database),
        thumbnails=cast(Thumbnails, None),
        text=TextTower(nowhere),
        follow_up=cast(FollowUp, None),
    )
    return create_app(services).openapi()


schema = schemathesis.openapi.from_dict(description())
schema = schema.exclude(path_regex="/events$")  # a stream; has tests of its own


@schema.parametrize()
@settings(
    max_examples=CALLS,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
def test_every_call_is_answered_as_described(server: Served, case: schemathesis.Case) -> None:
    case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=30)


def test_the_description_names_every_route(server: Served) -> None:
    paths = server.client.get("/openapi.json").json()["paths"]
    assert {"/api/v1/training/sessions", "/api/v1/training/sessions/{session_id}/events"} <= set(paths)
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert set(operation["responses"]) >= ({"200"} if method == "get" else set()), f"{method} {path}"
            assert all("HTTPValidationError" not in str(answer) for answer in operation["responses"].values())
