"""What a standalone face session discovers: the known photos it is about, and those without a scan among them.

Nothing is walked or opened: rows say which photos there are, and what they were when they were embedded.
"""

import os
from collections.abc import Sequence

import sqlalchemy as sa

from jobs.context import Context, Session
from jobs.face_rows import SCAN_OF_PHOTO, scan_parameters
from jobs.lost_points import forget_lost_points
from jobs.networks import Resolved, resolve
from trainyard import shards
from trainyard.face_groups import count_unclustered
from trainyard.folders import is_allowed, lies_in, path_range
from trainyard.sessions import ALL_PHOTOS
from trainyard.shards import Shard
from trainyard.tables import training_sessions

IN_RANGES = """EXISTS (
            SELECT FROM unnest(CAST(:lows AS bytea[]), CAST(:highs AS bytea[])) AS r (low, high)
            WHERE a.path >= r.low AND a.path < r.high
        )"""

PHOTOS = f"""
    FROM image_assets a
    WHERE a.missing_since IS NULL AND a.broken_code IS NULL
        AND EXISTS (
            SELECT FROM training_evidence e WHERE e.asset_id = a.id AND e.content_sha256 = a.content_sha256
        )
        AND {IN_RANGES}
"""

DETECT_JOBS = sa.text(f"""
    INSERT INTO training_jobs (session_id, step, asset_id, position)
    SELECT :session_id, 'detect', a.id, row_number() OVER (ORDER BY a.path) - 1
    {PHOTOS}
        AND NOT EXISTS (SELECT FROM face_scans s WHERE {SCAN_OF_PHOTO})
""")


def select_photos(context: Context, session: Session, shard: Shard) -> None:
    """Run the step to its end. Raises WrongConfiguration for a face model that cannot be used."""
    resolved = resolve(context, session, shard)
    forget_lost_points(context, shard, resolved)
    context.check_stop()
    ranges = selected_ranges(session, context.settings.allowed_roots)
    context.database.transact(lambda connection: _settle(connection, session, shard, resolved, ranges))


def _settle(
    connection: sa.Connection, session: Session, shard: Shard, resolved: Resolved, here: dict[str, list[bytes]]
) -> None:
    """One transaction: the photos to search, and the session's totals."""
    shards.beat(connection, shard)
    if shards.is_finished(connection, shard):  # committed before, and the answer lost
        return
    assert resolved.face is not None
    connection.execute(sa.text("DELETE FROM training_jobs WHERE session_id = :id"), {"id": session.id})
    total = connection.execute(sa.text(f"SELECT count(*) {PHOTOS}"), here).scalar_one()
    scans = scan_parameters(session, resolved.face["id"])
    detect = connection.execute(DETECT_JOBS, {**here, **scans, "session_id": session.id}).rowcount
    counts = {"detect": detect, "unclustered": count_unclustered(connection, resolved.face["id"])}
    connection.execute(
        sa.update(training_sessions)
        .where(training_sessions.c.id == session.id)
        .values(models=resolved.to_json(), total=total, unchanged=total - detect)
    )
    shards.beat(connection, shard, counts=counts, done=total, total=total)
    shards.finish(connection, shard)


def selected_ranges(session: Session, allowed: Sequence[str]) -> dict[str, list[bytes]]:
    """Of the paths the session is about, those inside the roots of this installation."""
    folders = session.folders if session.source_session_id is not None else [ALL_PHOTOS]
    ranges = [path_range(os.fsencode(inside)) for folder in folders for inside in _allowed(folder, allowed)]
    return {"lows": [low for low, _ in ranges], "highs": [high for _, high in ranges]}


def _allowed(folder: str, allowed: Sequence[str]) -> list[str]:
    """The folder itself, or the roots that lie in it."""
    return [folder] if is_allowed(folder, allowed) else [root for root in allowed if lies_in(root, folder)]
