"""Rows against vectors: those whose point is lost, or whose point's vector is not the one that was made."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from trainyard.active_sessions import keep_idle
from trainyard.repair_findings import PER_LOOK, Collection, Finding, Repair, found
from trainyard.vectors import image_point

ANEW = "a session of their folder makes them anew"

IMAGES = sa.text("""
    SELECT asset_id, content_sha256 AS key, NULL::uuid AS id, content_sha256, embedding_sha256 FROM training_evidence
    WHERE model_id = :model AND (asset_id, content_sha256) > (:asset, :key)
    ORDER BY asset_id, content_sha256 LIMIT :limit
""")

# Faces of photos that are to be searched again anyway are in order: their points come back with that.
FACES = sa.text("""
    SELECT f.asset_id, uuid_send(f.id) AS key, f.id, f.content_sha256, f.embedding_sha256 FROM face_instances f
    WHERE f.model_id = :model AND (f.asset_id, uuid_send(f.id)) > (:asset, :key) AND EXISTS (
        SELECT FROM face_scans s
        WHERE s.asset_id = f.asset_id AND s.content_sha256 = f.content_sha256 AND s.model_id = f.model_id
    )
    ORDER BY f.asset_id, uuid_send(f.id) LIMIT :limit
""")


@dataclass(frozen=True)
class Compared:
    """Photos whose points are lost, and points that have another vector, by photo."""

    lost: set[int]
    wrong: dict[UUID, int]


def check_vectors(repair: Repair, collection: Collection, *, there: bool) -> Iterator[Finding]:
    """Of a collection's rows; where the collection is gone, all have lost theirs."""
    lost = wrong = 0
    for model_id in collection.model_ids:
        total = repair.transact(partial(_count_rows, kind=collection.kind, model_id=model_id))
        seen, after, last_lost = 0, (-1, b""), -1
        while rows := repair.transact(partial(_page, kind=collection.kind, model_id=model_id, after=after)):
            compared = _compare(repair, collection, rows) if there else Compared({row.asset_id for row in rows}, {})
            if repair.mend:
                _forget(repair, collection, model_id, compared)
            # A photo whose faces are on two pages is one photo.
            lost += sum(1 for asset_id in compared.lost if asset_id > last_lost)
            last_lost, wrong = max({last_lost, *compared.lost}), wrong + len(compared.wrong)
            seen, after = seen + len(rows), (rows[-1].asset_id, rows[-1].key)
            repair.watch(f"vectors of {collection.name}", seen, total)
    whose = "photos whose faces'" if collection.kind == "face" else "photos whose"
    yield from found(lost, f"{whose} points in {collection.name} are lost", f"forgotten; {ANEW}")
    yield from found(wrong, f"points in {collection.name} with another vector than was made", f"deleted; {ANEW}")


def _page(connection: sa.Connection, kind: str, model_id: int, after: tuple[int, bytes]) -> Sequence[sa.Row[Any]]:
    asked = {"model": model_id, "asset": after[0], "key": after[1], "limit": PER_LOOK}
    return connection.execute(FACES if kind == "face" else IMAGES, asked).all()


def _count_rows(connection: sa.Connection, kind: str, model_id: int) -> int:
    table = "face_instances" if kind == "face" else "training_evidence"
    rows = sa.text(f"SELECT count(*) FROM {table} WHERE model_id = :model")
    return int(connection.execute(rows, {"model": model_id}).scalar_one())


def _compare(repair: Repair, collection: Collection, rows: Sequence[sa.Row[Any]]) -> Compared:
    ids = [row.id or image_point(row.asset_id, row.content_sha256, collection.weights_sha256) for row in rows]
    retrieved = repair.stores.vectors.retrieve(collection.name, ids)
    gone = set(retrieved.missing)
    compared = Compared(set(), {})
    for row, id, vector in zip(rows, ids, retrieved.vectors, strict=True):
        if id in gone:
            compared.lost.add(row.asset_id)
        elif hashlib.sha256(vector.astype("<f4").tobytes()).digest() != row.embedding_sha256:
            compared.wrong[id] = row.asset_id
    return compared


def _forget(repair: Repair, collection: Collection, model_id: int, compared: Compared) -> None:
    """Evidence of embeddings; of faces the scans, while the faces keep what people said of them."""
    table = "face_scans" if collection.kind == "face" else "training_evidence"
    assets = sorted({*compared.lost, *compared.wrong.values()})
    delete = sa.text(f"DELETE FROM {table} WHERE model_id = :model AND asset_id = ANY(:assets)")

    def work(connection: sa.Connection) -> None:
        keep_idle(connection, repair.stores)
        connection.execute(delete, {"model": model_id, "assets": assets})
        repair.stores.vectors.delete(collection.name, sorted(compared.wrong))

    if assets:
        repair.transact(work)
