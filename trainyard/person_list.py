"""Persons as a list, by id."""

from typing import Any

import sqlalchemy as sa

from trainyard.face_models import active_face_model

READ = sa.text("""
    SELECT p.id AS "personId", p.name, count(f.id) AS faces, count(DISTINCT f.asset_id) AS photos
    FROM persons p LEFT JOIN face_instances f ON f.person_id = p.id AND f.model_id = :model_id
    WHERE p.deleted_at IS NULL GROUP BY p.id ORDER BY p.id
""")


def list_persons(connection: sa.Connection) -> list[dict[str, Any]]:
    """Id, name and counts of the active network's faces, as JSON has them."""
    model = active_face_model(connection)
    rows = connection.execute(READ, {"model_id": model.id if model else None})
    return [dict(row._mapping) for row in rows]
