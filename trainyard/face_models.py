"""Which face network's faces people see and name: one is active, others may be beside it while they are made."""

from typing import Any

import sqlalchemy as sa

from trainyard.tables import models

LOCK = (
    7_260_113_074  # any fixed number: the key of the advisory lock that another network takes to become the active one
)


def active_face_model(connection: sa.Connection) -> sa.Row[Any] | None:
    """Its row; None before any face was searched for. Of several (an older version's) the oldest counts."""
    m = models.c
    query = sa.select(models).where(m.kind == "face").order_by(m.active.desc(), m.id).limit(1)
    return connection.execute(query).one_or_none()


def keep_active(connection: sa.Connection) -> None:
    """No other network becomes the active one until this transaction ends: what people say would go with the old faces.

    To come before any row is locked; waits for one that is about to.
    """
    connection.execute(sa.text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK})


def take_turn(connection: sa.Connection) -> None:
    """Wait for those who keep the active one, and have them wait until this transaction ends."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def activate(connection: sa.Connection, model_id: int) -> None:
    """Make this network the active one in place of the other."""
    connection.execute(sa.update(models).where(models.c.kind == "face").values(active=models.c.id == model_id))
