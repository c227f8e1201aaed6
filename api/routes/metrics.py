"""Metrics in the text format of Prometheus."""

from dataclasses import dataclass

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from api.database_metrics import DatabaseMetrics
from api.problems import documented
from api.request_metrics import ObserveRequests, RequestMetrics
from api.services import Services

router = APIRouter(tags=["health"])


@dataclass(frozen=True)
class Metrics:
    """An app's own: several apps may live in one process."""

    registry: CollectorRegistry
    database: DatabaseMetrics
    requests: RequestMetrics


def observe(app: FastAPI) -> None:
    """Count the app's requests, and keep what /metrics answers in its state."""
    metrics = _metrics(app.state.services)
    app.state.metrics = metrics
    app.add_middleware(ObserveRequests, metrics=metrics.requests)


def _metrics(services: Services) -> Metrics:
    registry = CollectorRegistry()
    database = DatabaseMetrics(services.database)
    registry.register(database)
    watchers = Gauge("trainyard_event_watchers", "Clients that listen to a session's events.", registry=registry)
    watchers.set_function(lambda: services.stream.watchers)
    return Metrics(registry, database, RequestMetrics(registry))


@router.get("/metrics", response_class=PlainTextResponse, responses=documented(401, 403))
async def get_metrics(request: Request) -> Response:
    """Sessions, images and faces of the installation, its controller, and the requests of this process."""
    metrics: Metrics = request.app.state.metrics
    await metrics.database.refresh()
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
