"""What a controller answers over HTTP: /livez and /readyz for whoever starts it, /metrics for Prometheus."""

from collections.abc import Sequence
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from controller.events import Event
from controller.health import Check, Health
from controller.metrics import Metrics
from controller.serving import Answer, Routes


class Endpoint:
    """Of one controller. `tell` is what its wait for the lease and its loop call; the rest may be called meanwhile."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._health = Health()
        self._metrics = Metrics(self._registry, self._health)
        self._ready: list[Check] = [self._health.not_ready]

    def tell(self, event: Event) -> None:
        self._health.tell(event)
        self._metrics.tell(event)

    def include(self, collector: Collector, ready: Check) -> None:
        """What is known of whatever runs the Jobs, beside what the loop tells."""
        self._registry.register(collector)
        self._ready.insert(0, ready)  # it says more than that a pass could not be made

    def routes(self) -> Routes:
        return {
            "/livez": lambda: _probe([self._health.not_alive]),
            "/readyz": lambda: _probe(self._ready),
            "/metrics": lambda: Answer(HTTPStatus.OK, generate_latest(self._registry).decode(), CONTENT_TYPE_LATEST),
        }


def _probe(checks: Sequence[Check]) -> Answer:
    """503 with the first trouble there is."""
    trouble = next((said for check in checks if (said := check()) is not None), None)
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, trouble) if trouble else Answer(HTTPStatus.OK, "ok")
