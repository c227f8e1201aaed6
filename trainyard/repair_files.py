"""Files against rows: photos that are gone or have changed are told, thumbnails that nobody asks for are deleted."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from trainyard import thumbnail_files
from trainyard.repair_findings import PER_LOOK, Finding, Repair, found
from trainyard.sessions import ALL_PHOTOS

PAGE = sa.text("""
    SELECT id, path, size_bytes, mtime_ns, missing_since FROM image_assets
    WHERE id > :after ORDER BY id LIMIT :limit
""")
COUNT = sa.text("SELECT count(*) FROM image_assets")
ROOTS = sa.text("SELECT DISTINCT root_path FROM training_sessions WHERE root_path <> :all")
IN_ROWS = sa.text("SELECT DISTINCT content_sha256 FROM image_assets WHERE content_sha256 = ANY(:contents)")

BY_SESSION = "a session of their folder takes note of it"


def check_files(repair: Repair) -> Iterator[Finding]:
    """What stands on disk is nobody's to mend; a folder that is away is not looked into."""
    away = _roots_away(repair)
    total = repair.transact(lambda connection: int(connection.execute(COUNT).scalar_one()))
    states = {"away": 0, "gone": 0, "changed": 0, "back": 0, "as known": 0}
    after = 0
    while rows := repair.transact(partial(_page, after=after)):
        for row in rows:
            states[_state(row, away)] += 1
        after = rows[-1].id
        repair.watch("files", sum(states.values()), total)
    yield from found(states["gone"], f"photos whose files are gone ({BY_SESSION})", None)
    yield from found(states["changed"], f"photos whose files have changed ({BY_SESSION})", None)
    yield from found(states["back"], f"photos that were missing, and are there again ({BY_SESSION})", None)
    folders = ", ".join(os.fsdecode(folder) for folder in away)
    yield from found(states["away"], f"photos not looked at, as their folder is not here: {folders}", None)


def _page(connection: sa.Connection, after: int) -> Sequence[sa.Row[Any]]:
    return connection.execute(PAGE, {"after": after, "limit": PER_LOOK}).all()


def _state(row: sa.Row[Any], away: Sequence[bytes]) -> str:
    if any(row.path.startswith(folder + b"/") for folder in away):
        return "away"
    try:
        found = os.stat(row.path)
    except OSError:
        return "as known" if row.missing_since else "gone"
    if row.missing_since:
        return "back"
    known = row.size_bytes is None or (row.size_bytes, row.mtime_ns) == (found.st_size, found.st_mtime_ns)
    return "as known" if known else "changed"


def _roots_away(repair: Repair) -> list[bytes]:
    """Folders of sessions that are not on this machine, or not just now."""
    roots = repair.transact(lambda connection: connection.scalars(ROOTS, {"all": ALL_PHOTOS}).all())
    return sorted(os.fsencode(root) for root in roots if not os.path.isdir(root))


def check_thumbnails(repair: Repair) -> Iterator[Finding]:
    """Of contents that no photo has any more."""
    contents = 0
    folders = thumbnail_files.folders(repair.stores.thumbnails)
    for number, folder in enumerate(folders, 1):
        kept = thumbnail_files.contents_in(folder)
        stale = kept - repair.transact(partial(_in_rows, contents=kept))
        contents += len(stale)
        if repair.mend:
            thumbnail_files.remove_of_photos(repair.stores.thumbnails, stale)
        repair.watch("thumbnails", number, len(folders))
    yield from found(contents, "pictures that have thumbnails and are no photo's any more", "thumbnails deleted")


def _in_rows(connection: sa.Connection, contents: set[bytes]) -> set[bytes]:
    return set(connection.scalars(IN_ROWS, {"contents": list(contents)}))
