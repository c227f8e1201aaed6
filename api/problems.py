"""Errors as RFC 9457 problems: what went wrong, on what, and what to do, with a code for programs."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.exceptions import HTTPException

from api.schemas import Out
from trainyard.active_sessions import SessionActive
from trainyard.database import DatabaseUnavailable, connection_lost, first_line
from trainyard.folders import RootUnusable
from trainyard.lifecycle import NoSuchSession
from trainyard.people.errors import AlreadyUndone, InvalidName, NameTaken, PeopleError, TooLateToUndo
from trainyard.sessions import IdempotencyKeyReused
from trainyard.vectors import VectorsUnavailable, VectorsUnusable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "5"

CODES = {404: "NotFound", 405: "MethodNotAllowed", 413: "TooLarge", 415: "UnsupportedMediaType"}
PEOPLE_STATUSES: dict[type[PeopleError], int] = {
    InvalidName: 422,
    NameTaken: 409,
    TooLateToUndo: 409,
    AlreadyUndone: 409,
}


class FieldError(Out):
    field: str
    message: str


class ProblemDetails(Out):
    """RFC 9457, with a code that stays the same and, where fields of the request are at fault, which and why.

    `personId` is who has a name that is taken.
    """

    type: str = Field(examples=["urn:trainyard:problem:NoSuchSession"])
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | None = None
    person_id: int | None = None


class Problem(Exception):
    """Raised anywhere in a route, answered as a problem."""

    def __init__(
        self, status: int, code: str, detail: str, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers
        self.errors = [FieldError(field=field, message=detail)] if field else None


def problem_response(
    status: int,
    code: str,
    detail: str,
    errors: Sequence[FieldError] | None = None,
    headers: dict[str, str] | None = None,
    person_id: int | None = None,
) -> JSONResponse:
    details = ProblemDetails(
        type=f"urn:trainyard:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=list(errors) if errors else None,
        person_id=person_id,
    )
    body = details.model_dump(exclude_none=True)
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: these statuses are problems."""
    described = {"model": ProblemDetails, "content": {MEDIA_TYPE: {}}}
    return {status: {**described, "description": HTTPStatus(status).phrase} for status in statuses}


# What any route may answer: not signed in, not allowed, badly put, or a store is away.
ANY_ROUTE = documented(401, 403, 422, 503)


def install(app: FastAPI) -> None:
    """Have every error of the app answered as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(NoSuchSession, _no_session)
    app.add_exception_handler(PeopleError, _people)
    app.add_exception_handler(RootUnusable, _root_unusable)
    app.add_exception_handler(SessionActive, _session_active)
    app.add_exception_handler(IdempotencyKeyReused, _key_reused)
    for away in (DatabaseUnavailable, VectorsUnavailable, VectorsUnusable, sa.exc.TimeoutError):
        app.add_exception_handler(away, _away)
    app.add_exception_handler(sa.exc.OperationalError, _operational)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return problem_response(error.status, error.code, error.detail, error.errors, error.headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [FieldError(field=_field(e["loc"]), message=_sentence(e)) for e in error.errors()]
    detail = "; ".join(f"{e.field}: {e.message}" for e in errors)
    return problem_response(422, "InvalidRequest", detail, errors)


def _field(location: Sequence[Any]) -> str:
    """'faceDetection.minConfidence' of ('body', 'faceDetection', 'minConfidence')."""
    named = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    return ".".join(named) or str(location[0] if location else "body")


def _sentence(error: dict[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # bytes that are no text
        return problem_response(422, "InvalidRequest", str(error.detail), [FieldError(field="body", message="no JSON")])
    code = CODES.get(error.status_code, HTTPStatus(error.status_code).phrase.title().replace(" ", ""))
    detail = f"{request.method} {request.url.path}: {error.detail}."
    headers = dict(error.headers) if error.headers else None
    return problem_response(error.status_code, code, detail, headers=headers)


async def _no_session(request: Request, error: Exception) -> JSONResponse:
    return problem_response(404, "NoSuchSession", str(error))


async def _people(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PeopleError)
    holder = error.person_id if isinstance(error, NameTaken) else None
    return problem_response(PEOPLE_STATUSES.get(type(error), 404), error.code, error.sentence, person_id=holder)


async def _key_reused(request: Request, error: Exception) -> JSONResponse:
    return problem_response(409, "IdempotencyKeyReused", str(error))


async def _session_active(request: Request, error: Exception) -> JSONResponse:
    return problem_response(409, "SessionActive", str(error))


async def _root_unusable(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RootUnusable)
    field = {"root_path": "rootPath"}.get(error.field, error.field)
    return problem_response(422, error.code, error.message, [FieldError(field=field, message=error.message)])


async def _away(request: Request, error: Exception) -> JSONResponse:
    log.warning("a store is away: %s", first_line(error))
    what = "VectorsUnavailable" if isinstance(error, VectorsUnavailable | VectorsUnusable) else "DatabaseUnavailable"
    detail = "A database cannot be reached just now. Try again in a moment; /readyz says which."
    return problem_response(503, what, detail, headers={"Retry-After": RETRY_SECONDS})


async def _operational(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, sa.exc.OperationalError)
    if not connection_lost(error):
        raise error
    return await _away(request, error)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    """The answer alone: `api.access`, which every request passes, has logged the error."""
    return problem_response(500, "InternalError", "This is a defect; the server's log has more.")
