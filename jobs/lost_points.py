"""Points that are gone although their rows are here: a lost Qdrant folder is refilled by doing them again."""

from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobs.context import Context
from jobs.networks import Resolved
from jobs.outages import ride_out
from trainyard.shards import Shard
from trainyard.vectors import VectorsUnavailable, face_point, image_point

POINTS_PER_LOOK = 1_000


def forget_lost_points(context: Context, shard: Shard, resolved: Resolved) -> None:
    """Delete what rows say was done of photos whose points are gone. Raises ComeBackLater in a long outage."""
    ride_out(context, shard, "VectorsUnavailable", partial(_forget_all, context, resolved), (VectorsUnavailable,))


def _forget_all(context: Context, resolved: Resolved) -> None:
    if resolved.clip:
        _forget_lost(context, resolved.clip, "training_evidence", _image_points)
    if resolved.face:
        _forget_lost(context, resolved.face, "face_scans", _face_points)


def _forget_lost(context: Context, model: dict[str, Any], table: str, points: Any) -> None:
    """Delete the evidence of photos whose points Qdrant does not have. Counts are compared first: usually equal."""
    rows = context.database.transact(lambda connection: points(connection, model, None, count=True))
    if context.vectors.count(model["collection"]) >= rows:
        return
    after: tuple[int, int] | None = (-1, -1)
    while after is not None:
        context.check_stop()
        page = context.database.transact(partial(points, model=model, after=after, count=False))
        missing = set(context.vectors.retrieve(model["collection"], [id for _, _, id in page]).missing)
        lost = sorted({asset for asset, _, id in page if id in missing})
        context.database.transact(partial(_delete_evidence, table=table, model=model, lost=lost))
        after = page[-1][:2] if page else None


def _delete_evidence(connection: sa.Connection, table: str, model: dict[str, Any], lost: list[int]) -> None:
    connection.execute(
        sa.text(f"DELETE FROM {table} WHERE model_id = :model AND asset_id = ANY(:assets)"),
        {"model": model["id"], "assets": lost},
    )


def _image_points(
    connection: sa.Connection, model: dict[str, Any], after: tuple[int, int] | None, *, count: bool
) -> Any:
    if count:
        return connection.execute(
            sa.text("SELECT count(*) FROM training_evidence WHERE model_id = :model"), {"model": model["id"]}
        ).scalar_one()
    assert after is not None
    rows = connection.execute(
        sa.text("""
            SELECT asset_id, content_sha256 FROM training_evidence
            WHERE model_id = :model AND asset_id > :after ORDER BY asset_id LIMIT :limit
        """),
        {"model": model["id"], "after": after[0], "limit": POINTS_PER_LOOK},
    )
    return [(r.asset_id, 0, image_point(r.asset_id, r.content_sha256, model["weights_sha256"])) for r in rows]


def _face_points(
    connection: sa.Connection, model: dict[str, Any], after: tuple[int, int] | None, *, count: bool
) -> Any:
    if count:
        return connection.execute(
            sa.text("SELECT count(*) FROM face_instances WHERE model_id = :model"), {"model": model["id"]}
        ).scalar_one()
    assert after is not None
    rows = connection.execute(
        sa.text("""
            SELECT asset_id, ordinal, content_sha256 FROM face_instances
            WHERE model_id = :model AND (asset_id, ordinal) > (:asset, :ordinal)
            ORDER BY asset_id, ordinal LIMIT :limit
        """),
        {"model": model["id"], "asset": after[0], "ordinal": after[1], "limit": POINTS_PER_LOOK},
    )
    found: list[tuple[int, int, UUID]] = []
    for row in rows:
        point = face_point(row.asset_id, row.content_sha256, model["weights_sha256"], row.ordinal)
        found.append((row.asset_id, row.ordinal, point))
    return found
