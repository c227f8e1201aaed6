"""What the stand-in for a Qdrant server keeps, and what each call does to it: Qdrant's own local engine in a folder.

Errors carry the codes and sentences of a server (its src/actix/helpers.rs says which).
"""

import json
import threading
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel
from qdrant_client import QdrantClient, models

from trainyard.vectors import Vectors, _write_ahead

INDEXES = "indexes.json"  # beside the engine's folder: the local engine keeps none


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Engine:
    """One call at a time, as the local engine asks for; whoever calls holds `one_at_a_time`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "engine"
        self._vectors = Vectors.local(self._folder)
        self._client: QdrantClient = self._vectors._client
        self._indexes_file = folder / INDEXES
        self._indexes: dict[str, dict[str, str]] = {}
        if self._indexes_file.exists():
            self._indexes = json.loads(self._indexes_file.read_text())
        self._operations = 0
        self.one_at_a_time = threading.Lock()

    def close(self) -> None:
        self._vectors.close()

    def collections(self, _: str, __: None) -> Any:
        return self._client.get_collections()

    def exists(self, name: str, _: None) -> Any:
        return {"exists": self._client.collection_exists(name)}

    def collection(self, name: str, _: None) -> Any:
        self._check_there(name)
        info = self._client.get_collection(name)
        kinds = self._indexes.get(name, {})
        schema = {field: {"data_type": kind, "points": info.points_count} for field, kind in kinds.items()}
        return info.model_copy(update={"payload_schema": schema})

    def create(self, name: str, body: models.CreateCollection) -> Any:
        if self._client.collection_exists(name):
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        if not isinstance(body.vectors, models.VectorParams):
            raise Refused(501, "This stand-in knows only collections with one vector a point.")
        self._client.create_collection(name, vectors_config=body.vectors, metadata=body.metadata)
        _write_ahead(self._folder / "collection" / name / "storage.sqlite")
        return True

    def drop(self, name: str, _: None) -> Any:
        if self._indexes.pop(name, None):
            self._indexes_file.write_text(json.dumps(self._indexes))
        return self._client.delete_collection(name)

    def index(self, name: str, body: models.CreateFieldIndex) -> Any:
        self._check_there(name)
        if not isinstance(body.field_schema, models.PayloadSchemaType):
            raise Refused(501, "This stand-in knows only indexes that name a type and nothing else.")
        self._indexes.setdefault(name, {})[body.field_name] = body.field_schema.value
        self._indexes_file.write_text(json.dumps(self._indexes))
        return self._done()

    def upsert(self, name: str, body: models.PointsList) -> Any:
        self._check_there(name)
        self._client.upsert(name, body.points)
        return self._done()

    def delete(self, name: str, body: models.PointIdsList) -> Any:
        self._check_there(name)
        self._client.delete(name, body)
        return self._done()

    def retrieve(self, name: str, body: models.PointRequest) -> Any:
        self._check_there(name)
        return self._client.retrieve(name, body.ids, body.with_payload or False, body.with_vector or False)

    def set_payload(self, name: str, body: models.SetPayload) -> Any:
        self._check_there(name)
        try:
            self._client.set_payload(name, body.payload, body.points or [])
        except KeyError as error:  # the points that are there have been written, as a server does
            raise Refused(404, f"Not found: No point with id {error.args[0]} found") from error
        return self._done()

    def scroll(self, name: str, body: models.ScrollRequest) -> Any:
        self._check_there(name)
        points, following = self._client.scroll(
            name,
            body.filter,
            limit=body.limit or 10,
            offset=body.offset,
            with_payload=True if body.with_payload is None else cast(Any, body.with_payload),
            with_vectors=body.with_vector or False,
        )
        return {"points": points, "next_page_offset": following}

    def count(self, name: str, body: models.CountRequest) -> Any:
        self._check_there(name)
        return self._client.count(name, body.filter, exact=True)

    def query(self, name: str, body: models.QueryRequest) -> Any:
        self._check_there(name)
        return self._client.query_points(
            name,
            query=cast(Any, body.query),
            query_filter=body.filter,
            limit=body.limit or 10,
            offset=body.offset,
            with_payload=cast(Any, body.with_payload or False),
            with_vectors=body.with_vector or False,
        )

    def _check_there(self, name: str) -> None:
        if not self._client.collection_exists(name):
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")

    def _done(self) -> BaseModel:
        self._operations += 1
        return models.UpdateResult(operation_id=self._operations, status=models.UpdateStatus.COMPLETED)
