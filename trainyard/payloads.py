"""What Qdrant's points say besides their vectors, which searches filter by: it follows the rows."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from trainyard.face_models import active_face_model
from trainyard.model_points import PointsOf, present
from trainyard.vectors import Vectors, image_point

POINTS_PER_CALL = 100  # the local engine commits each by itself, some 0.3 to 6 ms, and does nothing else until the last
MOST_READS = 5  # of rows that change all the time; whoever changes them leaves word, or tells the points itself


class Point(NamedTuple):
    points: PointsOf
    id: UUID


IMAGES = sa.text("""
    SELECT a.id, a.path_text, a.category_id, a.taken_at, e.content_sha256, m.collection, m.dimension, m.weights_sha256,
           ARRAY(SELECT DISTINCT f.person_id FROM face_instances f
                 WHERE f.asset_id = a.id AND f.model_id = :face_model AND f.person_id IS NOT NULL
                 ORDER BY f.person_id) AS person_ids
    FROM image_assets a JOIN training_evidence e ON e.asset_id = a.id JOIN models m ON m.id = e.model_id
    WHERE a.id = ANY(:assets)
""")

FACES = sa.text("""
    SELECT f.id, f.person_id, m.collection, m.dimension, m.weights_sha256
    FROM face_instances f JOIN models m ON m.id = f.model_id WHERE f.asset_id = ANY(:assets)
""")


def time_text(moment: datetime | None) -> str | None:
    """A time as payloads have it: ISO 8601, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat()


def tell_photos(connection: sa.Connection, vectors: Vectors, asset_ids: Collection[int]) -> None:
    """Give the points of these photos and of their faces, of every network, what their rows say.

    The rows are read again afterwards, without a lock that workers would wait for: whoever changes one and tells its
    point itself either does so after this, or is seen by this.
    """
    told: dict[Point, dict[str, Any]] = {}
    for _ in range(MOST_READS):
        behind = {
            point: payload
            for point, payload in read_payloads(connection, asset_ids).items()
            if told.get(point) != payload
        }
        if not behind:
            return
        _tell(vectors, behind)
        told |= behind


def read_payloads(connection: sa.Connection, asset_ids: Collection[int]) -> dict[Point, dict[str, Any]]:
    """What rows say of the points of these photos, and of their faces', of every network."""
    model = active_face_model(connection)
    asked = {"assets": list(asset_ids), "face_model": model.id if model else None}
    payloads: dict[Point, dict[str, Any]] = {}
    for row in connection.execute(IMAGES, asked):
        point = Point(_points_of(row), image_point(row.id, row.content_sha256, row.weights_sha256))
        payloads[point] = {
            "path": row.path_text,  # a photo may have been moved
            "category_id": row.category_id,
            "taken_at": time_text(row.taken_at),
            "person_ids": row.person_ids,
        }
    for row in connection.execute(FACES, asked):
        payloads[Point(_points_of(row), row.id)] = {"person_id": row.person_id}
    return payloads


def _points_of(row: sa.Row[Any]) -> PointsOf:
    return PointsOf(row.collection, row.dimension, row.weights_sha256)


def _tell(vectors: Vectors, payloads: Mapping[Point, dict[str, Any]]) -> None:
    """Together the points of a collection that are to say the same."""
    there = present(vectors, (point.points for point in payloads))
    for (collection, payload), ids in sorted(_grouped(payloads.items(), there).items()):
        for start in range(0, len(ids), POINTS_PER_CALL):
            vectors.set_payload(collection, ids[start : start + POINTS_PER_CALL], json.loads(payload))


def _grouped(
    payloads: Iterable[tuple[Point, dict[str, Any]]], there: Collection[PointsOf]
) -> dict[tuple[str, str], list[UUID]]:
    groups: dict[tuple[str, str], list[UUID]] = defaultdict(list)
    for point, payload in payloads:
        if point.points in there:
            groups[point.points.collection, json.dumps(payload)].append(point.id)
    return groups
