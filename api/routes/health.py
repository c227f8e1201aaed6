"""Whether the process lives, and whether it can answer: for those that start, stop and route to it."""

import asyncio
import logging
from functools import partial
from typing import Literal

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response

from api.schemas import Out
from api.services import services_of
from api.single_flight import SingleFlight
from trainyard.database import SchemaMismatch, check_schema

router = APIRouter(tags=["health"])

log = logging.getLogger(__name__)

CheckName = Literal["database", "schema", "vectors"]

# Said in place of an error's own words: those may name addresses, users and keys, and go to the log.
AWAY: dict[CheckName, str] = {
    "database": "PostgreSQL does not answer. Check that it runs, and TRAINYARD_DATABASE_URL; the log has its words.",
    "schema": "The schema's version could not be read from PostgreSQL; the log has its words.",
    "vectors": "Qdrant does not answer. Check that it runs, and TRAINYARD_QDRANT_URL and _API_KEY; the log has more.",
}


class Alive(Out):
    status: Literal["ok"] = "ok"


class Check(Out):
    ok: bool
    message: str


class Readiness(Out):
    status: Literal["ok", "unavailable"]
    checks: dict[CheckName, Check]


@router.get("/livez")
async def get_livez() -> Alive:
    """The process answers. Nothing else is asked: no outage of a store is mended by a restart of this process."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Requests would fail just now."}})
async def get_readyz(request: Request, response: Response) -> Readiness:
    """PostgreSQL, its schema and Qdrant answer, within seconds."""
    flights = _flights(request)
    answers = await asyncio.gather(*(_ask(name, flight) for name, flight in flights.items()))
    checks = dict(zip(flights, answers, strict=True))
    ready = all(check.ok for check in answers)
    response.status_code = 200 if ready else 503
    response.headers["Cache-Control"] = "no-store"
    return Readiness(status="ok" if ready else "unavailable", checks=checks)


def _flights(request: Request) -> dict[CheckName, SingleFlight[None]]:
    """The app's checks, made when they are first asked for."""
    state = request.app.state
    if not hasattr(state, "readiness"):
        database, vectors = services_of(request).database, services_of(request).vectors
        state.readiness = {
            "database": SingleFlight(partial(database.transact, _ping)),
            "schema": SingleFlight(partial(database.transact, check_schema)),
            "vectors": SingleFlight(vectors.ping),
        }
    flights: dict[CheckName, SingleFlight[None]] = state.readiness
    return flights


def _ping(connection: sa.Connection) -> None:
    connection.execute(sa.text("SELECT 1"))


async def _ask(name: CheckName, flight: SingleFlight[None]) -> Check:
    try:
        await flight.result()
    except SchemaMismatch as error:
        return Check(ok=False, message=str(error))
    except Exception as error:  # whatever it is, requests would meet it
        log.warning("not ready, %s: %r", name, getattr(error, "orig", None) or error)
        return Check(ok=False, message=AWAY[name])
    return Check(ok=True, message="ok")
