"""What a controller asks of the API server, as metrics for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from controller.kubernetes.client import Cluster


class ClusterMetrics(Collector):
    """Requests that were sent, and how long each watch has heard nothing."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "trainyard_controller_kubernetes_requests",
            "Requests that were sent to the API server.",
            labels=["verb", "resource"],
        )
        for (verb, resource), count in sorted(self._cluster.sent().items()):
            requests.add_metric([verb, resource], count)
        silent = GaugeMetricFamily(
            "trainyard_controller_watch_silent_seconds",
            "Seconds since a watch last heard from the API server; +Inf before.",
            labels=["resource"],
        )
        for watch in self._cluster.watches:
            silent.add_metric([watch.resource], watch.fresh_seconds)
        yield from (requests, silent)
