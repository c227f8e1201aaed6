"""Event objects, whole, and how often they are made. The cluster is a fake that takes or refuses."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import ClusterError, ClusterUnavailable, Conflict, Forbidden, NotFound, Refused
from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_event_manifest import event_manifest, event_name
from controller.kubernetes.resource_event_recorder import KEPT, MOST_RECURRING, EventRecorder
from controller.kubernetes.resource_events import Event

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ARCHIVE = Resource("archive", "uid", generation=1, terminating=False, spec={}, version="41")
QUEUED = Event(4, "Normal", "Queued", "Session 3 is clustering; one at a time.", recurs=True)
STALLED = {"type": "Stalled", "status": "False", "reason": "Queued", "message": QUEUED.message}
IS_QUEUED = {"overallStatus": "pending", "conditions": [STALLED]}
CANCELLED = {"overallStatus": "cancelled"}


class FakeCluster:
    """Keeps what is made, once for a name, unless it has been told to refuse."""

    namespace = "photos"

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.refusal: ClusterError | None = None

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/api/v1/namespaces/photos/events"
        if self.refusal:
            raise self.refusal
        if body["metadata"]["name"] in self.made:
            raise Conflict("create", "there is one", "AlreadyExists")
        self.made[body["metadata"]["name"]] = body
        return body

    def reasons(self) -> Sequence[str]:
        return [event["reason"] for event in self.made.values()]


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def recorder(cluster: FakeCluster) -> EventRecorder:
    return another(cluster)


def another(cluster: FakeCluster) -> EventRecorder:
    return EventRecorder(cast(Cluster, cluster))


def test_an_event_whole() -> None:
    assert event_manifest(ARCHIVE, QUEUED, "photos", "host/12", NOW) == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(ARCHIVE, QUEUED), "namespace": "photos"},
        "involvedObject": {
            "apiVersion": "trainyard.dev/v1alpha1",
            "kind": "TrainingSession",
            "name": "archive",
            "namespace": "photos",
            "uid": "uid",
            "resourceVersion": "41",
        },
        "type": "Normal",
        "reason": "Queued",
        "message": "Session 3 is clustering; one at a time.",
        "count": 1,
        "firstTimestamp": "2026-01-01T12:00:00Z",
        "lastTimestamp": "2026-01-01T12:00:00Z",
        "source": {"component": "trainyard-controller"},
        "reportingComponent": "trainyard-controller",
        "reportingInstance": "host/12",
    }


def test_what_is_too_long_is_cut() -> None:
    event = event_manifest(ARCHIVE, replace(QUEUED, reason="R" * 999, message="m" * 9_999), "photos", "h" * 999, NOW)
    assert [len(event[field]) for field in ("reason", "message", "reportingInstance")] == [128, 1_024, 128]


@pytest.mark.parametrize("name", ["a", "a" * 253, "a" * 234 + "-.--b" + "c" * 14, "a." * 126 + "a"])
def test_a_name_is_one_that_kubernetes_takes(name: str) -> None:
    made = event_name(replace(ARCHIVE, name=name), QUEUED)
    assert len(made) <= 253
    assert all(part and part[0] != "-" != part[-1] for part in made.split("."))


def test_a_name_tells_one_step_from_every_other() -> None:
    others = [
        event_name(replace(ARCHIVE, uid="other"), QUEUED),
        event_name(replace(ARCHIVE, status=CANCELLED), QUEUED),
        event_name(ARCHIVE, replace(QUEUED, reason="Cancelled")),
        event_name(ARCHIVE, replace(QUEUED, which="2026-01-01T12:00:00Z")),
    ]
    assert len({event_name(ARCHIVE, QUEUED), *others}) == 5
    labelled = replace(ARCHIVE, version="42")  # by somebody else, in between
    assert event_name(labelled, replace(QUEUED, message="In other words.")) == event_name(ARCHIVE, QUEUED)


def test_within_one_second_the_story_is_in_the_order_of_its_names() -> None:
    assert event_name(ARCHIVE, replace(QUEUED, place=0)) < event_name(replace(ARCHIVE, status=CANCELLED), QUEUED)


def test_two_controllers_make_one_event(cluster: FakeCluster, recorder: EventRecorder) -> None:
    for each in (recorder, recorder, another(cluster)):
        each.record(ARCHIVE, IS_QUEUED, "host/12", NOW)
    assert cluster.reasons() == ["Queued"]


def flap(recorder: EventRecorder, numbers: range, now: datetime, resource: Resource = ARCHIVE) -> None:
    for number in numbers:
        recorder.record(replace(resource, status={"overallStatus": "pending", "images": number}), IS_QUEUED, "a", now)


def test_a_wait_that_comes_and_goes_does_not_flood(cluster: FakeCluster, recorder: EventRecorder) -> None:
    flap(recorder, range(100), NOW)
    assert len(cluster.made) == MOST_RECURRING
    flap(recorder, range(100), NOW, replace(ARCHIVE, uid="other"))
    assert len(cluster.made) == 2 * MOST_RECURRING
    flap(recorder, range(100, 101), NOW + KEPT - timedelta(seconds=1))
    assert len(cluster.made) == 2 * MOST_RECURRING
    flap(recorder, range(101, 102), NOW + KEPT)
    assert len(cluster.made) == 2 * MOST_RECURRING + 1


def test_whatever_came_and_went_the_end_is_told(cluster: FakeCluster, recorder: EventRecorder) -> None:
    flap(recorder, range(100), NOW)
    recorder.record(replace(ARCHIVE, status=IS_QUEUED), CANCELLED, "a", NOW)
    assert cluster.reasons()[-1] == "Cancelled"


@pytest.mark.parametrize("kind", [Forbidden, NotFound, Refused])
def test_a_refused_event_is_logged_once_and_nothing_more(
    kind: type[ClusterError], cluster: FakeCluster, recorder: EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.refusal = kind("create events", "not here")
    with caplog.at_level(logging.WARNING):
        flap(recorder, range(3), NOW)
    assert [record.message.startswith("Queued is told nobody") for record in caplog.records] == [True]
    cluster.refusal = None
    flap(recorder, range(3, 3 + MOST_RECURRING), NOW)
    assert len(cluster.made) == MOST_RECURRING


def test_an_outage_is_raised_and_the_event_is_made_after_it(cluster: FakeCluster, recorder: EventRecorder) -> None:
    cluster.refusal = ClusterUnavailable("create events", "no answer")
    with pytest.raises(ClusterUnavailable):
        recorder.record(ARCHIVE, CANCELLED, "a", NOW)
    cluster.refusal = None
    recorder.record(ARCHIVE, CANCELLED, "a", NOW)
    assert cluster.reasons() == ["Cancelled"]
