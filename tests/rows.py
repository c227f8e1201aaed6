"""Rows that tests begin with, written the way discover and the API write them."""

import hashlib
from typing import Any

import sqlalchemy as sa

from trainyard.tables import image_assets, models, steps, training_jobs, training_sessions


def add_session(connection: sa.Connection, **columns: Any) -> int:
    """A session of /photos; returns its id."""
    values = {"root_path": "/photos", **columns}
    return int(
        connection.execute(sa.insert(training_sessions).values(values).returning(training_sessions.c.id)).scalar_one()
    )


def add_step(connection: sa.Connection, session_id: int, step: str, status: str = "pending", **columns: Any) -> None:
    connection.execute(sa.insert(steps).values(session_id=session_id, step=step, status=status, **columns))


def add_photos(connection: sa.Connection, count: int) -> list[int]:
    """Assets 0…count−1, those that are there already left as they are; returns their ids in that order."""
    paths = [f"/photos/{number:06d}.jpg" for number in range(count)]
    rows = [
        {"path": path.encode(), "path_sha256": hashlib.sha256(path.encode()).digest(), "path_text": path}
        for path in paths
    ]
    there = set(connection.scalars(sa.select(image_assets.c.path_text)))
    if new := [row for row in rows if row["path_text"] not in there]:
        connection.execute(sa.insert(image_assets), new)
    ids = {row.path_text: row.id for row in connection.execute(sa.select(image_assets))}
    return [ids[path] for path in paths]


def add_jobs(connection: sa.Connection, session_id: int, step: str, count: int, **columns: Any) -> None:
    """The step's work: photos 0…count−1 at the positions of the same number."""
    assets = add_photos(connection, count)
    connection.execute(
        sa.insert(training_jobs),
        [
            {"session_id": session_id, "step": step, "asset_id": asset_id, "position": position, **columns}
            for position, asset_id in enumerate(assets)
        ],
    )


def add_model(connection: sa.Connection, kind: str) -> int:
    """A network nobody loads; returns its row's id."""
    values = {
        "kind": kind,
        "engine": "none",
        "name": "made up",
        "weights_sha256": "0" * 64,
        "preprocess_version": 1,
        "dimension": 4,
        "collection": f"{kind}-made-up",
        "trained": False,
    }
    return int(connection.execute(sa.insert(models).values(values).returning(models.c.id)).scalar_one())


def session_row(connection: sa.Connection, session_id: int) -> dict[str, Any]:
    query = sa.select(training_sessions).where(training_sessions.c.id == session_id)
    return dict(connection.execute(query).one()._mapping)


def step_row(connection: sa.Connection, session_id: int, step: str) -> dict[str, Any]:
    query = sa.select(steps).where(steps.c.session_id == session_id, steps.c.step == step)
    return dict(connection.execute(query).one()._mapping)
