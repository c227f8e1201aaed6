"""Which face network's faces people see and name: one is active, others may be beside it while they are made."""

from typing import Any

import sqlalchemy as sa

from trainyard.tables import models


def active_face_model(connection: sa.Connection) -> sa.Row[Any] | None:
    """Its row; None before any face was searched for. Of several (an older version's) the oldest counts."""
    m = models.c
    query = sa.select(models).where(m.kind == "face").order_by(m.active.desc(), m.id).limit(1)
    return connection.execute(query).one_or_none()


def activate(connection: sa.Connection, model_id: int) -> None:
    """Make this network the active one in place of the other."""
    connection.execute(sa.update(models).where(models.c.kind == "face").values(active=models.c.id == model_id))
