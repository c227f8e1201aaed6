"""Points against rows: those that no row has, and those that say something else than it."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from trainyard.active_sessions import keep_idle
from trainyard.outbox import enqueue_photos
from trainyard.payloads import read_payloads
from trainyard.repair_findings import Collection, Finding, Repair, found, parts
from trainyard.vectors import image_point

Point = tuple[UUID, dict[str, Any]]

IMAGES = sa.text("""
    SELECT asset_id, content_sha256 FROM training_evidence WHERE asset_id = ANY(:assets) AND model_id = ANY(:models)
""")
FACES = sa.text("SELECT id, asset_id FROM face_instances WHERE id = ANY(:ids) AND model_id = ANY(:models)")
WAITING = sa.text("SELECT asset_id FROM outbox WHERE asset_id = ANY(:assets)")


def check_points(repair: Repair, collection: Collection) -> Iterator[Finding]:
    """Of a collection that is there."""
    vectors, what = repair.stores.vectors, f"points of {collection.name}"
    orphans = misplaced = 0
    behind: set[int] = set()
    total, seen = vectors.count(collection.name), 0
    for page in vectors.payload_pages(collection.name):
        for part in parts(page):
            orphans += _delete_orphans(repair, collection, part)
            misplaced += _name_right(repair, collection, part)
            behind |= _tell(repair, collection, part)
            seen += len(part)
            repair.watch(what, seen, total)
    yield from found(orphans, f"{what} without a row", "deleted")
    yield from found(misplaced, f"{what} that name another photo or face", "told the right one")
    yield from found(len(behind), f"photos of which {what} say something else than rows", "told what rows say")


def _delete_orphans(repair: Repair, collection: Collection, points: Sequence[Point]) -> int:
    """Read again, and deleted, while no session can begin: a worker's points are there before its rows."""
    orphans = repair.transact(lambda connection: _without_rows(connection, collection, points))

    def delete(connection: sa.Connection) -> int:
        keep_idle(connection, repair.stores)
        still = _without_rows(connection, collection, orphans)
        repair.stores.vectors.delete(collection.name, [id for id, _ in still])
        return len(still)

    return repair.transact(delete) if orphans and repair.mend else len(orphans)


def _without_rows(connection: sa.Connection, collection: Collection, points: Sequence[Point]) -> list[Point]:
    rows = _rows(connection, collection, points)
    return [point for point in points if point[0] not in rows]


def _name_right(repair: Repair, collection: Collection, points: Sequence[Point]) -> int:
    """What a point was given when it was made, and what never changes but by a session."""
    rows = repair.transact(lambda connection: _rows(connection, collection, points))
    wrong = [id for id, payload in points if id in rows and not rows[id].items() <= payload.items()]
    for id in wrong if repair.mend else ():
        repair.stores.vectors.set_payload(collection.name, [id], rows[id])
    return len(wrong)


def _rows(connection: sa.Connection, collection: Collection, points: Sequence[Point]) -> dict[UUID, dict[str, Any]]:
    """What the points that rows have are to say of themselves."""
    asked: dict[str, Any] = {"models": list(collection.model_ids)}
    if collection.kind == "face":
        rows = connection.execute(FACES, {**asked, "ids": [id for id, _ in points]})
        return {row.id: {"face_id": str(row.id), "asset_id": row.asset_id} for row in rows}
    images = connection.execute(IMAGES, {**asked, "assets": _assets(points)})
    return {
        image_point(row.asset_id, row.content_sha256, collection.weights_sha256): {"asset_id": row.asset_id}
        for row in images
    }


def _tell(repair: Repair, collection: Collection, points: Sequence[Point]) -> set[int]:
    """The photos whose points are behind their rows, but for those that wait in the outbox already."""

    def work(connection: sa.Connection) -> set[int]:
        assets = _assets(points)
        rows = {
            point.id: payload
            for point, payload in read_payloads(connection, assets).items()
            if point.points.collection == collection.name
        }
        behind = {payload["asset_id"] for id, payload in points if id in rows and not _agree(payload, rows[id])} - set(
            connection.scalars(WAITING, {"assets": assets})
        )
        if behind and repair.mend:
            enqueue_photos(connection, behind)
        return behind

    return repair.transact(work)


def _agree(payload: dict[str, Any], row: dict[str, Any]) -> bool:
    """A field that is not there says nothing, as one that is null or empty does."""
    return all((payload.get(name) or None) == (value or None) for name, value in row.items())


def _assets(points: Sequence[Point]) -> list[int]:
    return sorted({asset for _, payload in points if isinstance(asset := payload.get("asset_id"), int)})
