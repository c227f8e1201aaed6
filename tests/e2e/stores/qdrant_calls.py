"""The REST calls that `trainyard.vectors` makes through the real qdrant-client, and no other, over the local engine.

Bodies are read by the client's own models, which refuse what a server would. A call, or a field of one, that is not
known here is answered 501 and written down: a stand-in that accepted it in silence would prove nothing.
"""

import hmac
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from qdrant_client import models
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.e2e.stores.qdrant_engine import Engine, Refused

NOT_KNOWN = "not-known.txt"  # in the folder: calls that were answered 501
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
OPEN_TO_ALL = {"healthz", "livez", "readyz"}
PARAMETERS = {"wait", "timeout"}

Work: TypeAlias = Callable[[Engine, str, Any], Any]


@dataclass(frozen=True)
class Call:
    work: Work
    body: type[BaseModel] | None = None
    fields: frozenset[str] = frozenset()  # of the body, that may have a value
    writes: bool = False  # the client asks to wait until it is written


def _write(work: Work, body: type[BaseModel], *fields: str) -> Call:
    return Call(work, body, frozenset(fields), writes=True)


def _read(work: Work, body: type[BaseModel], *fields: str) -> Call:
    return Call(work, body, frozenset(fields))


CALLS = {
    "GET collections": Call(Engine.collections),
    "GET collections/{}": Call(Engine.collection),
    "GET collections/{}/exists": Call(Engine.exists),
    "PUT collections/{}": _read(Engine.create, models.CreateCollection, "vectors", "metadata"),  # takes no `wait`
    "DELETE collections/{}": Call(Engine.drop),
    "PUT collections/{}/index": _write(Engine.index, models.CreateFieldIndex, "field_name", "field_schema"),
    "PUT collections/{}/points": _write(Engine.upsert, models.PointsList, "points"),
    "POST collections/{}/points": _read(Engine.retrieve, models.PointRequest, "ids", "with_payload", "with_vector"),
    "POST collections/{}/points/delete": _write(Engine.delete, models.PointIdsList, "points"),
    "POST collections/{}/points/payload": _write(Engine.set_payload, models.SetPayload, "payload", "points"),
    "POST collections/{}/points/scroll": _read(
        Engine.scroll, models.ScrollRequest, "filter", "limit", "offset", "with_payload", "with_vector"
    ),
    "POST collections/{}/points/count": _read(Engine.count, models.CountRequest, "filter", "exact"),
    "POST collections/{}/points/query": _read(
        Engine.query, models.QueryRequest, "query", "filter", "limit", "offset", "with_payload", "with_vector"
    ),
}


class Server:
    """An ASGI application (`app`) over the engine in a folder, open to whoever has the key."""

    def __init__(self, folder: Path, api_key: str | None) -> None:
        self._engine = Engine(folder)
        self._key = api_key
        self._not_known = folder / NOT_KNOWN
        self.app = Starlette(routes=[Route("/{path:path}", self._serve, methods=METHODS)])

    def close(self) -> None:
        self._engine.close()

    async def _serve(self, request: Request) -> Response:
        if request.path_params["path"] in OPEN_TO_ALL:
            return PlainTextResponse(f"{request.path_params['path']} check passed")
        if refusal := self._refusal(request.headers.get("api-key")):
            return PlainTextResponse(refusal, 401)
        body = await request.body()
        return await run_in_threadpool(self._answer, request, body)

    def _refusal(self, key: str | None) -> str | None:
        if self._key is None:
            return None
        if key is None:
            return "Must provide an API key or an Authorization bearer token"
        return None if hmac.compare_digest(key.encode(), self._key.encode()) else "Invalid API key or JWT"

    def _answer(self, request: Request, body: bytes) -> Response:
        began = time.perf_counter()
        status, said = 200, "ok"
        result: Any = None
        try:
            result = self._work(request, body)
        except Refused as error:
            status, said = error.status, {"error": str(error)}
        except (ValueError, TypeError) as error:  # how the local engine refuses
            status, said = 400, {"error": f"Wrong input: {error}"}
        if status == 501:
            self._write_down(request, said["error"])
        answer = {"result": result, "status": said, "time": time.perf_counter() - began}
        return Response(to_json(answer), status, media_type="application/json")

    def _work(self, request: Request, body: bytes) -> Any:
        name, call = _call(request)
        content = _content(call, body)
        with self._engine.one_at_a_time:
            return call.work(self._engine, name, content)

    def _write_down(self, request: Request, why: str) -> None:
        line = f"{request.method} {request.url.path}?{request.url.query}: {why}"
        print(f"NOT KNOWN TO THE STAND-IN FOR QDRANT: {line}", file=sys.stderr, flush=True)
        with self._not_known.open("a") as file:
            file.write(f"{line}\n")


def _call(request: Request) -> tuple[str, Call]:
    """The collection's name and what is asked of it."""
    parts = request.scope["raw_path"].decode().strip("/").split("/")
    name = unquote(parts[1]) if len(parts) > 1 else ""
    pattern = "/".join("{}" if position == 1 else part for position, part in enumerate(parts))
    call = CALLS.get(f"{request.method} {pattern}")
    if call is None:
        raise Refused(501, "This stand-in does not know the call.")
    if unknown := request.query_params.keys() - PARAMETERS:
        raise Refused(501, f"This stand-in does not know {', '.join(sorted(unknown))}.")
    if call.writes and request.query_params.get("wait") != "true":
        raise Refused(501, "This stand-in knows only writes that are waited for (wait=true).")
    return name, call


def _content(call: Call, body: bytes) -> BaseModel | None:
    if call.body is None:
        return None
    try:
        content = call.body.model_validate_json(body)
    except ValidationError as error:
        raise Refused(400, f"Format error in JSON body: {error}") from error
    given = {field for field in type(content).model_fields if getattr(content, field) is not None}
    if unknown := given - call.fields:
        raise Refused(501, f"This stand-in does not know the field {', '.join(sorted(unknown))}.")
    return content
