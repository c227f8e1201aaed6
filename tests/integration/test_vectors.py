"""Vectors through Qdrant's local engine, reopened, shared by threads and killed."""

import hashlib
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.points import ids_in
from trainyard.vectors import Vectors, VectorsBusy, VectorsUnavailable, VectorsUnusable, WrongCollection

REPOSITORY = Path(__file__).parents[2]
DIMENSION = 512
MODEL = hashlib.sha256(b"weights").hexdigest()
UPSERT_FOR_EVER = """
import sys; from pathlib import Path; from uuid import UUID
import numpy as np; from trainyard.vectors import Vectors
vectors = Vectors.local(Path(sys.argv[1])); vectors.ensure_collection("images", 512, sys.argv[2])
for batch in range(10_000):
    ids = [UUID(int=batch * 32 + row) for row in range(32)]
    values = np.random.default_rng(batch).standard_normal((32, 512)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    vectors.upsert("images", ids, values, [{"asset_id": id.int} for id in ids]); print(batch, flush=True)
"""
FILL_THE_DISK = """
import resource, sys; from pathlib import Path; from uuid import UUID
import numpy as np; from trainyard.vectors import Vectors, VectorsUnavailable
vectors = Vectors.local(Path(sys.argv[1])); vectors.ensure_collection("images", 512, "m")
values = np.eye(512, dtype=np.float32); ids = [UUID(int=row) for row in range(512)]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    vectors.upsert("images", ids, values, [{}] * 512)
except VectorsUnavailable as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
vectors.upsert("images", ids, values, [{}] * 512); print(vectors.count("images"))
"""


def unit_vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


def hashes(values: NDArray[np.float32]) -> list[str]:
    return [hashlib.sha256(row.astype("<f4").tobytes()).hexdigest() for row in values]


@contextmanager
def opened(folder: Path, collection: str = "images", model: str = MODEL) -> Iterator[Vectors]:
    vectors = Vectors.local(folder)
    try:
        vectors.ensure_collection(collection, DIMENSION, model)
        yield vectors
    finally:
        vectors.close()


def filled(vectors: Vectors, count: int) -> tuple[list[UUID], NDArray[np.float32]]:
    ids, values = [uuid4() for _ in range(count)], unit_vectors(count)
    vectors.upsert("images", ids, values, [{"asset_id": n, "path": f"{n}.jpg"} for n in range(count)])
    return ids, values


def test_bytes_read_back_hash_to_those_written_also_after_reopening(qdrant_dir: Path) -> None:
    with opened(qdrant_dir) as vectors:
        ids, values = filled(vectors, 100)
        assert hashes(vectors.retrieve("images", ids).vectors) == hashes(values)
    with opened(qdrant_dir) as vectors:
        assert hashes(vectors.retrieve("images", ids[::-1]).vectors) == hashes(values)[::-1]


def test_reopened_vectors_take_no_more_memory_than_float32(qdrant_dir: Path) -> None:
    with opened(qdrant_dir) as vectors:
        filled(vectors, 50)
    with opened(qdrant_dir) as vectors:
        kept = vectors._client._client.collections["images"].vectors[""]
        assert (kept.dtype, kept.shape) == (np.float32, (50, DIMENSION))


def test_eight_threads_lose_nothing(qdrant_dir: Path) -> None:
    batches = [([uuid4() for _ in range(16)], unit_vectors(16, seed)) for seed in range(80)]

    def write_and_read(batch: tuple[list[UUID], NDArray[np.float32]]) -> None:
        ids, values = batch
        vectors.upsert("images", ids, values, [{}] * 16)
        vectors.query("images", values[0], limit=3)
        vectors.retrieve("images", ids)

    with opened(qdrant_dir) as vectors, ThreadPoolExecutor(8) as threads:
        list(threads.map(write_and_read, batches))
    with opened(qdrant_dir) as vectors:
        assert vectors.count("images") == 80 * 16
        for ids, values in batches:
            assert hashes(vectors.retrieve("images", ids).vectors) == hashes(values)


@pytest.mark.parametrize("batches_before_kill", [1, 5])
def test_a_kill_while_writing_loses_no_batch_that_was_acknowledged(qdrant_dir: Path, batches_before_kill: int) -> None:
    command = [sys.executable, "-c", UPSERT_FOR_EVER, str(qdrant_dir), MODEL]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as writer:
        for _ in range(batches_before_kill):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
    with opened(qdrant_dir) as vectors:
        for batch in range(acknowledged + 1):
            ids = [UUID(int=batch * 32 + row) for row in range(32)]
            assert hashes(vectors.retrieve("images", ids).vectors) == hashes(unit_vectors(32, batch))
        assert vectors.count("images") == len(ids_in(vectors, "images"))


def test_vectors_of_another_model_or_shape_are_refused(qdrant_dir: Path) -> None:
    with opened(qdrant_dir):
        pass
    vectors = Vectors.local(qdrant_dir)
    with pytest.raises(WrongCollection, match=rf"'images'.*model {MODEL[:12]}; needed: .*model other.*Delete"):
        vectors.ensure_collection("images", DIMENSION, "other")
    with pytest.raises(WrongCollection, match=r"dimension 512.*needed: dimension 128"):
        vectors.ensure_collection("images", 128, MODEL)
    vectors.close()


def test_a_folder_that_is_gone_begins_empty(qdrant_dir: Path) -> None:
    with opened(qdrant_dir) as vectors:
        assert vectors.count("images") == 0
        assert ids_in(vectors, "images") == []


def test_a_folder_killed_at_its_very_first_write_begins_empty(qdrant_dir: Path) -> None:
    qdrant_dir.mkdir()
    (qdrant_dir / "meta.json").touch()
    with opened(qdrant_dir) as vectors:
        assert vectors.count("images") == 0


def test_a_damaged_folder_is_explained(qdrant_dir: Path) -> None:
    qdrant_dir.mkdir()
    (qdrant_dir / "meta.json").write_text("{")
    with pytest.raises(VectorsUnusable, match=r"damaged .*Delete it and run again"):
        Vectors.local(qdrant_dir)


def test_a_folder_open_elsewhere_is_refused(qdrant_dir: Path) -> None:
    with opened(qdrant_dir), pytest.raises(VectorsBusy, match="open in another process"):
        Vectors.local(qdrant_dir)


def test_missing_points_are_named_and_their_rows_are_nan(qdrant_dir: Path) -> None:
    with opened(qdrant_dir) as vectors:
        ids, values = filled(vectors, 3)
        stranger = uuid4()
        found = vectors.retrieve("images", [ids[2], stranger, ids[0]])
    assert found.missing == [stranger]
    assert hashes(found.vectors[[0, 2]]) == hashes(values[[2, 0]])
    assert np.isnan(found.vectors[1]).all()


def test_points_are_found_by_payload_and_deleted_by_id(qdrant_dir: Path) -> None:
    with opened(qdrant_dir) as vectors:
        ids, values = filled(vectors, 10)
        assert vectors.ids_matching("images", "asset_id", [3, 5, 99]) == {ids[3], ids[5]}
        assert vectors.ids_matching("images", "asset_id", []) == set()
        vectors.delete("images", [ids[3], uuid4()])
        assert vectors.ids_matching("images", "asset_id", [3, 5]) == {ids[5]}
        assert ids_in(vectors, "images") == sorted(set(ids) - {ids[3]})
        matches = vectors.query("images", values[7], limit=2, where={"path": ["7.jpg", "8.jpg", "3.jpg"]})
    assert [match.id for match in matches] == [ids[7], ids[8]]
    assert matches[0].score == pytest.approx(1, abs=1e-5)
    assert matches[0].payload == {"asset_id": 7, "path": "7.jpg"}


def test_payload_is_merged_and_missing_points_are_passed_over(qdrant_dir: Path) -> None:
    with opened(qdrant_dir) as vectors:
        ids, values = filled(vectors, 3)
        vectors.set_payload("images", [uuid4(), ids[1]], {"person_id": 8})
        match = vectors.query("images", values[1], limit=1)[0]
        assert match.payload == {"asset_id": 1, "path": "1.jpg", "person_id": 8}
        assert hashes(vectors.retrieve("images", ids).vectors) == hashes(values)


def test_payloads_come_in_one_page(qdrant_dir: Path) -> None:
    with opened(qdrant_dir) as vectors:
        ids, _ = filled(vectors, 3)
        (page,) = vectors.payload_pages("images")
        assert dict(page) == {id: {"asset_id": n, "path": f"{n}.jpg"} for n, id in enumerate(ids)}


def test_a_collection_that_was_half_deleted_is_empty_and_may_be_deleted(qdrant_dir: Path) -> None:
    with opened(qdrant_dir) as vectors:
        filled(vectors, 3)
    shutil.rmtree(qdrant_dir / "collection/images")  # as far as the engine had come
    vectors = Vectors.local(qdrant_dir)
    assert vectors.count("images") == 0
    vectors.delete_collection("images")
    vectors.close()
    with opened(qdrant_dir) as vectors:
        assert vectors.count("images") == 0


def test_vectors_nobody_normalised_are_refused(qdrant_dir: Path) -> None:
    with opened(qdrant_dir) as vectors:
        values = unit_vectors(3)
        values[1] *= 2
        with pytest.raises(ValueError, match="vector 1 is not L2-normalised"):
            vectors.upsert("images", [uuid4() for _ in values], values, [{}] * 3)
        with pytest.raises(ValueError, match="float64, not float32"):
            vectors.upsert("images", [uuid4()], np.ones((1, DIMENSION)), [{}])
        assert vectors.count("images") == 0


def test_a_full_disk_is_worth_waiting_for_and_leaves_the_folder_whole(qdrant_dir: Path) -> None:
    command = [sys.executable, "-c", FILL_THE_DISK, str(qdrant_dir)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    refused, count = done.stdout.splitlines()
    assert refused.startswith(f"The vector folder {qdrant_dir} does not take requests: ")
    assert count == "512"


@contextmanager
def server_that_answers(status: int) -> Iterator[str]:
    """Stands in for a Qdrant server in trouble, which cannot be had here."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_is_away_or_overloaded_is_worth_waiting_for() -> None:
    with server_that_answers(503) as url, pytest.raises(VectorsUnavailable, match=url):
        Vectors.server(url).ensure_collection("images", DIMENSION, MODEL)
    with pytest.raises(VectorsUnavailable, match=url):
        Vectors.server(url).ensure_collection("images", DIMENSION, MODEL)


def test_a_server_that_refuses_the_key_is_not_worth_waiting_for() -> None:
    with server_that_answers(401) as url, pytest.raises(VectorsUnusable, match="TRAINYARD_QDRANT_API_KEY"):
        Vectors.server(url).ensure_collection("images", DIMENSION, MODEL)
