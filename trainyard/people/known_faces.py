"""Faces as they were found before, with what is said of them: whose they are, and whose they are not."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import sqlalchemy as sa

Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the photo's sides

# Everybody locks persons first, then faces: trainyard/people/locks.py says so.
HOLD = sa.text("""
    SELECT id FROM persons
    WHERE deleted_at IS NULL AND id IN (SELECT person_id FROM face_instances WHERE asset_id = ANY(:assets))
    ORDER BY id FOR SHARE
""")
LOCK = sa.text("SELECT id FROM face_instances WHERE asset_id = ANY(:assets) ORDER BY id FOR UPDATE")

# A person who was deleted has no faces, whatever a network that is not active still says.
READ = sa.text("""
    SELECT f.id, f.asset_id, f.model_id, f.content_sha256, f.embedding_sha256, f.cluster_id, f.clustered_at,
           f.box_left, f.box_top, f.box_right, f.box_bottom,
           coalesce(f.photo_width, a.width) AS width, coalesce(f.photo_height, a.height) AS height,
           p.id AS person_id, f.assigned_by, f.similarity, f.ignored_at,
           (SELECT jsonb_object_agg(s.person_id, s.similarity) FROM face_suggestions s
            WHERE s.face_id = f.id AND s.status = 'rejected') AS refused
    FROM face_instances f JOIN image_assets a ON a.id = f.asset_id
    LEFT JOIN persons p ON p.id = f.person_id AND p.deleted_at IS NULL
    WHERE f.asset_id = ANY(:assets)
    ORDER BY f.asset_id, f.model_id, f.ordinal, f.id
""")


@dataclass(frozen=True)
class Said:
    """`assigned_by` is "person" or "engine"; `refused` are the persons that somebody said it is not, with how similar
    they were.
    """

    person_id: int | None = None
    assigned_by: str | None = None
    similarity: float | None = None
    ignored_at: datetime | None = None
    refused: Mapping[int, float] = field(default_factory=dict)

    def after(self, before: Self) -> Self:
        """What is said of a face that was known: people's word stands, then the engine's earlier one, then this."""
        refused = {**self.refused, **before.refused}
        if before.ignored_at is not None or before.person_id is not None:
            return replace(before, refused=refused)
        if self.assigned_by == "engine" and self.person_id not in refused:
            return replace(self, ignored_at=None, refused=refused)
        return replace(self, person_id=None, assigned_by=None, similarity=None, ignored_at=None, refused=refused)

    @property
    def is_peoples(self) -> bool:
        """Whether somebody said any of it: named, ignored or refused."""
        return self.assigned_by == "person" or self.ignored_at is not None or bool(self.refused)

    @property
    def by_people(self) -> int | None:
        """The person that somebody named."""
        return self.person_id if self.assigned_by == "person" else None


NOTHING = Said()


@dataclass(frozen=True)
class KnownFace:
    id: UUID
    asset_id: int
    model_id: int
    content_sha256: bytes  # of the photo as it was then
    box: Box
    embedding_sha256: bytes
    cluster_id: int | None
    clustered_at: datetime | None
    said: Said


def read_known(connection: sa.Connection, asset_ids: Collection[int], *, lock: bool) -> list[KnownFace]:
    """The faces of these photos, by whichever network, each photo's in order.

    With `lock` nobody changes what is said of them, nor the persons they are, until this transaction ends.
    """
    assets = {"assets": sorted(set(asset_ids))}
    if lock:
        connection.execute(HOLD, assets)
        connection.execute(LOCK, assets)  # by itself: a row that was waited for is joined with what was read before
        connection.execute(HOLD, assets)  # and whom somebody has named before these rows were locked
    return [_known(row) for row in connection.execute(READ, assets)]


def _known(row: sa.Row[Any]) -> KnownFace:
    return KnownFace(
        id=row.id,
        asset_id=row.asset_id,
        model_id=row.model_id,
        content_sha256=row.content_sha256,
        box=as_shares((row.box_left, row.box_top, row.box_right, row.box_bottom), row.width or 1, row.height or 1),
        embedding_sha256=row.embedding_sha256,
        cluster_id=row.cluster_id,
        clustered_at=row.clustered_at,
        said=_said(row),
    )


def _said(row: sa.Row[Any]) -> Said:
    named = row.person_id is not None
    return Said(
        person_id=row.person_id,
        assigned_by=row.assigned_by if named else None,
        similarity=row.similarity if named else None,
        ignored_at=row.ignored_at,
        refused={int(person_id): similarity for person_id, similarity in (row.refused or {}).items()},
    )


def as_shares(box: Box, width: float, height: float) -> Box:
    """A box in pixels as shares of its photo's sides, which stay what they are when the photo is saved smaller."""
    left, top, right, bottom = box
    return left / width, top / height, right / width, bottom / height
