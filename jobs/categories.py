"""The category in each photo's point, which searches filter by: it follows the photo's row.

`training_evidence.category_id` is what the point was last told, so that only those left behind are told again. A
worker that dies on the way leaves some behind, for the next attempt or the next session that names a category.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobs.context import Context
from jobs.outages import ride_out
from trainyard import shards
from trainyard.folders import path_range
from trainyard.shards import Shard
from trainyard.vectors import VectorsUnavailable, WrongCollection, image_point

POINTS_PER_PAGE = 1_000
Page = Sequence[sa.Row[Any]]

LEFT_BEHIND = """
    FROM training_evidence e JOIN image_assets a ON a.id = e.asset_id JOIN models m ON m.id = e.model_id
    WHERE a.path >= :low AND a.path < :high AND e.category_id IS DISTINCT FROM a.category_id
"""

# Where each page begins, in one look at all. Pages that ended at a LIMIT would cost a look at all each: how many
# are behind has just changed, and the planner does not know.
PAGES = sa.text(f"""
    SELECT asset_id FROM (SELECT e.asset_id, row_number() OVER (ORDER BY e.asset_id) AS place {LEFT_BEHIND}) behind
    WHERE (place - 1) % :size = 0 ORDER BY asset_id
""")

PAGE = sa.text(f"""
    SELECT e.asset_id, e.content_sha256, e.model_id, a.category_id, m.collection, m.dimension, m.weights_sha256
    {LEFT_BEHIND}
        AND e.asset_id >= :first AND e.asset_id < :end AND a.id >= :first AND a.id < :end
    ORDER BY e.asset_id, e.model_id
""")
NO_END = 2**63 - 1

TOLD = sa.text("""
    UPDATE training_evidence e SET category_id = r.category_id
    FROM unnest(CAST(:assets AS bigint[]), CAST(:contents AS bytea[]), CAST(:models AS integer[]),
                CAST(:categories AS integer[])) AS r (asset_id, content_sha256, model_id, category_id)
    WHERE e.asset_id = r.asset_id AND e.content_sha256 = r.content_sha256 AND e.model_id = r.model_id
""")


def follow_categories(context: Context, shard: Shard, folders: Sequence[bytes]) -> None:
    """Give the points of every photo in these folders, of all CLIP models, the category of the photo's row."""
    for folder in folders:
        low, high = path_range(folder)
        inside = {"low": low, "high": high}
        starts = context.database.transact(partial(_starts, inside=inside))
        for first, end in pairwise([*starts, NO_END]):
            context.check_stop()
            page = context.database.transact(partial(_read, parameters={**inside, "first": first, "end": end}))
            ride_out(context, shard, "VectorsUnavailable", partial(_tell, context, page), (VectorsUnavailable,))
            context.database.transact(partial(_note, shard=shard, page=page))


def _starts(connection: sa.Connection, inside: dict[str, bytes]) -> list[int]:
    return list(connection.scalars(PAGES, {**inside, "size": POINTS_PER_PAGE}))


def _read(connection: sa.Connection, parameters: dict[str, Any]) -> Page:
    return connection.execute(PAGE, parameters).all()


def _tell(context: Context, page: Page) -> None:
    points: dict[tuple[str, int, str], dict[int | None, list[UUID]]] = defaultdict(lambda: defaultdict(list))
    for row in page:
        model = (row.collection, row.dimension, row.weights_sha256)
        points[model][row.category_id].append(image_point(row.asset_id, row.content_sha256, row.weights_sha256))
    for model, by_category in points.items():
        if not _is_collection_of(context, *model):
            continue
        for category_id, ids in by_category.items():
            context.vectors.set_payload(model[0], ids, {"category_id": category_id})


def _is_collection_of(context: Context, collection: str, dimension: int, model: str) -> bool:
    """False when another model's vectors took the place of these; embedding them again will say the category."""
    try:
        context.vectors.ensure_collection(collection, dimension, model)
    except WrongCollection:
        return False
    return True


def _note(connection: sa.Connection, shard: Shard, page: Page) -> None:
    shards.beat(connection, shard)
    connection.execute(
        TOLD,
        {
            "assets": [row.asset_id for row in page],
            "contents": [row.content_sha256 for row in page],
            "models": [row.model_id for row in page],
            "categories": [row.category_id for row in page],
        },
    )
