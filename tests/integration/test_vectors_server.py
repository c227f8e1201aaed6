"""Vectors through a Qdrant server as pods have it: by HTTP, with a key, from several processes and threads at once.

The server is the one that TRAINYARD_E2E_QDRANT_URL names, else the stand-in of the end-to-end tests.
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from qdrant_client import QdrantClient

from tests.e2e.stores.qdrant import Qdrant, StandIn, qdrant, stand_in
from tests.integration.test_vectors import DIMENSION, MODEL, REPOSITORY, hashes, unit_vectors
from tests.points import ids_in
from trainyard.vector_filters import INDEXES
from trainyard.vectors import Vectors, VectorsUnavailable, VectorsUnusable, WrongCollection

HOST, KEY = "127.0.0.1", "a key: %41+/="
UPSERT_AS_A_POD = """
import sys; from uuid import UUID; from tests.integration.test_vectors import *
url, key, name, pod = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
vectors = Vectors.server(url, key); vectors.ensure_collection(name, DIMENSION, MODEL)
with ThreadPoolExecutor(4) as threads:
    list(threads.map(lambda seed: vectors.upsert(
        name, [UUID(int=seed * 8 + row) for row in range(8)], unit_vectors(8, seed), [{"asset_id": seed}] * 8
    ), range(pod * 10, pod * 10 + 10)))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qdrant]:
    with qdrant(HOST, tmp_path_factory.mktemp("qdrant"), KEY, port=0) as server:
        yield server


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[StandIn]:
    """One of the test's own, which may be killed."""
    with stand_in(HOST, tmp_path, KEY, port=0) as server:
        yield server


@pytest.fixture
def vectors(server: Qdrant) -> Iterator[Vectors]:
    with closing(Vectors.server(server.url, server.api_key)) as vectors:
        yield vectors


@pytest.fixture
def name(vectors: Vectors) -> str:
    """A collection of the test's own, which is empty."""
    name = f"images-{uuid4().hex}"
    vectors.ensure_collection(name, DIMENSION, MODEL)
    return name


def filled(vectors: Vectors, name: str, count: int) -> tuple[list[UUID], NDArray[np.float32]]:
    ids, values = [uuid4() for _ in range(count)], unit_vectors(count)
    vectors.upsert(name, ids, values, [{"asset_id": n, "path": f"{n}.jpg"} for n in range(count)])
    return ids, values


# What is kept


def test_bytes_that_came_by_json_are_the_bytes_given(vectors: Vectors, name: str) -> None:
    ids, values = filled(vectors, name, 500)
    assert hashes(vectors.retrieve(name, ids[::-1]).vectors) == hashes(values)[::-1]


def test_the_smallest_and_the_awkward_float32_come_back_too(vectors: Vectors, name: str) -> None:
    tiny = np.array([np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).tiny, -0.0, 0.1, 1 / 3], np.float32)
    values = np.zeros((1, DIMENSION), np.float32)
    values[0, :5], values[0, 5] = tiny, np.sqrt(1 - np.float32(0.1) ** 2 - np.float32(1 / 3) ** 2)
    vectors.upsert(name, [id := uuid4()], values, [{}])
    assert vectors.retrieve(name, [id]).vectors.tobytes() == values.tobytes()


def test_a_server_that_was_killed_has_every_point_it_confirmed(mortal: StandIn) -> None:
    with closing(Vectors.server(mortal.qdrant.url, KEY)) as vectors:
        vectors.ensure_collection("images", DIMENSION, MODEL)
        ids, values = filled(vectors, "images", 40)
        mortal.stop()
        with pytest.raises(VectorsUnavailable, match=mortal.qdrant.url):
            vectors.count("images")
        mortal.start()
        assert hashes(vectors.retrieve("images", ids).vectors) == hashes(values)
        assert vectors._client.get_collection("images").payload_schema.keys() == INDEXES.keys()


def test_pods_with_threads_lose_nothing(server: Qdrant, vectors: Vectors) -> None:
    name = f"images-{uuid4().hex}"
    command = [sys.executable, "-c", UPSERT_AS_A_POD, server.url, server.api_key or "", name]
    pods = [subprocess.Popen([*command, str(pod)], cwd=REPOSITORY) for pod in range(3)]
    assert [pod.wait() for pod in pods] == [0, 0, 0]
    assert ids_in(vectors, name) == [UUID(int=number) for number in range(240)]
    for seed in range(30):
        found = vectors.retrieve(name, [UUID(int=seed * 8 + row) for row in range(8)])
        assert hashes(found.vectors) == hashes(unit_vectors(8, seed))


def test_workers_that_make_a_collection_at_once_share_it(server: Qdrant, vectors: Vectors) -> None:
    name = f"images-{uuid4().hex}"
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: vectors.ensure_collection(name, DIMENSION, MODEL), range(16)))
    assert vectors.count(name) == 0


# The same answers as the local engine's


def test_vectors_of_another_model_or_shape_are_refused(vectors: Vectors, name: str) -> None:
    with pytest.raises(WrongCollection, match=rf"'{name}'.*model {MODEL[:12]}; needed: .*model other.*Delete"):
        vectors.ensure_collection(name, DIMENSION, "other")
    with pytest.raises(WrongCollection, match=r"dimension 512.*needed: dimension 128"):
        vectors.ensure_collection(name, 128, MODEL)


def test_missing_points_are_named_and_their_rows_are_nan(vectors: Vectors, name: str) -> None:
    ids, values = filled(vectors, name, 3)
    stranger = uuid4()
    found = vectors.retrieve(name, [ids[2], stranger, ids[0]])
    assert found.missing == [stranger]
    assert hashes(found.vectors[[0, 2]]) == hashes(values[[2, 0]])
    assert np.isnan(found.vectors[1]).all()


def test_points_are_found_by_payload_and_deleted_by_id(vectors: Vectors, name: str) -> None:
    ids, values = filled(vectors, name, 10)
    assert vectors.ids_matching(name, "asset_id", [3, 5, 99]) == {ids[3], ids[5]}
    assert vectors.ids_matching(name, "asset_id", []) == set()
    vectors.delete(name, [ids[3], uuid4()])
    assert vectors.ids_matching(name, "asset_id", [3, 5]) == {ids[5]}
    assert ids_in(vectors, name) == sorted(set(ids) - {ids[3]})
    matches = vectors.query(name, values[7], limit=2, where={"path": ["7.jpg", "8.jpg", "3.jpg"]})
    assert [match.id for match in matches] == [ids[7], ids[8]]
    assert matches[0].score == pytest.approx(1, abs=1e-5)
    assert matches[0].payload == {"asset_id": 7, "path": "7.jpg"}


def test_more_points_than_a_page_are_all_found(vectors: Vectors, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainyard.vectors.PAGE", 7)
    ids, _ = filled(vectors, name, 30)
    assert ids_in(vectors, name) == sorted(ids)
    assert vectors.ids_matching(name, "asset_id", list(range(20))) == set(ids[:20])


def test_payloads_come_in_pages_from_which_points_may_be_deleted(
    vectors: Vectors, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, _ = filled(vectors, name, 10)
    monkeypatch.setattr("trainyard.vectors.PAGE", 3)
    seen = []
    for page in vectors.payload_pages(name):
        vectors.delete(name, [id for id, _ in page])
        seen.append(page)
    payloads = {ids[n]: {"asset_id": n, "path": f"{n}.jpg"} for n in range(10)}
    assert [len(page) for page in seen] == [3, 3, 3, 1]
    assert dict(point for page in seen for point in page) == payloads
    assert vectors.count(name) == 0


def test_a_deleted_collection_is_gone_and_may_be_made_anew(vectors: Vectors, name: str) -> None:
    filled(vectors, name, 3)
    for _ in range(2):
        vectors.delete_collection(name)
    assert name not in vectors.collections()
    vectors.ensure_collection(name, DIMENSION, MODEL)
    assert vectors.count(name) == 0


def test_payload_is_merged_and_missing_points_are_passed_over(vectors: Vectors, name: str) -> None:
    ids, values = filled(vectors, name, 3)
    vectors.set_payload(name, [uuid4(), ids[1]], {"person_id": 8})
    match = vectors.query(name, values[1], limit=1)[0]
    assert match.payload == {"asset_id": 1, "path": "1.jpg", "person_id": 8}
    assert hashes(vectors.retrieve(name, ids).vectors) == hashes(values)


def test_a_collection_that_is_gone_is_no_missing_point(vectors: Vectors) -> None:
    with pytest.raises(VectorsUnusable, match="Collection `gone` doesn't exist"):
        vectors.set_payload("gone", [uuid4()], {"person_id": 8})
    assert not vectors.has_collection("gone")


# The key


@pytest.mark.parametrize("key", ["another", None, KEY[:-1]])
def test_another_key_is_refused(server: Qdrant, key: str | None) -> None:
    with closing(Vectors.server(server.url, key)) as vectors, pytest.raises(VectorsUnusable, match="refuses the key"):
        vectors.ping()


@pytest.mark.filterwarnings("error")
def test_a_key_within_the_cluster_is_nothing_to_warn_of(server: Qdrant) -> None:
    with closing(Vectors.server(server.url, server.api_key)) as vectors:
        vectors.ping()


# The stand-in itself: what it does not know must show


@pytest.mark.filterwarnings("ignore:Api key is used")
def test_calls_that_are_not_known_are_refused_and_written_down(tmp_path: Path) -> None:
    server = StandIn(HOST, 0, tmp_path, KEY)
    server.start()
    with closing(QdrantClient(url=server.qdrant.url, api_key=KEY, check_compatibility=False)) as client:
        for call in (
            lambda: client.create_snapshot("images"),
            lambda: client.delete("images", [1], wait=False),
            lambda: client.scroll("images", order_by="asset_id"),
        ):
            with pytest.raises(Exception, match="501"):
                call()
    server.stop()
    with pytest.raises(AssertionError, match=r"(?s)POST /collections/images/snapshots.*wait=false.*order_by"):
        server.check()


def test_a_body_that_a_server_would_not_take_is_refused(mortal: StandIn) -> None:
    with httpx.Client(base_url=mortal.qdrant.url, headers={"api-key": KEY}) as client:
        vector = {"size": 4, "distance": "Dot"}
        assert client.put("/collections/a", json={"vectors": vector}).json()["result"] is True
        assert client.put("/collections/a", json={"vectors": vector}).status_code == 409
        points = {"points": [{"id": str(uuid4()), "vector": [1.0, 0.0], "payload": {}}]}
        assert client.put("/collections/a/points?wait=true", json=points).status_code == 400
        assert client.put("/collections/a/points?wait=true", json={"dots": []}).status_code == 400
        assert client.put("/collections/b/points?wait=true", json=points).status_code == 404


# Addresses


@contextmanager
def page_of_another_service(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Answer) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{http.server_port}"
        http.shutdown()


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b'{"ok": true}', b'{"result": 3}'])
def test_a_service_that_is_no_qdrant_is_not_worth_waiting_for(body: bytes) -> None:
    with (
        page_of_another_service(200, body, {}) as url,
        closing(Vectors.server(url)) as vectors,
        pytest.raises(VectorsUnusable, match=r"does not answer as Qdrant does.*TRAINYARD_QDRANT_URL"),
    ):
        vectors.has_collection("images")


def test_a_server_that_asks_for_patience_is_worth_waiting_for() -> None:
    answer = b'{"status": {"error": "Rate limiting exceeded: Write rate limit exceeded"}}'
    with (
        page_of_another_service(429, answer, {"Retry-After": "1"}) as url,
        closing(Vectors.server(url)) as vectors,
        pytest.raises(VectorsUnavailable, match="Rate limiting exceeded"),
    ):
        vectors.ping()


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://qdrant", "http://qdrant:6333/collections"),
        ("http://qdrant:80/", "http://qdrant:80/collections"),
        ("https://vectors.example.org", "https://vectors.example.org:443/collections"),
        ("https://vectors.example.org:6333", "https://vectors.example.org:6333/collections"),
        ("https://example.org/a/prefix", "https://example.org:443/a/prefix/collections"),
        ("http://[::1]:6333/a/", "http://[::1]:6333/a/collections"),
    ],
)
def test_an_address_is_taken_as_it_is_written(url: str, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[httpx.Request] = []

    def send(self: httpx.Client, request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"result": {"collections": []}})

    monkeypatch.setattr(httpx.Client, "send", send)
    with closing(Vectors.server(url)) as vectors:
        vectors.ping()
    assert [request.url for request in sent] == [httpx.URL(asked)]
