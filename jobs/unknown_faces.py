"""What a session that only assigns discovers: the photos with faces nobody knows. No photo and no network is opened."""

from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from jobs.context import Context, Session
from jobs.engines import ModelCard
from jobs.networks import Resolved
from jobs.selection import IN_RANGES, selected_ranges
from trainyard import shards
from trainyard.face_models import active_face_model
from trainyard.shards import Shard
from trainyard.tables import training_sessions

ASSIGN_JOBS = sa.text(f"""
    INSERT INTO training_jobs (session_id, step, asset_id, position)
    SELECT :session_id, 'assign', a.id, row_number() OVER (ORDER BY a.path) - 1
    FROM image_assets a
    WHERE a.missing_since IS NULL AND {IN_RANGES} AND a.id IN (
        SELECT f.asset_id FROM face_instances f
        WHERE f.model_id = :model_id AND f.person_id IS NULL AND f.ignored_at IS NULL
    )
""")


def select_photos(context: Context, session: Session, shard: Shard) -> None:
    """Run the step to its end."""
    here = selected_ranges(session, context.settings.allowed_roots)

    def work(connection: sa.Connection) -> None:
        shards.beat(connection, shard)
        if not shards.is_finished(connection, shard):  # else committed before, and the answer lost
            _settle(connection, session, shard, _resolved(connection, context), here)

    context.database.transact(work)


def _resolved(connection: sa.Connection, context: Context) -> Resolved:
    """The active face network as its row has it; none before the first was used."""
    row = active_face_model(connection)
    face = {each.name: getattr(row, each.name) for each in fields(ModelCard)} | {"id": row.id} if row else None
    return Resolved(clip=None, face=face, device=context.engines.device)


def _settle(
    connection: sa.Connection, session: Session, shard: Shard, resolved: Resolved, here: dict[str, Any]
) -> None:
    """One transaction: the photos to go over, and the session's totals."""
    connection.execute(sa.text("DELETE FROM training_jobs WHERE session_id = :id"), {"id": session.id})
    photos = 0
    if resolved.face:
        parameters = {**here, "session_id": session.id, "model_id": resolved.face["id"]}
        photos = connection.execute(ASSIGN_JOBS, parameters).rowcount
    connection.execute(
        sa.update(training_sessions)
        .where(training_sessions.c.id == session.id)
        .values(models=resolved.to_json(), total=photos, unchanged=0)
    )
    shards.beat(connection, shard, counts={"assign": photos}, done=photos, total=photos)
    shards.finish(connection, shard)
