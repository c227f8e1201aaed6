"""Files that were moved or renamed: their rows go with them, and so do embeddings, faces and people.

A found file that no row knows takes the row of a photo that is no longer in its place and had the same content. Where
the other one is still there it is a copy, which is a photo of its own.
"""

import os
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from jobs.context import Context
from jobs.outages import MOUNT_ERRORS, StorageUnavailable, ride_out
from jobs.walk import FoundFile, Walk, display_text
from trainyard import shards
from trainyard.folders import path_range
from trainyard.outbox import enqueue_photos
from trainyard.people.overlap import carry_to_copies
from trainyard.photo_errors import PhotoError
from trainyard.photo_files import photo_file_sha256
from trainyard.shards import Shard

BEAT_SECONDS = 10.0
COPIES_AT_ONCE = 1_000

# Photos `a` that are not where they were: missing since some time, or in a folder that was walked and not found there.
GONE = """a.content_sha256 IS NOT NULL
        AND (a.missing_since IS NOT NULL OR EXISTS (
            SELECT FROM unnest(CAST(:lows AS bytea[]), CAST(:highs AS bytea[])) AS r (low, high)
            WHERE a.path >= r.low AND a.path < r.high))
        AND NOT EXISTS (SELECT FROM discovered_files f WHERE f.session_id = :session_id AND f.path = a.path)"""

# Only such files are read.
CANDIDATES = sa.text(f"""
    SELECT f.path, f.size_bytes, f.mtime_ns FROM discovered_files f
    WHERE f.session_id = :session_id AND f.size_bytes IN (SELECT a.size_bytes FROM image_assets a WHERE {GONE})
        AND NOT EXISTS (SELECT FROM image_assets b WHERE b.path_sha256 = sha256(f.path))
    ORDER BY f.path
""")

ORIGINALS = sa.text(f"""
    SELECT a.id, a.path, a.content_sha256, a.size_bytes FROM image_assets a
    WHERE a.content_sha256 = ANY(:contents) AND {GONE} ORDER BY a.path
""")

MOVE = sa.text("""
    UPDATE image_assets a SET path = r.new, path_sha256 = sha256(r.new), path_text = r.text, mtime_ns = r.mtime_ns,
        missing_since = NULL
    FROM unnest(CAST(:ids AS bigint[]), CAST(:old AS bytea[]), CAST(:new AS bytea[]), CAST(:texts AS text[]),
                CAST(:mtimes AS bigint[])) AS r (id, old, new, text, mtime_ns)
    WHERE a.id = r.id AND a.path = r.old
        AND NOT EXISTS (SELECT FROM image_assets b WHERE b.path_sha256 = sha256(r.new))
    RETURNING a.id
""")

# Of photos marked missing in this very transaction those of which something is said, by their first copy.
COPIES = sa.text("""
    SELECT DISTINCT ON (c.id) c.id AS copy, a.id AS original
    FROM image_assets a JOIN image_assets c ON c.content_sha256 = a.content_sha256 AND c.missing_since IS NULL
    WHERE a.missing_since = now() AND EXISTS (
        SELECT FROM face_instances f WHERE f.asset_id = a.id AND (f.person_id IS NOT NULL OR f.ignored_at IS NOT NULL
            OR EXISTS (SELECT FROM face_suggestions s WHERE s.face_id = f.id AND s.status = 'rejected')))
    ORDER BY c.id, a.path
""")


@dataclass(frozen=True)
class Move:
    asset_id: int
    old: bytes
    new: FoundFile


def find_moves(context: Context, session_id: int, shard: Shard, walk: Walk) -> list[Move]:
    """Which found files are photos that were elsewhere, by path. Raises ComeBackLater when stopped."""
    here = {"session_id": session_id, **_ranges(walk)}
    found = context.database.transact(lambda connection: _candidates(connection, here))
    contents = list(_read(context, shard, found))
    asked = {**here, "contents": sorted({content for _, content in contents})}
    originals = context.database.transact(lambda c: c.execute(ORIGINALS, asked).all()) if contents else []
    return _matched(contents, originals)


def _ranges(walk: Walk) -> dict[str, list[bytes]]:
    """Folders in which nothing at all was found are in doubt: what is not there may be back tomorrow."""
    ranges = [path_range(folder) for folder in walk.roots if folder in walk.fruitful]
    return {"lows": [low for low, _ in ranges], "highs": [high for _, high in ranges]}


def _candidates(connection: sa.Connection, here: dict[str, Any]) -> list[FoundFile]:
    connection.execute(sa.text("ANALYZE discovered_files"))
    return [FoundFile(row.path, row.size_bytes, row.mtime_ns) for row in connection.execute(CANDIDATES, here)]


def _read(context: Context, shard: Shard, found: Sequence[FoundFile]) -> Iterator[tuple[FoundFile, bytes]]:
    """Each file that can be read, with the digest of its content."""
    beaten = time.monotonic()
    for file in found:
        context.check_stop()
        if time.monotonic() - beaten > BEAT_SECONDS:
            context.database.transact(partial(shards.beat, shard=shard))
            beaten = time.monotonic()
        content = ride_out(context, shard, "StorageUnavailable", partial(_content, file.path), (StorageUnavailable,))
        if content is not None:
            yield file, content


def _content(path: bytes) -> bytes | None:
    try:
        return photo_file_sha256(path)
    except PhotoError:  # a later step says what is wrong with it
        return None
    except OSError as error:
        if error.errno not in MOUNT_ERRORS:
            raise
        raise StorageUnavailable(f"The photos cannot be read ({error.strerror}); mount their folder again.") from error


def _matched(contents: Sequence[tuple[FoundFile, bytes]], originals: Sequence[sa.Row[Any]]) -> list[Move]:
    """Each original goes to one file: where several are alike, the first by path to the first by path."""
    left: dict[tuple[bytes, int], deque[sa.Row[Any]]] = defaultdict(deque)
    for row in originals:
        left[row.content_sha256, row.size_bytes].append(row)
    moves = []
    for file, content in contents:
        rows = left[content, file.size_bytes]
        while rows and not _is_gone(rows[0].path):
            rows.popleft()
        if rows:
            row = rows.popleft()
            moves.append(Move(row.id, row.path, file))
    return moves


def _is_gone(path: bytes) -> bool:
    """Whether there certainly is no such file: one in a folder that is closed to us may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def follow_moves(connection: sa.Connection, moves: Sequence[Move]) -> int:
    """Have the photos be where they are now; returns how many were not there before."""
    if not moves:
        return 0
    moved = connection.scalars(
        MOVE,
        {
            "ids": [move.asset_id for move in moves],
            "old": [move.old for move in moves],
            "new": [move.new.path for move in moves],
            "texts": [display_text(move.new.path) for move in moves],
            "mtimes": [move.new.mtime_ns for move in moves],
        },
    ).all()
    enqueue_photos(connection, moved)
    return len(moved)


def carry_people_to_copies(connection: sa.Connection) -> None:
    """What is said of photos that have just been marked missing is said of their copies too, if these know nothing.

    Such a photo was moved into a folder that was searched before this one.
    """
    rows = connection.execute(COPIES).all()
    for start in range(0, len(rows), COPIES_AT_ONCE):
        carry_to_copies(connection, {row.copy: row.original for row in rows[start : start + COPIES_AT_ONCE]})
