"""The step discover: find the photos, see which are known and unchanged, and list the work of later steps."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import sqlalchemy as sa

from jobs import selection, unknown_faces
from jobs.categories import leave_word_of_category
from jobs.context import Context, Session, read_session
from jobs.face_rows import SCAN_OF_PHOTO, scan_parameters
from jobs.lost_points import forget_lost_points
from jobs.moved import Move, carry_people_to_copies, find_moves, follow_moves
from jobs.networks import Resolved, resolve
from jobs.outages import StorageUnavailable, check_root, is_there, ride_out
from jobs.outcomes import ComeBackLater, WrongConfiguration
from jobs.subdirectories import SubdirectoryCounts
from jobs.telling import tell_what_is_left
from jobs.walk import FoundFile, Walk, display_text
from trainyard import shards
from trainyard.face_groups import count_unclustered
from trainyard.folders import RootUnusable, path_range, selected_folders
from trainyard.shards import Shard
from trainyard.tables import training_sessions

FILES_PER_COMMIT = 5_000
MOST_LOST = 0.5  # more than this share of the known photos gone is a mount that failed, not a clean-up


def run(context: Context, shard: Shard) -> None:
    """Run the step to its end. Raises WrongConfiguration for a root or a model that cannot be used."""
    session = context.database.transact(lambda connection: read_session(connection, shard.key.session_id))
    if session.training:
        _search(context, session, shard)
    elif session.assign:
        unknown_faces.select_photos(context, session, shard)
    else:
        selection.select_photos(context, session, shard)


def _search(context: Context, session: Session, shard: Shard) -> None:
    subdirectories = SubdirectoryCounts(session)
    with ThreadPoolExecutor(1) as loading:  # the networks load while the folders are walked
        resolving = loading.submit(resolve, context, session, shard)
        walk = _walk(context, session)
        shard = _collect(context, session, shard, walk, resolving, subdirectories)
        resolved = resolving.result()
    moves = find_moves(context, session.id, shard, walk)
    _check_mounts(context, shard, walk)
    forget_lost_points(context, shard, resolved)
    context.database.transact(lambda connection: _write_assets(connection, session, shard, moves))

    def settle(connection: sa.Connection) -> None:
        _settle(connection, session, shard, resolved, walk, moves)
        subdirectories.store(connection)

    context.database.transact(settle)
    tell_what_is_left(context, shard)


def _walk(context: Context, session: Session) -> Walk:
    try:
        folders = selected_folders(session.root_path, session.subdirectories, context.settings.allowed_roots)
        return Walk(folders, context.settings.exclude)
    except RootUnusable as error:
        raise WrongConfiguration(error.code, error.message) from error


def _check_mounts(context: Context, shard: Shard, walk: Walk) -> None:
    """Raises ComeBackLater when the mount went away under the walk: half a library must not pass for the whole."""
    held = {*walk.fruitful, *walk.unreadable} & set(walk.roots)  # a folder may well be empty from the first
    gone = [os.fsdecode(folder) for folder in sorted(held) if not is_there(os.fsdecode(folder))]
    if not gone:
        return
    looks = partial(check_root, gone[0])
    ride_out(context, shard, "StorageUnavailable", looks, (StorageUnavailable,))
    raise ComeBackLater(f"The folder {gone[0]} was away while it was walked; it is walked again.")


# What is on disk


def _collect(
    context: Context,
    session: Session,
    shard: Shard,
    walk: Walk,
    resolving: Future[Resolved],
    subdirectories: SubdirectoryCounts,
) -> Shard:
    """Write what the walk finds into `discovered_files`, a commit every few thousand."""
    shard = context.database.transact(lambda connection: _begin_anew(connection, session, shard))
    files = iter(walk)
    while chunk := list(islice(files, FILES_PER_COMMIT)):
        context.check_stop()
        if resolving.done():
            resolving.result()  # a missing model is told at once, not after a long walk
        shard = _store(context, session, shard, chunk)
        subdirectories.add(chunk)
    return shard


def _begin_anew(connection: sa.Connection, session: Session, shard: Shard) -> Shard:
    """A walk cannot be taken up where a worker that died left it: what that one found is found again."""
    connection.execute(sa.text("DELETE FROM discovered_files WHERE session_id = :id"), {"id": session.id})
    shards.beat(connection, shard, next=shard.first, done=0)
    return replace(shard, next=shard.first, done=0)


def _store(context: Context, session: Session, shard: Shard, chunk: list[FoundFile]) -> Shard:
    def work(connection: sa.Connection) -> Shard:
        after, is_news = shards.advance(
            connection, shard, next=shard.next + len(chunk), in_flight=None, done=len(chunk)
        )
        if is_news:
            _copy(connection, session.id, chunk)
        return after

    return context.database.transact(work)


def _copy(connection: sa.Connection, session_id: int, chunk: list[FoundFile]) -> None:
    cursor = connection.connection.cursor()
    columns = "session_id, path, path_text, size_bytes, mtime_ns"
    with cursor.copy(f"COPY discovered_files ({columns}) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "bytea", "text", "int8", "int8"])
        for found in chunk:
            copy.write_row((session_id, found.path, display_text(found.path), found.size_bytes, found.mtime_ns))


# From files to rows


ASSETS = sa.text("""
    INSERT INTO image_assets (path, path_sha256, path_text, category_id)
    SELECT path, sha256(path), path_text, CAST(:category_id AS integer)
    FROM discovered_files WHERE session_id = :session_id AND (path = ANY(CAST(:moved AS bytea[]))) = :of_moved
    ORDER BY path
    ON CONFLICT (path_sha256) DO UPDATE
    SET missing_since = NULL, category_id = coalesce(excluded.category_id, image_assets.category_id)
    WHERE image_assets.missing_since IS NOT NULL
        OR image_assets.category_id IS DISTINCT FROM coalesce(excluded.category_id, image_assets.category_id)
""")

# Unchanged means: the same size and time as when it was last read, and either done or known to be broken.
UNCHANGED_FILE = "a.size_bytes = f.size_bytes AND a.mtime_ns = f.mtime_ns"

EMBED_JOBS = sa.text(f"""
    INSERT INTO training_jobs (session_id, step, asset_id, position)
    SELECT :session_id, 'embed', a.id, row_number() OVER (ORDER BY f.path) - 1
    FROM discovered_files f JOIN image_assets a ON a.path_sha256 = sha256(f.path)
    LEFT JOIN training_evidence e
        ON e.asset_id = a.id AND e.content_sha256 = a.content_sha256 AND e.model_id = :clip_id
    WHERE f.session_id = :session_id
        AND (({UNCHANGED_FILE}) AND (e.asset_id IS NOT NULL OR a.broken_code IS NOT NULL)) IS NOT TRUE
""")

DETECT_JOBS = sa.text(f"""
    INSERT INTO training_jobs (session_id, step, asset_id, position)
    SELECT :session_id, 'detect', a.id, row_number() OVER (ORDER BY f.path) - 1
    FROM discovered_files f JOIN image_assets a ON a.path_sha256 = sha256(f.path)
    LEFT JOIN face_scans s ON {SCAN_OF_PHOTO}
    WHERE f.session_id = :session_id
        AND (({UNCHANGED_FILE}) AND (s.asset_id IS NOT NULL OR a.broken_code IS NOT NULL)) IS NOT TRUE
""")

BROKEN = sa.text(f"""
    SELECT count(*) FROM discovered_files f JOIN image_assets a ON a.path_sha256 = sha256(f.path)
    WHERE f.session_id = :session_id AND a.broken_code IS NOT NULL AND {UNCHANGED_FILE}
""")

LOST = """
    FROM image_assets a
    WHERE a.missing_since IS NULL AND a.path >= :low AND a.path < :high
        AND NOT EXISTS (
            SELECT 1 FROM discovered_files f WHERE f.session_id = :session_id AND f.path = a.path
        )
"""


def _write_assets(connection: sa.Connection, session: Session, shard: Shard, moves: Sequence[Move]) -> None:
    """The files found as assets, which carry the session's category if it names one; those that moved come later."""
    shards.beat(connection, shard)
    if session.category_id is not None:
        leave_word_of_category(connection, session.id, session.category_id)
    connection.execute(ASSETS, _assets(session, moves, of_moved=False))


def _assets(session: Session, moves: Sequence[Move], *, of_moved: bool) -> dict[str, Any]:
    """Parameters of ASSETS: the files that are photos moved there, or all others."""
    moved = [move.new.path for move in moves]
    return {"session_id": session.id, "category_id": session.category_id, "moved": moved, "of_moved": of_moved}


def _settle(
    connection: sa.Connection, session: Session, shard: Shard, resolved: Resolved, walk: Walk, moves: Sequence[Move]
) -> None:
    """One transaction from the files found to the photos, the jobs of later steps and the session's totals."""
    shards.beat(connection, shard)
    if shards.is_finished(connection, shard):  # committed before, and the answer lost
        return
    here = {"session_id": session.id}
    _check_complete(connection, session, shard)
    moved = follow_moves(connection, moves)
    if moves:
        connection.execute(ASSETS, _assets(session, moves, of_moved=True))
    connection.execute(sa.text("DELETE FROM training_jobs WHERE session_id = :session_id"), here)
    assert resolved.clip is not None
    counts = {"embed": connection.execute(EMBED_JOBS, {**here, "clip_id": resolved.clip["id"]}).rowcount}
    counts["detect"] = counts["unclustered"] = 0
    if resolved.face:
        scans = scan_parameters(session, resolved.face["id"])
        counts["detect"] = connection.execute(DETECT_JOBS, {**here, **scans}).rowcount
        counts["unclustered"] = count_unclustered(connection, resolved.face["id"])
    counts["broken"] = connection.execute(BROKEN, here).scalar_one()
    counts["unreadable"] = len(walk.unreadable)
    counts["moved"] = moved
    counts |= _mark_missing(connection, session, walk)
    if counts["missing"]:
        carry_people_to_copies(connection)
    connection.execute(
        sa.update(training_sessions)
        .where(training_sessions.c.id == session.id)
        .values(
            models=resolved.to_json(),
            total=shard.done,
            unchanged=shard.done - counts["embed"],
            skipped=walk.skipped,
        )
    )
    connection.execute(sa.text("DELETE FROM discovered_files WHERE session_id = :session_id"), here)
    shards.beat(connection, shard, counts=counts, total=shard.done)
    shards.finish(connection, shard)


def _check_complete(connection: sa.Connection, session: Session, shard: Shard) -> None:
    """A PostgreSQL that crashed meanwhile has emptied the unlogged list; photos must not look gone for that."""
    found = sa.text("SELECT count(*) FROM discovered_files WHERE session_id = :id")
    if connection.execute(found, {"id": session.id}).scalar_one() != shard.done:
        raise ComeBackLater("PostgreSQL lost the list of files; the folder is walked again")


def _mark_missing(connection: sa.Connection, session: Session, walk: Walk) -> dict[str, int]:
    """Mark known photos that were not found, unless so many are gone that the folder itself is in doubt."""
    counts = {"missing": 0, "doubtful": 0}
    for folder in walk.roots:
        low, high = path_range(folder)
        range_ = {"session_id": session.id, "low": low, "high": high}
        known = connection.execute(
            sa.text(
                "SELECT count(*) FROM image_assets a "
                "WHERE a.missing_since IS NULL AND a.path >= :low AND a.path < :high"
            ),
            range_,
        ).scalar_one()
        lost = connection.execute(sa.text(f"SELECT count(*) {LOST}"), range_).scalar_one()
        if lost and (walk.unreadable or lost > MOST_LOST * known):
            counts["doubtful"] += lost
        elif lost:
            marking = f"UPDATE image_assets SET missing_since = now() WHERE id IN (SELECT a.id {LOST})"
            counts["missing"] += connection.execute(sa.text(marking), range_).rowcount
    return counts
