"""A server's collections have indexes of the fields that points are filtered by."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from trainyard.vectors import Vectors

MODEL = "a" * 64
EVERY_INDEX = {"asset_id": "integer", "category_id": "integer", "person_ids": "integer", "taken_at": "datetime"}
INFO = {
    "status": "green",
    "optimizer_status": "ok",
    "segments_count": 1,
    "config": {
        "params": {"vectors": {"size": 4, "distance": "Dot"}},
        "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
        "optimizer_config": {
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1000,
            "default_segment_number": 0,
            "flush_interval_sec": 5,
        },
        "metadata": {"model": MODEL},
    },
}


class CollectionServer:
    """Stands in for a Qdrant server with one collection, which cannot be had here: it notes the indexes asked for."""

    def __init__(self) -> None:
        self.indexed: dict[str, str] = {}
        self.asked = 0

    def answer(self, method: str, path: str, body: Any) -> Any:
        if path.endswith("/exists"):
            return {"exists": True}
        if method == "PUT" and "/index" in path:
            self.asked += 1
            self.indexed[body["field_name"]] = body["field_schema"]
            return {"operation_id": self.asked, "status": "completed"}
        schema = {field: {"data_type": kind, "points": 0} for field, kind in self.indexed.items()}
        return {**INFO, "payload_schema": schema}


@contextmanager
def listening(server: CollectionServer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
            result = server.answer(self.command, self.path, content)
            body = json.dumps({"result": result, "status": "ok", "time": 0.0}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_what_is_filtered_by_is_indexed_once() -> None:
    server = CollectionServer()
    with listening(server) as url:
        vectors = Vectors.server(url)
        vectors.ensure_collection("images", 4, MODEL)
        assert server.indexed == EVERY_INDEX
        vectors.ensure_collection("images", 4, MODEL)
        vectors.close()
    assert server.asked == len(EVERY_INDEX)


def test_an_index_that_an_earlier_version_or_a_killed_worker_did_not_make_is_made_later() -> None:
    server = CollectionServer()
    server.indexed = {"asset_id": "integer", "category_id": "integer"}
    with listening(server) as url:
        vectors = Vectors.server(url)
        vectors.ensure_collection("images", 4, MODEL)
        vectors.close()
    assert server.indexed == EVERY_INDEX
    assert server.asked == 2
