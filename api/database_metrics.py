"""What an operator wants to see of the rows, read when it is asked for; of images only the counters, never the rows."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.single_flight import SingleFlight
from trainyard.database import Database
from trainyard.lifecycle import ACTIVE, ENDED
from trainyard.steps import PHASE_OF_STEP
from trainyard.tables import steps, training_sessions

log = logging.getLogger(__name__)

IMAGES = sa.text("""
    SELECT st.step, sum(st.done + coalesce(h.done, 0))::bigint AS done,
           sum(st.failed + coalesce(h.failed, 0))::bigint AS failed,
           sum(coalesce((st.counts ->> 'faces')::bigint, 0) + coalesce(h.faces, 0))::bigint AS faces
    FROM steps st
    LEFT JOIN LATERAL (
        SELECT sum(done) AS done, sum(failed) AS failed, sum((counts ->> 'faces')::bigint) AS faces
        FROM shards
        WHERE st.status = 'running' AND shards.session_id = st.session_id AND shards.step = st.step
            AND shards.attempt = st.attempt
    ) h ON true
    WHERE st.step IN ('embed', 'detect')
    GROUP BY st.step
""")
LEASE = sa.text("SELECT extract(epoch FROM clock_timestamp() - expires_at)::float8 FROM controller_lease")


@dataclass(frozen=True)
class Numbers:
    sessions: dict[str, int]  # by status
    waiting: dict[str, int]  # by code
    images: dict[tuple[str, str], int]  # by phase and outcome
    faces: int
    groups: int
    lapsed_seconds: float | None  # since the controller's lease expired, negative while it holds; None: never taken


def read_numbers(connection: sa.Connection) -> Numbers:
    images = connection.execute(IMAGES).all()
    return Numbers(
        sessions=_sessions(connection),
        waiting=_waiting(connection),
        images={
            (PHASE_OF_STEP[row.step], outcome): count
            for row in images
            for outcome, count in (("processed", row.done - row.failed), ("failed", row.failed))
        },
        faces=sum(row.faces for row in images),
        groups=_groups(connection),
        lapsed_seconds=connection.execute(LEASE).scalar_one_or_none(),
    )


def _sessions(connection: sa.Connection) -> dict[str, int]:
    s = training_sessions.c
    query = sa.select(s.status, sa.func.count()).where(s.deleted_at.is_(None)).group_by(s.status)
    return dict.fromkeys(sorted(ACTIVE | ENDED), 0) | {status: count for status, count in connection.execute(query)}


def _waiting(connection: sa.Connection) -> dict[str, int]:
    s = training_sessions.c
    query = sa.select(s.waiting_code, sa.func.count()).group_by(s.waiting_code)
    query = query.where(s.deleted_at.is_(None), s.waiting_code.is_not(None), s.status.in_(ACTIVE))
    return {code: count for code, count in connection.execute(query)}


def _groups(connection: sa.Connection) -> int:
    """As the latest clustering counted them."""
    c = steps.c
    query = sa.select(c.counts["groups"].as_integer()).where(c.step == "cluster", c.counts.has_key("groups"))
    return connection.execute(query.order_by(c.completed_at.desc().nulls_last()).limit(1)).scalar_one_or_none() or 0


class DatabaseMetrics(Collector):
    """The numbers as gauges: those of the last `refresh`, none where the database did not answer."""

    def __init__(self, database: Database) -> None:
        self._numbers: Numbers | None = None
        self._flight = SingleFlight(lambda: database.transact(read_numbers))

    async def refresh(self) -> None:
        try:
            self._numbers = await self._flight.result()
        except Exception as error:
            log.warning("metrics without the database: %r", getattr(error, "orig", None) or error)
            self._numbers = None

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("trainyard_up", "Whether the database answers.", float(self._numbers is not None))
        if self._numbers is not None:
            yield from _gauges(self._numbers)


def _gauges(numbers: Numbers) -> Iterator[Metric]:
    sessions = GaugeMetricFamily("trainyard_sessions", "Sessions by status.", labels=["status"])
    waiting = GaugeMetricFamily("trainyard_waiting_sessions", "Sessions that wait, by what for.", labels=["code"])
    images = GaugeMetricFamily(
        "trainyard_images", "Images done in all sessions, by phase; a retry takes back.", labels=["phase", "outcome"]
    )
    for status, count in numbers.sessions.items():
        sessions.add_metric([status], count)
    for code, count in numbers.waiting.items():
        waiting.add_metric([code], count)
    for labels, count in numbers.images.items():
        images.add_metric(labels, count)
    yield from (sessions, waiting, images)
    yield GaugeMetricFamily("trainyard_faces", "Faces found in all sessions.", numbers.faces)
    yield GaugeMetricFamily("trainyard_face_groups", "Groups of faces after the latest clustering.", numbers.groups)
    yield from _lease(numbers.lapsed_seconds)


def _lease(lapsed_seconds: float | None) -> Iterator[Metric]:
    leads = lapsed_seconds is not None and lapsed_seconds < 0
    yield GaugeMetricFamily("trainyard_controller_leads", "Whether a controller holds the lease.", float(leads))
    if lapsed_seconds is not None:
        lapsed = max(lapsed_seconds, 0.0)
        yield GaugeMetricFamily("trainyard_controller_lapsed_seconds", "Since the lease expired; 0 if held.", lapsed)
