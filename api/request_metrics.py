"""Requests, counted and timed by the route that answered them: by its template, as paths have no end of values."""

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"


class RequestMetrics:
    """Seconds are those until an answer begins: an event stream goes on for hours."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "trainyard_http_requests", "Requests that were answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "trainyard_http_request_seconds", "Seconds until an answer began.", ["route"], registry=registry
        )

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = _template(scope)
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


def _template(scope: Scope) -> str:
    """'/api/v1/images/{id}' of the route that was found for the request."""
    route: Any = scope.get("route")
    return getattr(route, "path", None) or UNMATCHED


class ObserveRequests:
    """ASGI middleware that notes every answer."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, answered = time.perf_counter(), False

        def note(status: int) -> None:
            nonlocal answered
            answered = True
            self.metrics.note(scope, status, time.perf_counter() - begun)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except Exception:
            if not answered:
                note(500)  # which is answered further out
            raise
