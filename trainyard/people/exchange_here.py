"""The faces here that a file speaks of: of the active network, by their photo's content and their box."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa

from trainyard.face_models import active_face_model
from trainyard.people.exchange_faces import FaceHere, Word
from trainyard.people.exchange_records import FaceRecord, GroupFace
from trainyard.people.known_faces import as_shares
from trainyard.people.overlap import match_boxes

R = TypeVar("R", FaceRecord, GroupFace)

# Locked in the order in which everybody does.
FACES = sa.text("""
    SELECT f.id, f.asset_id, f.content_sha256, f.person_id, f.assigned_by, f.similarity, f.ignored_at, f.cluster_id,
           f.box_left, f.box_top, f.box_right, f.box_bottom,
           coalesce(f.photo_width, a.width) AS width, coalesce(f.photo_height, a.height) AS height,
           ARRAY(SELECT s.person_id FROM face_suggestions s WHERE s.face_id = f.id AND s.status = 'rejected') AS refused
    FROM image_assets a JOIN face_instances f ON f.asset_id = a.id AND f.content_sha256 = a.content_sha256
    WHERE a.content_sha256 = ANY(:contents) AND f.model_id = :model_id ORDER BY f.id FOR UPDATE OF f
""")


@dataclass(frozen=True)
class BoxedFace(FaceHere):
    box: tuple[float, float, float, float]  # in shares of the photo's sides
    cluster_id: int | None


def faces_here(connection: sa.Connection, photos: Collection[str]) -> dict[str, dict[int, list[BoxedFace]]]:
    """The active network's faces, by content and photo."""
    model = active_face_model(connection)
    asked = {"contents": [bytes.fromhex(photo) for photo in photos], "model_id": model.id if model else None}
    faces: dict[str, dict[int, list[BoxedFace]]] = defaultdict(lambda: defaultdict(list))
    for row in connection.execute(FACES, asked):
        faces[row.content_sha256.hex()][row.asset_id].append(_face(row))
    return faces


def _face(row: sa.Row[Any]) -> BoxedFace:
    said = Word(row.person_id, row.assigned_by, row.similarity, row.ignored_at is not None, frozenset(row.refused))
    pixels = (row.box_left, row.box_top, row.box_right, row.box_bottom)
    box = as_shares(pixels, row.width or 1, row.height or 1)
    return BoxedFace(row.id, row.asset_id, said, box, row.cluster_id)


def photos_here(connection: sa.Connection, photos: Collection[str]) -> set[str]:
    known = sa.text("SELECT DISTINCT content_sha256 FROM image_assets WHERE content_sha256 = ANY(:contents)")
    rows = connection.scalars(known, {"contents": [bytes.fromhex(photo) for photo in photos]})
    return {content.hex() for content in rows}


def matched(records: Sequence[R], here: Mapping[str, Mapping[int, list[BoxedFace]]]) -> list[tuple[R, list[BoxedFace]]]:
    """Each record with its faces: one in every photo of that content, where there is one."""
    found: dict[int, list[BoxedFace]] = defaultdict(list)
    places: dict[str, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        places[record.photo].append(number)
    for photo, numbers in places.items():
        boxes = np.array([records[number].box for number in numbers], np.float64)
        for faces in here.get(photo, {}).values():
            for i, j in match_boxes(boxes, np.array([face.box for face in faces], np.float64)):
                found[numbers[i]].append(faces[j])
    return [(record, found[number]) for number, record in enumerate(records)]
