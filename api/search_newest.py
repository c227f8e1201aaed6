"""Photos by rows alone, the newest first: by when they were taken, else by when they were found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from api.image_rows import COLUMNS, SHOWN_AT
from api.search_filters import Condition

BEFORE = f"({SHOWN_AT}, a.id) < (:shown_at, :id)"

# The page is cut before anything else of its photos is read.
READ = """
    SELECT {columns}, {shown_at} AS shown_at
    FROM (
        SELECT a.id FROM image_assets a WHERE {condition}
        ORDER BY {shown_at} DESC, a.id DESC LIMIT :limit OFFSET :skip
    ) page
    JOIN image_assets a ON a.id = page.id
    LEFT JOIN categories c ON c.id = a.category_id
    ORDER BY {shown_at} DESC, a.id DESC
"""


@dataclass(frozen=True)
class After:
    """The last photo of the page before."""

    shown_at: datetime
    id: int


def newest(
    connection: sa.Connection, condition: Condition, limit: int, after: After | None = None, skip: int = 0
) -> Sequence[sa.Row[Any]]:
    """Rows with the columns of an image and `shown_at`, its place in the order."""
    sql, parameters = condition.sql, {**condition.parameters, "limit": limit, "skip": skip}
    if after:
        sql, parameters = f"{sql} AND {BEFORE}", {**parameters, "shown_at": after.shown_at, "id": after.id}
    read = READ.format(columns=COLUMNS, shown_at=SHOWN_AT, condition=sql)
    return connection.execute(sa.text(read), parameters).all()


def count(connection: sa.Connection, condition: Condition) -> int:
    """How many there are in all."""
    counted = sa.text(f"SELECT count(*) FROM image_assets a WHERE {condition.sql}")
    return int(connection.execute(counted, condition.parameters).scalar_one())
