"""Points without rows: what a worker left that died between writing vectors and committing rows."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

import sqlalchemy as sa

from jobs.context import Context
from trainyard.shards import Shard

ASSETS_PER_LOOK = 1_000

ASSETS = sa.text("""
    SELECT asset_id, position FROM training_jobs
    WHERE session_id = :session_id AND step = :step AND position BETWEEN :next AND :last
    ORDER BY position LIMIT :limit
""")


def remove_orphans(context: Context, shard: Shard, collection: str, rows_of: Callable[..., set[UUID]]) -> None:
    """Delete the points of the shard's photos that `rows_of(connection, asset_ids=…)` does not name."""
    position = shard.first
    while assets := context.database.transact(partial(_assets, shard=shard, position=position)):
        ids = [asset_id for asset_id, _ in assets]
        rows = context.database.transact(partial(rows_of, asset_ids=ids))
        points = context.vectors.ids_matching(collection, "asset_id", ids)
        context.vectors.delete(collection, sorted(points - rows))
        position = assets[-1][1] + 1


def _assets(connection: sa.Connection, shard: Shard, position: int) -> list[tuple[int, int]]:
    rows = connection.execute(
        ASSETS,
        {
            "session_id": shard.key.session_id,
            "step": shard.key.step,
            "next": position,
            "last": shard.last,
            "limit": ASSETS_PER_LOOK,
        },
    )
    return [(row.asset_id, row.position) for row in rows]
