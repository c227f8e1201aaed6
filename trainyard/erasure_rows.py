"""The rows of photos and of persons that are erased, and of all that says something of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from trainyard.face_groups import mend_groups
from trainyard.outbox import enqueue_persons, enqueue_photos
from trainyard.steps import SHARDED_STEPS
from trainyard.thumbnail_files import Box


@dataclass(frozen=True)
class StoredFace:
    """A face's row, with what its point and its thumbnails are found by."""

    id: UUID
    asset_id: int
    content_sha256: bytes
    collection: str
    box: Box


FACES_OF_PERSON = sa.text("""
    SELECT f.id, f.asset_id, f.content_sha256, m.collection, f.box_left, f.box_top, f.box_right, f.box_bottom
    FROM face_instances f JOIN models m ON m.id = f.model_id
    WHERE f.person_id = :person_id ORDER BY f.id
""")


def faces_of_person(connection: sa.Connection, person_id: int) -> list[StoredFace]:
    """Of all networks."""
    rows = connection.execute(FACES_OF_PERSON, {"person_id": person_id})
    return [
        StoredFace(
            row.id,
            row.asset_id,
            row.content_sha256,
            row.collection,
            (row.box_left, row.box_top, row.box_right, row.box_bottom),
        )
        for row in rows
    ]


# Photos

# Also those of contents that a photo had before.
CONTENTS = sa.text("""
    SELECT DISTINCT r.content FROM (
        SELECT content_sha256 AS content FROM image_assets WHERE id = ANY(:ids)
        UNION ALL SELECT content_sha256 FROM training_evidence WHERE asset_id = ANY(:ids)
        UNION ALL SELECT content_sha256 FROM face_scans WHERE asset_id = ANY(:ids)
        UNION ALL SELECT content_sha256 FROM face_instances WHERE asset_id = ANY(:ids)
    ) r
    WHERE r.content IS NOT NULL AND NOT EXISTS (
        SELECT FROM image_assets a WHERE a.content_sha256 = r.content AND NOT a.id = ANY(:ids) AND NOT ({which})
    )
""")


def contents_of_none_else(
    connection: sa.Connection, asset_ids: Sequence[int], which: str, parameters: dict[str, Any]
) -> list[bytes]:
    """The contents of these photos that no photo has which stays; `which` is a condition on those that go, `a`."""
    query = sa.text(CONTENTS.text.format(which=which))
    return list(connection.scalars(query, {**parameters, "ids": list(asset_ids)}))


# What a session that is paused has left of these photos is less by that many.
DELETE_JOBS = sa.text("""
    WITH gone AS (
        DELETE FROM training_jobs
        WHERE session_id = ANY(ARRAY(SELECT id FROM training_sessions)) AND step = ANY(:steps)
            AND asset_id = ANY(:ids)
        RETURNING session_id, step, status
    ), fewer AS (
        SELECT session_id, step, count(*) AS photos FROM gone WHERE status = 'pending' GROUP BY session_id, step
    )
    UPDATE steps s SET total = s.total - fewer.photos
    FROM fewer WHERE fewer.session_id = s.session_id AND fewer.step = s.step
""")


def delete_photos(connection: sa.Connection, asset_ids: Sequence[int]) -> tuple[int, int]:
    """Delete photos' rows and their faces'; returns how many there were of each."""
    ids = {"ids": list(asset_ids)}
    faces = connection.execute(sa.text("SELECT id FROM face_instances WHERE asset_id = ANY(:ids)"), ids)
    found = delete_faces(connection, list(faces.scalars()))
    for table in ("face_scans", "training_evidence", "outbox"):
        connection.execute(sa.text(f"DELETE FROM {table} WHERE asset_id = ANY(:ids)"), ids)
    connection.execute(DELETE_JOBS, {**ids, "steps": sorted(SHARDED_STEPS)})
    photos = connection.execute(sa.text("DELETE FROM image_assets WHERE id = ANY(:ids)"), ids).rowcount
    return photos, found


# Faces

# A kept change would still say whose they were, and could put them back only in part.
DELETE_CHANGES = sa.text("""
    DELETE FROM people_changes WHERE id IN (
        SELECT change_id FROM people_change_faces WHERE face_id = ANY(:faces)
        UNION SELECT change_id FROM people_change_suggestions WHERE face_id = ANY(:faces)
    )
""")

# In the order in which everybody locks them.
LOCK_FACES = sa.text("SELECT FROM face_instances WHERE id = ANY(:faces) ORDER BY id FOR UPDATE")

DELETE_PROTOTYPES = sa.text("DELETE FROM person_prototypes WHERE face_id = ANY(:faces) RETURNING person_id")

# Suggestions go with their faces.
DELETE_FACES = sa.text("""
    DELETE FROM face_instances WHERE id = ANY(:faces) RETURNING cluster_id, person_id, assigned_by, asset_id
""")


def delete_faces(connection: sa.Connection, face_ids: Collection[UUID]) -> int:
    """Delete faces' rows with all that mentions them; groups and prototypes follow. Returns how many there were."""
    faces = {"faces": list(face_ids)}
    connection.execute(DELETE_CHANGES, faces)
    connection.execute(LOCK_FACES, faces)
    connection.execute(sa.text("UPDATE persons SET cover_face_id = NULL WHERE cover_face_id = ANY(:faces)"), faces)
    persons = set(connection.scalars(DELETE_PROTOTYPES, faces))
    gone = connection.execute(DELETE_FACES, faces).all()
    persons |= {row.person_id for row in gone if row.assigned_by == "person"}
    mend_groups(connection, {row.cluster_id for row in gone if row.cluster_id is not None})
    enqueue_persons(connection, persons)
    enqueue_photos(connection, {row.asset_id for row in gone if row.person_id is not None})
    return len(gone)


# Persons

# The scans stay, so that the faces are not searched for again, but say no more that there are so many.
FEWER_IN_SCANS = sa.text("""
    UPDATE face_scans s SET faces = greatest(s.faces - gone.faces, 0)
    FROM (
        SELECT asset_id, content_sha256, model_id, count(*) AS faces FROM face_instances
        WHERE id = ANY(:faces) GROUP BY asset_id, content_sha256, model_id
    ) gone
    WHERE s.asset_id = gone.asset_id AND s.content_sha256 = gone.content_sha256 AND s.model_id = gone.model_id
""")

DELETE_CHANGES_OF_PERSON = sa.text("""
    DELETE FROM people_changes WHERE person_id = :person_id OR before @> CAST(:mentioned AS jsonb) OR id IN (
        SELECT change_id FROM people_change_faces WHERE :person_id IN (person_before, person_after)
        UNION SELECT change_id FROM people_change_suggestions WHERE person_id = :person_id
    )
""")


def delete_person(connection: sa.Connection, person_id: int, face_ids: Collection[UUID]) -> bool:
    """Delete a person's row, these faces, and all that mentions either; returns whether there was such a person."""
    person = {"person_id": person_id}
    connection.execute(FEWER_IN_SCANS, {"faces": list(face_ids)})
    delete_faces(connection, face_ids)
    connection.execute(DELETE_CHANGES_OF_PERSON, {**person, "mentioned": f'{{"persons": [{{"id": {person_id}}}]}}'})
    for table in ("face_suggestions", "person_prototypes", "outbox"):
        connection.execute(sa.text(f"DELETE FROM {table} WHERE person_id = :person_id"), person)
    return connection.execute(sa.text("DELETE FROM persons WHERE id = :person_id"), person).rowcount > 0
