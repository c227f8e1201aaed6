"""Points by what their payloads say, all at once: the same answers from the local engine and from a server."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from tests.e2e.stores.qdrant import qdrant
from trainyard.vector_filters import AllOf, Between, Where
from trainyard.vectors import Vectors

MODEL = "a" * 64
QUERY = np.array([1, 0, 0, 0], np.float32)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PAYLOADS: list[dict[str, Any]] = [  # the nearest first
    {"asset_id": 0, "category_id": 1, "person_ids": [1, 2, 3], "taken_at": "2024-05-01T12:00:00+00:00"},
    {"asset_id": 1, "category_id": 2, "person_ids": [1, 2], "taken_at": "2024-05-01T14:00:00+02:00"},
    {"asset_id": 2, "category_id": 1, "person_ids": [2], "taken_at": "2024-05-01T12:00:00.000001Z"},
    {"asset_id": 3, "category_id": None, "person_ids": [], "taken_at": None},
    {"asset_id": 4},  # as an earlier version wrote it
]


@pytest.fixture(scope="module", params=["local engine", "server"])
def vectors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vectors]:
    folder = tmp_path_factory.mktemp("qdrant")
    if request.param == "local engine":
        with closing(Vectors.local(folder)) as vectors:
            yield vectors
        return
    with (
        qdrant("127.0.0.1", folder, "a key", port=0) as server,
        closing(Vectors.server(server.url, server.api_key)) as vectors,
    ):
        yield vectors


@pytest.fixture(scope="module")
def name(vectors: Vectors) -> str:
    name = f"images-{uuid4().hex}"
    vectors.ensure_collection(name, 4, MODEL)
    angles = np.linspace(0, 1, len(PAYLOADS))
    values = np.stack([np.array([np.cos(angle), np.sin(angle), 0, 0], np.float32) for angle in angles])
    vectors.upsert(name, [UUID(int=number) for number in range(len(PAYLOADS))], values, PAYLOADS)
    return name


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"category_id": [1, 99]}, [0, 2]),
        ({"person_ids": [1, 3]}, [0, 1]),  # any of them
        ({"person_ids": AllOf([1, 2])}, [0, 1]),
        ({"person_ids": AllOf([1, 2, 3])}, [0]),
        ({"person_ids": AllOf([])}, [0, 1, 2, 3, 4]),
        ({"taken_at": Between(NOON, NOON)}, [0, 1]),  # both ends included, in whatever offset they are written
        ({"taken_at": Between(NOON.astimezone(timezone(timedelta(hours=-5))), None)}, [0, 1, 2]),
        ({"taken_at": Between(None, NOON - timedelta(microseconds=1))}, []),
        ({"person_ids": AllOf([2]), "category_id": [1], "taken_at": Between(None, NOON)}, [0]),
    ],
    ids=str,
)
def test_every_condition_must_be_met(vectors: Vectors, name: str, where: Where, found: list[int]) -> None:
    matches = vectors.query(name, QUERY, limit=10, where=where)
    assert [match.payload["asset_id"] for match in matches] == found


def test_pages_follow_each_other(vectors: Vectors, name: str) -> None:
    pages = [vectors.query(name, QUERY, 2, {"person_ids": AllOf([2])}, offset) for offset in (0, 2, 4)]
    assert [[match.payload["asset_id"] for match in page] for page in pages] == [[0, 1], [2], []]


def test_a_list_that_is_set_anew_is_found_by_what_it_is_then(vectors: Vectors, name: str) -> None:
    vectors.set_payload(name, [UUID(int=4)], {"person_ids": [7, 8]})
    matches = vectors.query(name, QUERY, 10, {"person_ids": AllOf([8, 7])})
    assert [match.id for match in matches] == [UUID(int=4)]
    vectors.set_payload(name, [UUID(int=4)], {"person_ids": []})
    assert vectors.query(name, QUERY, 10, {"person_ids": AllOf([8, 7])}) == []
