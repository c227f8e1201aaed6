"""What a controller does, as metrics for Prometheus, out of what its passes read anyway."""

import threading
import time
from collections import Counter as Count
from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from controller.backend import JobState
from controller.events import Event, Outcome, Passed, Saw
from controller.health import Health
from controller.observe import Snapshot
from controller.rates import History, followed, units_per_second
from trainyard.shards import AttemptTotals
from trainyard.steps import STEPS

JOB_STATES: tuple[str, ...] = get_args(JobState)
SHARD_STATES = ("waiting", "running", "finished")
BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

Counts = dict[tuple[str, str], int]  # by step and state, all of them


class Metrics(Collector):
    """Kept by the events it is told, and registered with `registry`; what was seen is counted when it is asked for."""

    def __init__(
        self, registry: CollectorRegistry, health: Health, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._health = health
        self._clock = clock
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._history = History()
        self._seconds = Histogram(
            "trainyard_controller_pass_seconds",
            "Seconds that a pass took.",
            buckets=BUCKETS_SECONDS,
            registry=registry,
        )
        self._passes = Counter(
            "trainyard_controller_passes", "Passes by what came of them.", ["outcome"], registry=registry
        )
        for outcome in get_args(Outcome):
            self._passes.labels(outcome)
        registry.register(self)

    def tell(self, event: Event) -> None:
        match event:
            case Saw(snapshot):
                history = followed(self._history, snapshot, self._clock())
                with self._lock:
                    self._snapshot, self._history = snapshot, history
            case Passed(outcome, seconds):
                self._seconds.observe(seconds)
                self._passes.labels(outcome).inc()

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            snapshot, history = self._snapshot, self._history
        yield from _leading(self._health)
        yield _gauge("trainyard_controller_jobs", "Jobs as the last pass saw them.", count_jobs(snapshot))
        yield _gauge("trainyard_controller_shards", "Shards of the attempts that run.", count_shards(snapshot))
        rates = GaugeMetricFamily(
            "trainyard_controller_images_per_second",
            "Images done by all sessions, over the last half minute; of the step cluster, faces.",
            labels=["step"],
        )
        for step, rate in units_per_second(history, self._clock()).items():
            rates.add_metric([step], rate)
        yield rates


def count_jobs(snapshot: Snapshot | None) -> Counts:
    jobs = snapshot.jobs if snapshot else ()
    found: Count[tuple[str, str]] = Count((job.spec.step, job.state) for job in jobs)
    return {(step, state): found[step, state] for step in STEPS for state in JOB_STATES}


def count_shards(snapshot: Snapshot | None) -> Counts:
    """A shard runs from when a worker first took it until one has finished it."""
    counts = {(step, state): 0 for step in STEPS for state in SHARD_STATES}
    for session in snapshot.sessions if snapshot else ():
        for step in session.steps.values():
            for state, number in _shards(step.shards).items():
                counts[step.name, state] += number
    return counts


def _shards(totals: AttemptTotals | None) -> dict[str, int]:
    if totals is None:
        return {}
    return {
        "waiting": totals.shards - totals.claimed,
        "running": totals.claimed - totals.finished,
        "finished": totals.finished,
    }


def _gauge(name: str, documentation: str, counts: Counts) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=["step", "state"])
    for labels, count in counts.items():
        family.add_metric(labels, count)
    return family


def _leading(health: Health) -> Iterator[Metric]:
    left, lease = health.lease_seconds, health.state.lease
    yield GaugeMetricFamily("trainyard_controller_leader", "Whether this process leads.", float(left > 0))
    yield GaugeMetricFamily("trainyard_controller_term", "Term of its lease; 0 before.", lease.term if lease else 0)
    yield GaugeMetricFamily("trainyard_controller_lease_seconds", "Seconds left of its lease, at least.", left)
