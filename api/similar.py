"""The photos nearest to a photo by its CLIP embedding: points come from Qdrant, rows say which of them are true."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from api.image_rows import COLUMNS, is_shown, read_row
from api.problems import Problem
from api.services import Services
from trainyard.vectors import Match, image_point

SPARE = 20  # asked for beyond the limit: the photo itself, and points that rows do not bear out
MOST_ASKED = 2_000  # where that was not enough, as when many photos lie outside the roots
GROWTH = 4

Neighbour = tuple[sa.Row[Any], float]

# The networks that embedded the photo as it is, the active ones and the newest first.
MODELS = sa.text("""
    SELECT m.id, m.collection, m.weights_sha256, e.content_sha256
    FROM training_evidence e JOIN models m ON m.id = e.model_id JOIN image_assets a ON a.id = e.asset_id
    WHERE e.asset_id = :id AND e.content_sha256 = a.content_sha256 AND m.kind = 'clip'
    ORDER BY m.active DESC, m.id DESC
""")

ROWS = sa.text(f"""
    SELECT {COLUMNS}
    FROM training_evidence e
    JOIN image_assets a ON a.id = e.asset_id AND a.content_sha256 = e.content_sha256
    LEFT JOIN categories c ON c.id = a.category_id
    WHERE e.model_id = :model_id AND a.id = ANY(:ids) AND a.missing_since IS NULL AND a.broken_code IS NULL
""")


def nearest(services: Services, image_id: int, limit: int) -> list[Neighbour]:
    """Rows of the nearest photos with their cosine similarity, best first. Raises Problem and VectorsUnavailable."""
    roots = services.settings.allowed_roots

    def read(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
        read_row(connection, image_id, roots)
        return connection.execute(MODELS, {"id": image_id}).all()

    for model in services.database.transact(read):
        if services.vectors.has_collection(model.collection):
            point = image_point(image_id, model.content_sha256, model.weights_sha256)
            found = services.vectors.retrieve(model.collection, [point])
            if not found.missing:
                return _nearest_to(services, image_id, model, found.vectors[0], limit)
    raise Problem(409, "NotEmbedded", f"Image {image_id} has no embedding yet; begin a session of its folder.")


def _nearest_to(services: Services, image_id: int, model: sa.Row[Any], vector: Any, limit: int) -> list[Neighbour]:
    """Asks for more points until enough are shown, there are no more, or too many were asked for."""
    asked = limit + SPARE
    while True:
        matches = services.vectors.query(model.collection, vector, asked)
        rows = _rows(services, model, matches)
        near = [(row, min(match.score, 1.0)) for match in matches if (row := rows.get(match.id)) and row.id != image_id]
        if len(near) >= limit or len(matches) < asked or asked >= MOST_ASKED:
            return near[:limit]
        asked = min(asked * GROWTH, MOST_ASKED)


def _rows(services: Services, model: sa.Row[Any], matches: Sequence[Match]) -> Mapping[Any, sa.Row[Any]]:
    """The rows that may be shown, by their point: of no missing photo, no earlier content, nor outside the roots."""
    ids = [match.payload.get("asset_id") for match in matches]
    known = {"model_id": model.id, "ids": [id for id in ids if isinstance(id, int)]}
    rows = services.database.transact(lambda connection: connection.execute(ROWS, known).all())
    roots = services.settings.allowed_roots
    return {image_point(row.id, row.content_sha256, model.weights_sha256): row for row in rows if is_shown(row, roots)}
