"""Sessions as a list, the newest first."""

from typing import Any

import sqlalchemy as sa

from trainyard.tables import training_sessions


def list_sessions(connection: sa.Connection, limit: int = 100) -> list[dict[str, Any]]:
    """Id, folder, status and counts of the newest sessions, as JSON has them."""
    s = training_sessions.c
    rows = connection.execute(
        sa.select(
            s.id.label("sessionId"),
            s.root_path.label("rootPath"),
            s.status.label("overallStatus"),
            s.requested,
            s.total,
            s.processed,
            s.failed,
            s.unchanged,
            s.created_at.label("createdAt"),
        )
        .where(s.deleted_at.is_(None))
        .order_by(s.id.desc())
        .limit(limit)
    )
    return [dict(row._mapping) for row in rows]
