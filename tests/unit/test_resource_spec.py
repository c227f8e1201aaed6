"""A session's resource and a resource's session, whole."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from controller.kubernetes.resource import Resource, created_text, read_resource
from controller.kubernetes.resource_spec import Requested, new_session, resource_manifest
from trainyard.sessions import NewSession

DEFAULTS = {"untrained": False, "face_engine": "insightface"}
CREATED = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
PLAIN = Requested((7, created_text(CREATED)), "/photos", (), None, {"faces": True})
FULL = Requested(
    (7, created_text(CREATED)),
    "/photos",
    ("2024", "2025/summer"),
    "Holiday",
    {"faces": True, "min_confidence": 0.7, "min_face_size_px": 32, "untrained": True, "face_engine": "dlib"},
)


def applied(spec: dict[str, Any]) -> NewSession:
    return new_session(Resource("archive", "uid", 1, False, spec), DEFAULTS)


def test_the_least_that_can_be_applied() -> None:
    options = {"faces": True, "untrained": False, "face_engine": "insightface"}
    assert applied({"rootPath": "/photos"}) == NewSession("/photos", (), None, options)


def test_the_most_that_can_be_applied() -> None:
    faces = {"enabled": True, "minConfidence": 0.7, "minFaceSize": 32}
    spec = {"rootPath": "/photos", "subdirectories": ["2025"], "category": "Holiday", "faceDetection": faces}
    options = {**DEFAULTS, "faces": True, "min_confidence": 0.7, "min_face_size_px": 32}
    assert applied({**spec, "suspend": True}) == NewSession("/photos", ["2025"], "Holiday", options)


def test_without_faces_nothing_is_said_of_them() -> None:
    faces = {"enabled": False, "minConfidence": 0.7}
    assert applied({"rootPath": "/photos", "faceDetection": faces}).options == {"faces": False, "untrained": False}


def test_the_resource_of_the_fullest_session_whole() -> None:
    assert resource_manifest(FULL, "photos", 0) == {
        "apiVersion": "trainyard.dev/v1alpha1",
        "kind": "TrainingSession",
        "metadata": {
            "name": "session-7",
            "namespace": "photos",
            "labels": {"app.kubernetes.io/managed-by": "trainyard", "trainyard.dev/session": "7"},
            "annotations": {"trainyard.dev/session-created-at": "2026-01-01T12:00:00.123456+00:00"},
        },
        "spec": {
            "rootPath": "/photos",
            "subdirectories": ["2024", "2025/summer"],
            "category": "Holiday",
            "faceDetection": {"enabled": True, "minConfidence": 0.7, "minFaceSize": 32},
        },
    }


def test_the_resource_of_the_plainest_session_says_nothing_of_what_was_not_asked() -> None:
    assert resource_manifest(PLAIN, "photos", 0)["spec"] == {"rootPath": "/photos", "faceDetection": {"enabled": True}}
    without = replace(PLAIN, options={"faces": False})
    assert resource_manifest(without, "photos", 0)["spec"]["faceDetection"] == {"enabled": False}


def test_a_pause_is_not_copied_into_the_resource() -> None:
    assert "suspend" not in resource_manifest(FULL, "photos", 0)["spec"]


def test_a_name_that_is_taken_is_passed_over() -> None:
    names = [resource_manifest(PLAIN, "photos", number)["metadata"]["name"] for number in range(3)]
    assert names == ["session-7", "session-7-1", "session-7-2"]


def from_server(**about: Any) -> Resource:
    metadata = {"name": "session-7", "uid": "uid", "generation": 2, "resourceVersion": "9", **about}
    return read_resource({"metadata": metadata, "spec": {"rootPath": "/photos", "suspend": True}})


def test_a_resource_knows_the_row_it_was_made_for() -> None:
    metadata = resource_manifest(PLAIN, "photos", 0)["metadata"]
    read = from_server(labels=metadata["labels"], annotations=metadata["annotations"])
    assert read.made_for == PLAIN.maker
    assert (read.generation, read.version, read.suspended, read.terminating) == (2, "9", True, False)


def test_a_row_is_known_by_its_moment_whatever_zone_the_database_speaks() -> None:
    assert created_text(CREATED.astimezone(timezone(timedelta(hours=-5)))) == created_text(CREATED)


@pytest.mark.parametrize(
    ("labels", "annotations"),
    [
        ({}, {}),
        ({"trainyard.dev/session": "7"}, {}),
        ({"trainyard.dev/session": "seven"}, {"trainyard.dev/session-created-at": "now"}),
        ({"trainyard.dev/session": "9" * 63}, {"trainyard.dev/session-created-at": "now"}),
        ({"trainyard.dev/session": "²"}, {"trainyard.dev/session-created-at": "now"}),
    ],
)
def test_labels_that_anybody_wrote_name_no_row(labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    assert from_server(labels=labels, annotations=annotations).made_for is None


def test_a_deleted_resource_that_still_stands_is_terminating() -> None:
    assert from_server(deletionTimestamp="2026-01-01T12:00:00Z").terminating


def test_what_the_controller_itself_writes_makes_no_difference() -> None:
    """Else each of its own writes would have it look again."""
    one, other = from_server(resourceVersion="9"), from_server(resourceVersion="10")
    assert one == replace(other, status={"overallStatus": "running"})
    assert one != from_server(generation=3)
