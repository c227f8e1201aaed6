"""Photos by likeness to a vector: Qdrant ranks points, rows say which of them are true, and still meet the filters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from api.image_rows import COLUMNS
from api.search_filters import Filters, condition
from api.services import Services
from trainyard.vectors import Match, image_point

MOST_RANKED = 5_000  # points that are looked at in all, shown or not
SPARE = 20  # asked for beyond the limit: the photo itself, and points that rows do not bear out
GROWTH = 4
MOST_ASKED = 2_000  # at once

Neighbour: TypeAlias = tuple[sa.Row[Any], float]

READ = """
    SELECT {columns}
    FROM training_evidence e
    JOIN image_assets a ON a.id = e.asset_id AND a.content_sha256 = e.content_sha256
    LEFT JOIN categories c ON c.id = a.category_id
    WHERE e.model_id = :model_id AND a.id = ANY(:ids) AND {condition}
"""


@dataclass(frozen=True)
class Ranking:
    """What photos are compared with. `model`: the row of the network that embedded it."""

    model: sa.Row[Any]
    vector: NDArray[np.float32]
    without: int | None = None  # the photo it is of


def ranked(
    services: Services, ranking: Ranking, filters: Filters, limit: int, offset: int = 0
) -> tuple[list[Neighbour], int | None]:
    """Rows of the nearest photos with their cosine similarity, best first, and the offset that the next page has.

    `offset` counts points, those not shown included. Asks for more of them until enough are shown, there are no more,
    or too many were looked at. Raises VectorsUnavailable.
    """
    found: list[tuple[Neighbour, int]] = []  # each with the offset after it
    asked = limit + SPARE
    while offset < MOST_RANKED and len(found) <= limit:
        matches = services.vectors.query(ranking.model.collection, ranking.vector, asked, filters.where, offset)
        rows = _rows(services, ranking, filters, matches)
        found += [
            ((row, min(match.score, 1.0)), offset + place)
            for place, match in enumerate(matches, 1)
            if (row := rows.get(match.id)) and row.id != ranking.without
        ]
        if len(matches) < asked:
            break
        offset += asked
        asked = min(asked * GROWTH, MOST_ASKED)
    following = found[limit - 1][1] if len(found) > limit else MOST_RANKED
    return [neighbour for neighbour, _ in found[:limit]], following if following < MOST_RANKED else None


def _rows(
    services: Services, ranking: Ranking, filters: Filters, matches: Sequence[Match]
) -> Mapping[UUID, sa.Row[Any]]:
    """The rows that may be shown, by their point: of no missing photo, no earlier content, nor outside the roots."""
    ids = [match.payload.get("asset_id") for match in matches]
    known = {"model_id": ranking.model.id, "ids": [id for id in ids if isinstance(id, int)]}

    def read(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
        shown = condition(connection, filters, services.settings.allowed_roots)
        sql = READ.format(columns=COLUMNS, condition=shown.sql)
        return connection.execute(sa.text(sql), {**shown.parameters, **known}).all()

    weights = ranking.model.weights_sha256
    return {image_point(row.id, row.content_sha256, weights): row for row in services.database.transact(read)}
