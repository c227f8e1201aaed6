"""Vectors in Qdrant, by its local engine in a folder or by a server; stored bytes are the given bytes.

Collections use DOT over vectors that are normalised before they come here: COSINE would normalise them again
and change their bytes. A collection's metadata names the model its vectors are from (Qdrant 1.16 and newer).
"""

import functools
import json
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from qdrant_client.local.local_collection import DEFAULT_VECTOR_NAME
from qdrant_client.local.persistence import CollectionPersistence

from trainyard.vector_filters import INDEXES, Where, qdrant_filter

NAMESPACE = UUID("0f9a6d5e-51c5-5b7e-9d0c-6a1f5f1b7c11")  # any fixed one: the ids below must never change
PAGE = 10_000  # points a scroll of a server; ids alone are some 40 bytes each
EVERYTHING = 2**31 - 1  # the local engine sorts and filters all points anew for every page: one page, then
SERVER_TIMEOUT_SECONDS = 60
PORTS = {"http": 6333, "https": 443}  # of an address without one: Qdrant's own, and an ingress's in front of it
SHOWN_CHARACTERS = 200  # of an answer that says no
SMALLEST_NORM_ERROR = 1e-3  # float32 normalisation is good to 1e-6; more means nobody normalised

P = ParamSpec("P")
T = TypeVar("T")
Payload = Mapping[str, Any]


class VectorsUnavailable(Exception):
    """The server is away, or the disk takes nothing more: worth waiting for."""


class VectorsBusy(Exception):
    """Another process has the folder open."""


class VectorsUnusable(Exception):
    """The folder or server cannot be used as it is; the sentence says what to do."""


class WrongCollection(Exception):
    """A collection of that name holds other vectors."""


@dataclass(frozen=True)
class Retrieved:
    """Vectors in the order asked for, (n, dimension) float32; rows of `missing` ids are NaN."""

    vectors: NDArray[np.float32]
    missing: list[UUID]


@dataclass(frozen=True)
class Match:
    id: UUID
    score: float  # dot product: cosine similarity, as vectors are normalised
    payload: dict[str, Any]


def image_point(asset_id: int, content_sha256: bytes, model: str) -> UUID:
    """The point of an image's embedding by the model (its identity, as in `ensure_collection`)."""
    return uuid5(NAMESPACE, f"image:{asset_id}:{content_sha256.hex()}:{model}")


def face_point(asset_id: int, content_sha256: bytes, model: str, ordinal: int) -> UUID:
    """The point of a face; `ordinal` counts the photo's faces sorted by position, from 0."""
    return uuid5(NAMESPACE, f"face:{asset_id}:{content_sha256.hex()}:{model}:{ordinal}")


def server_address(url: str) -> str:
    """A server's address with its port, and without a slash at its end."""
    parts = urlsplit(url.rstrip("/"))
    if parts.port is None and parts.scheme in PORTS:  # the client would take 6333 for https too
        parts = parts._replace(netloc=f"{parts.netloc.rstrip(':')}:{PORTS[parts.scheme]}")
    return parts.geturl()


def _guarded(
    method: "Callable[Concatenate[Vectors, P], T]",
) -> "Callable[Concatenate[Vectors, P], T]":
    """One call at a time where the engine asks for it, and lost engines told from wrong calls."""

    @functools.wraps(method)
    def call(self: "Vectors", *args: P.args, **kwargs: P.kwargs) -> T:
        with self._one_at_a_time:
            try:
                return method(self, *args, **kwargs)
            except (ResponseHandlingException, json.JSONDecodeError, AssertionError) as error:
                if self._folder:
                    raise
                raise _unanswered(self.place, error) from error
            except (ResourceExhaustedResponse, sqlite3.OperationalError, OSError) as error:
                raise VectorsUnavailable(f"{self.place} does not take requests: {error}") from error
            except UnexpectedResponse as error:
                raise _refused(self.place, error) from error

    return call


def _unanswered(place: str, error: Exception) -> Exception:
    """No answer, or one that the client can make nothing of: no JSON, of another shape, or without a result."""
    if isinstance(error, ResponseHandlingException) and not isinstance(error.source, ValidationError):
        return VectorsUnavailable(f"{place} does not take requests: {error}")
    return VectorsUnusable(f"{place} does not answer as Qdrant does. Check TRAINYARD_QDRANT_URL.")


def _refused(place: str, error: UnexpectedResponse) -> Exception:
    if error.status_code is None or error.status_code in (408, 429) or error.status_code >= 500:
        return VectorsUnavailable(f"{place} does not take requests: {_said(error)}")
    if error.status_code in (401, 403):
        return VectorsUnusable(f"{place} refuses the key ({_said(error)}). Set TRAINYARD_QDRANT_API_KEY.")
    return VectorsUnusable(f"{place} refuses what was asked: {_said(error)}")


def _said(error: UnexpectedResponse) -> str:
    """The server's own sentence; what is in between may answer with a page instead."""
    try:
        sentence = str(json.loads(error.content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        sentence = " ".join(error.content.decode(errors="replace").split())
    return f"{error.status_code}, {sentence[:SHOWN_CHARACTERS] or error.reason_phrase}"


class Vectors:
    """Collections of vectors. Threads may share it. Every method may raise VectorsUnavailable."""

    def __init__(self, client: QdrantClient, place: str, folder: Path | None) -> None:
        self._client = client
        self.place = place
        self._folder = folder  # None: a server's
        self._one_at_a_time: AbstractContextManager[Any] = threading.RLock() if folder else nullcontext()

    @classmethod
    def local(cls, path: Path) -> Self:
        """Qdrant's local engine on a folder, made when absent; all vectors are kept in memory.

        Not thread-safe by itself (concurrent writers lost a third of their points), hence one lock around it.
        Raises VectorsBusy and VectorsUnusable.
        """
        # It warns above 20,000 points; what that costs is known: 10 KiB a point while opening.
        warnings.filterwarnings("ignore", message="Local mode is not recommended")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget_half_made_meta(path)
        return cls(_open(path), f"The vector folder {path}", path)

    @classmethod
    def server(cls, url: str, api_key: str | None = None, timeout_seconds: int = SERVER_TIMEOUT_SECONDS) -> Self:
        """The server at an address; where it names no port, `server_address` says which."""
        # Within a cluster http is what there is; who reads the log cannot change it.
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        address = server_address(url)
        client = QdrantClient(url=address, api_key=api_key, timeout=timeout_seconds, check_compatibility=False)
        return cls(client, f"The Qdrant server {address}", None)

    def close(self) -> None:
        with self._one_at_a_time:
            self._client.close()

    @_guarded
    def collections(self) -> list[str]:
        """Their names, in order."""
        return sorted(collection.name for collection in self._client.get_collections().collections)

    def ping(self) -> None:
        """Return when the engine takes requests."""
        self.collections()

    @_guarded
    def ensure_collection(self, name: str, dimension: int, model: str) -> None:
        """Make the collection when absent; `model` is the identity of the weights its vectors are from.

        Raises WrongCollection when it holds vectors of another dimension, distance or model.
        """
        if not self._client.collection_exists(name):
            self._create(name, dimension, model)
        if self._folder:
            _write_ahead(self._folder / "collection" / name / "storage.sqlite")
        collection = self._client.get_collection(name)
        found = _identity(collection.config.params.vectors, collection.config.metadata)
        wanted = (dimension, models.Distance.DOT.value, model)
        if found != wanted:
            raise WrongCollection(_difference(self.place, name, found, wanted))
        if not self._folder:
            self._index(name, collection.payload_schema)

    @_guarded
    def has_collection(self, name: str) -> bool:
        return self._client.collection_exists(name)

    @_guarded
    def upsert(
        self, collection: str, ids: Sequence[UUID], vectors: NDArray[np.float32], payloads: Sequence[Payload]
    ) -> None:
        """Write n points, replacing those that exist; vectors (n, dimension) float32, L2-normalised."""
        if not len(ids) == len(vectors) == len(payloads):
            raise ValueError(f"{len(ids)} ids, {len(vectors)} vectors and {len(payloads)} payloads do not match")
        if len(ids) == 0:
            return
        _check_normalised(vectors)
        points = [
            models.PointStruct(id=str(id), vector=vector, payload=dict(payload))
            for id, vector, payload in zip(ids, vectors.tolist(), payloads, strict=True)
        ]
        self._client.upsert(collection, points, wait=True)

    @_guarded
    def delete(self, collection: str, ids: Sequence[UUID]) -> None:
        """Remove points; ids that no point has are passed over."""
        if ids:
            selector = models.PointIdsList(points=[str(id) for id in ids])
            self._client.delete(collection, selector, wait=True)

    @_guarded
    def retrieve(self, collection: str, ids: Sequence[UUID]) -> Retrieved:
        records = self._client.retrieve(collection, [str(id) for id in ids], with_payload=False, with_vectors=True)
        found: dict[UUID, Any] = {UUID(str(record.id)): record.vector for record in records}
        vectors = np.full((len(ids), self._dimension(collection)), np.nan, dtype=np.float32)
        for row, id in enumerate(ids):
            if id in found:
                vectors[row] = found[id]
        return Retrieved(vectors, [id for id in ids if id not in found])

    @_guarded
    def set_payload(self, collection: str, ids: Sequence[UUID], payload: Payload) -> None:
        """Merge `payload` into those of the points; a missing point is passed over: its row has the truth."""
        if not ids:
            return
        try:
            self._client.set_payload(collection, dict(payload), [str(id) for id in ids], wait=True)
        except KeyError:
            pass  # the local engine names a missing point after it has written the others
        except UnexpectedResponse as error:
            if error.status_code != 404 or b"point" not in error.content.lower():
                raise

    @_guarded
    def ids_matching(self, collection: str, field: str, values: Sequence[str | int]) -> set[UUID]:
        """Ids of the points whose payload has any of the values in the field."""
        if self._folder:
            # The local engine compares every point with every value: 4 s for 1,000 values and 20,000 points.
            wanted = set(values)
            points = self._scroll(collection, {}, [field])
            return {id for id, payload in points if payload.get(field) in wanted}
        return {id for id, _ in self._scroll(collection, {field: values}, False)} if values else set()

    def payload_pages(self, collection: str) -> Iterator[list[tuple[UUID, dict[str, Any]]]]:
        """Every point's id and payload, ascending by id, a page at a time; the points given may be deleted meanwhile.

        A server's pages are of some thousands; the local engine, which has all points in memory, gives one.
        """
        offset: Any = None
        while True:
            points, offset = self._payload_page(collection, offset)
            yield points
            if offset is None:
                return

    @_guarded
    def _payload_page(self, collection: str, offset: Any) -> tuple[list[tuple[UUID, dict[str, Any]]], Any]:
        limit = EVERYTHING if self._folder else PAGE
        records, after = self._client.scroll(collection, limit=limit, offset=offset, with_payload=True)
        return [(UUID(str(record.id)), record.payload or {}) for record in records], after

    @_guarded
    def delete_collection(self, name: str) -> None:
        """Remove a collection with all its points; one that is not there is passed over."""
        self._client.delete_collection(name)

    @_guarded
    def count(self, collection: str) -> int:
        return self._client.count(collection, exact=True).count

    @_guarded
    def query(
        self, collection: str, vector: NDArray[np.float32], limit: int, where: Where | None = None, offset: int = 0
    ) -> list[Match]:
        """The nearest points to a vector, (dimension,) float32 L2-normalised, best first: `limit` after `offset` more.

        A server's index is approximate: it may rank points a little otherwise when it is asked for more of them.
        """
        answer = self._client.query_points(
            collection,
            query=vector.tolist(),
            limit=limit,
            offset=offset or None,
            query_filter=qdrant_filter(where or {}),
            with_payload=True,
        )
        return [Match(UUID(str(point.id)), point.score, point.payload or {}) for point in answer.points]

    def _create(self, name: str, dimension: int, model: str) -> None:
        parameters = models.VectorParams(size=dimension, distance=models.Distance.DOT)
        try:
            self._client.create_collection(name, vectors_config=parameters, metadata={"model": model})
        except UnexpectedResponse as error:
            if error.status_code != 409:  # another worker was quicker
                raise

    def _index(self, name: str, indexed: Mapping[str, Any]) -> None:
        """Have a server find points by what is filtered by; without an index it looks at every point."""
        for field in INDEXES.keys() - indexed.keys():
            self._client.create_payload_index(name, field, INDEXES[field], wait=True)

    def _scroll(self, collection: str, where: Where, fields: list[str] | bool) -> Iterator[tuple[UUID, dict[str, Any]]]:
        offset: Any = None
        limit = EVERYTHING if self._folder else PAGE
        while True:
            records, offset = self._client.scroll(
                collection, qdrant_filter(where), limit=limit, offset=offset, with_payload=fields
            )
            yield from ((UUID(str(record.id)), record.payload or {}) for record in records)
            if offset is None:
                return

    def _dimension(self, collection: str) -> int:
        config = self._client.get_collection(collection).config
        return _identity(config.params.vectors, None)[0] or 0


def _open(path: Path) -> QdrantClient:
    try:
        # The engine's own check of threads is left out: one lock does it.
        with _loading_as_float32():
            return QdrantClient(path=str(path), force_disable_check_same_thread=True)
    except RuntimeError as error:
        if "already accessed" not in str(error):
            raise
        raise VectorsBusy(
            f"The vector folder {path} is open in another process. Wait for that one to end, or stop it."
        ) from error
    except (json.JSONDecodeError, sqlite3.DatabaseError) as error:
        raise VectorsUnusable(
            f"The vector folder {path} is damaged ({error}). Delete it and run again: the points come back, "
            "as the rows in PostgreSQL say which are missing."
        ) from error


@contextmanager
def _loading_as_float32() -> Iterator[None]:
    """Have the local engine load vectors as the float32 they are.

    It keeps all of a folder's vectors as lists of Python floats while it loads them, then as float64: opening
    20,000 points took 580 MiB and 1.4 s so, and takes 190 MiB and 0.7 s like this.
    """
    load = CollectionPersistence.load

    def load_float32(self: CollectionPersistence) -> Iterator[models.PointStruct]:
        for point in load(self):
            if isinstance(point.vector, list):
                point.vector = {DEFAULT_VECTOR_NAME: np.asarray(point.vector, np.float32)}  # type: ignore[dict-item]
            yield point

    CollectionPersistence.load = load_float32  # type: ignore[method-assign]
    try:
        yield
    finally:
        CollectionPersistence.load = load  # type: ignore[method-assign]


def _write_ahead(storage: Path) -> None:
    # The engine commits each point by itself. With a write-ahead log, as durable, 32 take 8 ms instead of 37.
    with closing(sqlite3.connect(storage)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _forget_half_made_meta(path: Path) -> None:
    # The engine writes its first meta.json in place: a kill at that moment leaves an empty one.
    meta = path / "meta.json"
    if meta.exists() and meta.stat().st_size == 0 and not (path / "collection").exists():
        meta.unlink()


def _identity(parameters: Any, metadata: Mapping[str, Any] | None) -> tuple[int | None, str, str | None]:
    """(dimension, distance, model) of a collection; several named vectors are none of ours."""
    if not isinstance(parameters, models.VectorParams):
        return None, "several named vectors", None
    return parameters.size, parameters.distance.value, (metadata or {}).get("model")


def _difference(place: str, name: str, found: tuple[int | None, str, str | None], wanted: tuple[int, str, str]) -> str:
    def words(identity: tuple[int | None, str, str | None]) -> str:
        return f"dimension {identity[0]}, {identity[1]}, model {(identity[2] or 'unknown')[:12]}"

    return (
        f"{place} has a collection {name!r} of other vectors ({words(found)}; needed: {words(wanted)}). "
        "Delete that collection, whose points come back by running again, or use another data directory or "
        "server."
    )


def _check_normalised(vectors: NDArray[np.float32]) -> None:
    if vectors.dtype != np.float32:
        raise ValueError(f"vectors are {vectors.dtype}, not float32")
    errors = np.abs(np.linalg.norm(vectors, axis=1) - 1)
    if not np.all(errors < SMALLEST_NORM_ERROR):  # NaN is caught too
        raise ValueError(f"vector {int(np.argmax(errors))} is not L2-normalised")
