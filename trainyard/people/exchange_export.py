"""People out of the rows, as records of a file: of the active network's faces, some thousand in memory at a time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from trainyard.face_models import active_face_model
from trainyard.people.exchange_records import (
    VERSION,
    Box,
    FaceRecord,
    GroupFace,
    GroupRecord,
    Header,
    PersonRecord,
    Record,
)
from trainyard.people.known_faces import as_shares

ROWS_AT_ONCE = 2_000
DIGITS = 6  # of a box's shares: a hundredth of a pixel in the largest photo

PERSONS = sa.text("SELECT name FROM persons WHERE deleted_at IS NULL ORDER BY lower(name), id")

BOXED = """
    f.content_sha256, f.box_left, f.box_top, f.box_right, f.box_bottom,
    coalesce(f.photo_width, a.width) AS width, coalesce(f.photo_height, a.height) AS height
"""
KEY = "f.content_sha256, f.box_left, f.box_top, f.box_right, f.box_bottom"

# Of a face in several copies of a photo once: as a person said of one of them.
FACES = sa.text(f"""
    SELECT DISTINCT ON ({KEY}) {BOXED}, p.name AS person, f.assigned_by, f.similarity, f.ignored_at,
           coalesce(p.cover_face_id = f.id, false) AS cover, refused.names AS rejected
    FROM face_instances f JOIN image_assets a ON a.id = f.asset_id
    LEFT JOIN persons p ON p.id = f.person_id AND p.deleted_at IS NULL
    CROSS JOIN LATERAL (
        SELECT array_agg(q.name ORDER BY q.name) AS names FROM face_suggestions s JOIN persons q ON q.id = s.person_id
        WHERE s.face_id = f.id AND s.status = 'rejected' AND q.deleted_at IS NULL
    ) refused
    WHERE f.model_id = :model_id AND (p.id IS NOT NULL OR f.ignored_at IS NOT NULL OR refused.names IS NOT NULL)
    ORDER BY {KEY}, f.assigned_by = 'person' DESC NULLS LAST, p.id, f.ignored_at, f.id
""")

GROUPS = sa.text(f"""
    SELECT c.id, {BOXED}
    FROM face_clusters c JOIN face_instances f ON f.cluster_id = c.id JOIN image_assets a ON a.id = f.asset_id
    WHERE c.model_id = :model_id AND c.closed_at IS NULL AND c.dismissed_at IS NOT NULL
    ORDER BY c.id, {KEY}
""")


def read_people(connection: sa.Connection) -> Iterator[Record]:
    """The header, every person, every face that anything is said of, and the groups that were dismissed."""
    model = active_face_model(connection)
    yield Header(version=VERSION, exported_at=datetime.now(UTC), network=model.name if model else None)
    for name in connection.scalars(PERSONS):
        yield PersonRecord(name=name)
    if model is not None:
        streaming = connection.execution_options(yield_per=ROWS_AT_ONCE)
        of_network = {"model_id": model.id}
        yield from map(_face, streaming.execute(FACES, of_network))
        for _, rows in groupby(streaming.execute(GROUPS, of_network), lambda row: row.id):
            yield GroupRecord(faces=tuple(GroupFace(photo=row.content_sha256.hex(), box=_box(row)) for row in rows))


def _face(row: sa.Row[Any]) -> FaceRecord:
    return FaceRecord(
        photo=row.content_sha256.hex(),
        box=_box(row),
        person=row.person,
        by=row.assigned_by if row.person is not None else None,
        similarity=row.similarity if row.person is not None else None,
        ignored=row.ignored_at is not None,
        rejected=tuple(row.rejected or ()),
        cover=row.cover,
    )


def _box(row: sa.Row[Any]) -> Box:
    pixels = (row.box_left, row.box_top, row.box_right, row.box_bottom)
    left, top, right, bottom = (
        min(max(round(share, DIGITS), 0.0), 1.0) for share in as_shares(pixels, row.width or 1, row.height or 1)
    )
    return left, top, right, bottom
