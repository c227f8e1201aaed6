"""The step discover: find the photos, see which are known and unchanged, and list the work of later steps.

Also the place where a session's networks are resolved, once; later workers load exactly those.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from jobs.context import Context, Session, read_session
from jobs.engines import ModelCard
from jobs.engines.loading import card_to_json, choose_face_engine
from jobs.engines.weights import ModelMissing
from jobs.outages import StorageUnavailable, check_root, is_there, ride_out
from jobs.outcomes import ComeBackLater, WrongConfiguration
from jobs.walk import FoundFile, RootUnusable, Walk, selected_folders
from trainyard import shards
from trainyard.shards import Shard
from trainyard.tables import models, training_sessions
from trainyard.vectors import VectorsUnavailable, WrongCollection, face_point, image_point

FILES_PER_COMMIT = 5_000
POINTS_PER_LOOK = 1_000
MOST_LOST = 0.5  # more than this share of the known photos gone is a mount that failed, not a clean-up


@dataclass(frozen=True)
class Resolved:
    """The networks of a session as stored on it: cards with the ids of their rows."""

    clip: dict[str, Any]
    face: dict[str, Any] | None
    device: str

    def to_json(self) -> dict[str, Any]:
        return {"clip": self.clip, "face": self.face, "device": self.device}


def run(context: Context, shard: Shard) -> None:
    """Run the step to its end. Raises WrongConfiguration for a root or a model that cannot be used."""
    session = context.database.transact(lambda connection: read_session(connection, shard.key.session_id))
    with ThreadPoolExecutor(1) as loading:  # the networks load while the folders are walked
        resolving = loading.submit(_resolve, context, session, shard)
        walk = _walk(context, session)
        shard = _collect(context, session, shard, walk, resolving)
        resolved = resolving.result()
    _check_mounts(context, shard, walk)
    ride_out(
        context, shard, "VectorsUnavailable", partial(_forget_lost_points, context, resolved), (VectorsUnavailable,)
    )
    context.database.transact(lambda connection: _settle(connection, session, shard, resolved, walk))


def _walk(context: Context, session: Session) -> Walk:
    try:
        return Walk(selected_folders(session.root_path, session.subdirectories), context.settings.exclude)
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


# Networks


def _resolve(context: Context, session: Session, shard: Shard) -> Resolved:
    try:
        untrained = bool(session.options.get("untrained", False))
        clip = context.engines.clip(untrained=untrained).card
        face = None
        if session.faces:
            wanted = str(session.options.get("face_engine", context.settings.face_engine))
            face = context.engines.face(choose_face_engine(wanted, context.settings.models_path)).card
        return Resolved(
            clip=_remember(context, shard, clip),
            face=_remember(context, shard, face) if face else None,
            device=context.engines.device,
        )
    except ModelMissing as error:
        raise WrongConfiguration(error.code, error.message) from error
    except WrongCollection as error:
        raise WrongConfiguration("WrongCollection", str(error)) from error


def _remember(context: Context, shard: Shard, card: ModelCard) -> dict[str, Any]:
    """The card as JSON with the id of its row in `models`, made when new; its collection is made too."""
    ensure = partial(context.vectors.ensure_collection, card.collection, card.dimension, card.weights_sha256)
    ride_out(context, shard, "VectorsUnavailable", ensure, (VectorsUnavailable,))
    stored = card_to_json(card)
    identity = ("kind", "engine", "name", "weights_sha256", "preprocess_version")

    def work(connection: sa.Connection) -> int:
        connection.execute(insert(models).values(**stored).on_conflict_do_nothing(index_elements=identity))
        same = sa.and_(*(models.c[name] == stored[name] for name in identity))
        return int(connection.execute(sa.select(models.c.id).where(same)).scalar_one())

    return {**stored, "id": context.database.transact(work)}


# What is on disk


def _collect(context: Context, session: Session, shard: Shard, walk: Walk, resolving: Future[Resolved]) -> Shard:
    """Write what the walk finds into `discovered_files`, a commit every few thousand."""
    shard = context.database.transact(lambda connection: _begin_anew(connection, session, shard))
    files = iter(walk)
    while chunk := list(islice(files, FILES_PER_COMMIT)):
        context.check_stop()
        if resolving.done():
            resolving.result()  # a missing model is told at once, not after a long walk
        shard = _store(context, session, shard, chunk)
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


def display_text(path: bytes) -> str:
    """A path as text; bytes that are not UTF-8 are shown as \\xNN."""
    return path.decode("utf-8", "backslashreplace")


# Points that are gone although their rows are here: a lost Qdrant folder is refilled by doing them again


def _forget_lost_points(context: Context, resolved: Resolved) -> None:
    _forget_lost(context, resolved.clip, "training_evidence", _image_points)
    if resolved.face:
        _forget_lost(context, resolved.face, "face_scans", _face_points)


def _forget_lost(context: Context, model: dict[str, Any], table: str, points: Any) -> None:
    """Delete the evidence of photos whose points Qdrant does not have. Counts are compared first: usually equal."""
    rows = context.database.transact(lambda connection: points(connection, model, None, count=True))
    if context.vectors.count(model["collection"]) >= rows:
        return
    after: tuple[int, int] | None = (-1, -1)
    while after is not None:
        context.check_stop()
        page = context.database.transact(partial(points, model=model, after=after, count=False))
        missing = set(context.vectors.retrieve(model["collection"], [id for _, _, id in page]).missing)
        lost = sorted({asset for asset, _, id in page if id in missing})
        context.database.transact(partial(_delete_evidence, table=table, model=model, lost=lost))
        after = page[-1][:2] if page else None


def _delete_evidence(connection: sa.Connection, table: str, model: dict[str, Any], lost: list[int]) -> None:
    connection.execute(
        sa.text(f"DELETE FROM {table} WHERE model_id = :model AND asset_id = ANY(:assets)"),
        {"model": model["id"], "assets": lost},
    )


def _image_points(
    connection: sa.Connection, model: dict[str, Any], after: tuple[int, int] | None, *, count: bool
) -> Any:
    if count:
        return connection.execute(
            sa.text("SELECT count(*) FROM training_evidence WHERE model_id = :model"), {"model": model["id"]}
        ).scalar_one()
    assert after is not None
    rows = connection.execute(
        sa.text("""
            SELECT asset_id, content_sha256 FROM training_evidence
            WHERE model_id = :model AND asset_id > :after ORDER BY asset_id LIMIT :limit
        """),
        {"model": model["id"], "after": after[0], "limit": POINTS_PER_LOOK},
    )
    return [(r.asset_id, 0, image_point(r.asset_id, r.content_sha256, model["weights_sha256"])) for r in rows]


def _face_points(
    connection: sa.Connection, model: dict[str, Any], after: tuple[int, int] | None, *, count: bool
) -> Any:
    if count:
        return connection.execute(
            sa.text("SELECT count(*) FROM face_instances WHERE model_id = :model"), {"model": model["id"]}
        ).scalar_one()
    assert after is not None
    rows = connection.execute(
        sa.text("""
            SELECT asset_id, ordinal, content_sha256 FROM face_instances
            WHERE model_id = :model AND (asset_id, ordinal) > (:asset, :ordinal)
            ORDER BY asset_id, ordinal LIMIT :limit
        """),
        {"model": model["id"], "asset": after[0], "ordinal": after[1], "limit": POINTS_PER_LOOK},
    )
    found: list[tuple[int, int, UUID]] = []
    for row in rows:
        point = face_point(row.asset_id, row.content_sha256, model["weights_sha256"], row.ordinal)
        found.append((row.asset_id, row.ordinal, point))
    return found


# From files to rows


ASSETS = sa.text("""
    INSERT INTO image_assets (path, path_sha256, path_text, category_id)
    SELECT path, sha256(path), path_text, CAST(:category_id AS integer)
    FROM discovered_files WHERE session_id = :session_id ORDER BY path
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
    LEFT JOIN face_scans e
        ON e.asset_id = a.id AND e.content_sha256 = a.content_sha256 AND e.model_id = :face_id
        AND e.min_confidence <= :min_confidence AND e.min_face_size_px <= :min_face_size_px
    WHERE f.session_id = :session_id
        AND (({UNCHANGED_FILE}) AND (e.asset_id IS NOT NULL OR a.broken_code IS NOT NULL)) IS NOT TRUE
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


def _settle(connection: sa.Connection, session: Session, shard: Shard, resolved: Resolved, walk: Walk) -> None:
    """One transaction from the files found to assets, the jobs of later steps, and the session's totals."""
    shards.beat(connection, shard)
    if shards.is_finished(connection, shard):  # committed before, and the answer lost
        return
    here = {"session_id": session.id}
    _check_complete(connection, session, shard)
    connection.execute(sa.text("ANALYZE discovered_files"))
    connection.execute(ASSETS, {**here, "category_id": session.category_id})
    connection.execute(sa.text("DELETE FROM training_jobs WHERE session_id = :session_id"), here)
    counts = {"embed": connection.execute(EMBED_JOBS, {**here, "clip_id": resolved.clip["id"]}).rowcount}
    counts["detect"] = counts["unclustered"] = 0
    if resolved.face:
        counts["detect"] = connection.execute(DETECT_JOBS, _face_parameters(session, resolved.face)).rowcount
        counts["unclustered"] = _unclustered(connection, resolved.face)
    counts["broken"] = connection.execute(BROKEN, here).scalar_one()
    counts["unreadable"] = len(walk.unreadable)
    counts |= _mark_missing(connection, session, walk)
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


def _face_parameters(session: Session, face: dict[str, Any]) -> dict[str, Any]:
    return {
        "session_id": session.id,
        "face_id": face["id"],
        "min_confidence": session.min_confidence,
        "min_face_size_px": session.min_face_size_px,
    }


def _unclustered(connection: sa.Connection, face: dict[str, Any]) -> int:
    return int(
        connection.execute(
            sa.text("SELECT count(*) FROM face_instances WHERE model_id = :id AND person_id IS NULL"),
            {"id": face["id"]},
        ).scalar_one()
    )


def _mark_missing(connection: sa.Connection, session: Session, walk: Walk) -> dict[str, int]:
    """Mark known photos that were not found, unless so many are gone that the folder itself is in doubt."""
    counts = {"missing": 0, "doubtful": 0}
    for folder in walk.roots:
        inside = folder.rstrip(b"/")
        range_ = {"session_id": session.id, "low": inside + b"/", "high": inside + b"0"}  # "0" follows "/"
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
