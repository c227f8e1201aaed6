"""Groups become rows in one transaction; whatever people did since the faces were read is left alone."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.activation import begins_to_take_over, take_over
from jobs.clustering import match_groups
from trainyard import shards
from trainyard.shards import Shard

LEAST_QUALITY = 0.3  # below it a face is too poor to tell people apart


@dataclass(frozen=True)
class Faces:
    """The n faces to group, in their natural order; `waiting` are all that waited for it, those not grouped too."""

    ids: list[UUID]
    assets: NDArray[np.int64]
    qualities: NDArray[np.float64]
    clusters: list[int | None]
    waiting: list[UUID]


@dataclass(frozen=True)
class Groups:
    """Faces by place in each new group, by label; `kept` are those that were there before, with their ids."""

    new: Mapping[int, set[int]]
    kept: Mapping[int, int]
    unwanted: set[int]  # those to be dismissed from the first


def store_groups(
    connection: sa.Connection, shard: Shard, model_id: int, faces: Faces, labels: NDArray[np.int64]
) -> None:
    """Keep the groups that were there, make the new ones, close the others, and finish the shard."""
    shards.beat(connection, shard)
    if shards.is_finished(connection, shard):  # committed before, and the answer lost
        return
    takes_over = begins_to_take_over(connection, model_id)
    here = _untouched(connection, faces)
    groups = _compared(faces, labels, here, _open_groups(connection, model_id))
    _write(connection, shard, model_id, faces, here, groups)
    if takes_over:
        take_over(connection, model_id)
    counts = {
        "clusters": len(groups.new) - len(groups.kept) - len(groups.unwanted),
        "groups": len(groups.new),
        "grouped": sum(map(len, groups.new.values())),
    }
    shards.beat(connection, shard, done=len(faces.ids), total=len(faces.ids), counts=counts)
    shards.finish(connection, shard)


def _compared(faces: Faces, labels: NDArray[np.int64], here: Collection[UUID], dismissed: Mapping[int, bool]) -> Groups:
    """The groups to be, beside those that are open; `dismissed` says of each of these whether it was."""
    new: dict[int, set[int]] = defaultdict(set)
    old: dict[int, set[int]] = defaultdict(set)
    for i, label in enumerate(labels.tolist()):
        if label >= 0 and faces.ids[i] in here:
            new[label].add(i)
        cluster = faces.clusters[i]
        if cluster is not None and cluster in dismissed:
            old[cluster].add(i)
    kept = match_groups(old, new)
    unwanted = {label for label in new.keys() - kept.keys() if _unwanted(new[label], faces, dismissed)}
    return Groups(new, kept, unwanted)


def _write(
    connection: sa.Connection, shard: Shard, model_id: int, faces: Faces, here: set[UUID], groups: Groups
) -> None:
    ids = {
        label: groups.kept.get(label) or _create(connection, shard, model_id, label in groups.unwanted)
        for label in sorted(groups.new)
    }
    _move_faces(connection, faces, here, {i: ids[label] for label, members in groups.new.items() for i in members})
    for label, members in groups.new.items():
        _describe(connection, ids[label], faces, sorted(members))
    _close_others(connection, model_id, sorted(ids.values()), faces)
    connection.execute(TAKEN_TURN, {"ids": faces.waiting})


LOCK = sa.text("""
    SELECT id, cluster_id, person_id IS NULL AND ignored_at IS NULL AS unknown
    FROM face_instances WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE
""")


def _untouched(connection: sa.Connection, faces: Faces) -> set[UUID]:
    """The faces that are still as they were read: neither named nor ignored since, nor put into another group.

    Every face that is written to later is locked here, before groups are.
    """
    rows = connection.execute(LOCK, {"ids": [*faces.ids, *faces.waiting]})
    before = dict(zip(faces.ids, faces.clusters, strict=True))
    return {row.id for row in rows if row.unknown and row.id in before and row.cluster_id == before[row.id]}


def _open_groups(connection: sa.Connection, model_id: int) -> dict[int, bool]:
    """The groups there are now, and whether each was dismissed; nobody dismisses another one meanwhile."""
    rows = connection.execute(
        sa.text(
            "SELECT id, dismissed_at IS NOT NULL AS dismissed FROM face_clusters "
            "WHERE model_id = :model_id AND closed_at IS NULL ORDER BY id FOR UPDATE"
        ),
        {"model_id": model_id},
    )
    return {row.id: row.dismissed for row in rows}


def _unwanted(members: set[int], faces: Faces, dismissed: Mapping[int, bool]) -> bool:
    """Whether a new group is one that was dismissed, in other clothes: at least half of it comes from such."""
    before = [faces.clusters[i] for i in members]
    return 2 * sum(cluster is not None and dismissed.get(cluster, False) for cluster in before) >= len(members)


def _create(connection: sa.Connection, shard: Shard, model_id: int, dismissed: bool) -> int:
    return int(
        connection.execute(
            sa.text(
                "INSERT INTO face_clusters (model_id, session_id, size, dismissed_at) "
                "VALUES (:model, :session, 0, CASE WHEN :dismissed THEN now() END) RETURNING id"
            ),
            {"model": model_id, "session": shard.key.session_id, "dismissed": dismissed},
        ).scalar_one()
    )


def _move_faces(connection: sa.Connection, faces: Faces, here: set[UUID], cluster_of: dict[int, int]) -> None:
    moved = [(id, cluster_of.get(i)) for i, id in enumerate(faces.ids) if id in here]
    connection.execute(
        sa.text("""
            UPDATE face_instances f SET cluster_id = r.cluster_id
            FROM unnest(CAST(:ids AS uuid[]), CAST(:clusters AS integer[])) AS r (id, cluster_id)
            WHERE f.id = r.id AND f.cluster_id IS DISTINCT FROM r.cluster_id
        """),
        {"ids": [id for id, _ in moved], "clusters": [cluster for _, cluster in moved]},
    )


def _describe(connection: sa.Connection, cluster_id: int, faces: Faces, members: list[int]) -> None:
    best = max(members, key=lambda i: (faces.qualities[i], -i))
    connection.execute(
        sa.text("UPDATE face_clusters SET size = :size, representative_face_id = :best WHERE id = :id"),
        {"size": len(members), "best": faces.ids[best], "id": cluster_id},
    )


# Faces too poor or missing leave their groups. One that came back into its group meanwhile waits for the next turn.
LEAVE = """
    UPDATE face_instances f SET cluster_id = NULL, clustered_at = CASE WHEN f.quality < :least_quality
        OR f.id IN (SELECT unnest(CAST(:read AS uuid[])))
        OR EXISTS (SELECT FROM image_assets a WHERE a.id = f.asset_id AND a.missing_since IS NOT NULL)
        THEN f.clustered_at END
    WHERE f.cluster_id IN (SELECT id FROM face_clusters WHERE {closing})
"""
CLOSING = "closed_at IS NULL AND model_id = :model_id AND NOT id = ANY(:open)"

# Of faces that are known or ignored, an older version left some in their groups.
LEAVE_KNOWN = sa.text("""
    UPDATE face_instances SET cluster_id = NULL
    WHERE model_id = :model_id AND cluster_id IS NOT NULL AND (person_id IS NOT NULL OR ignored_at IS NOT NULL)
""")

TAKEN_TURN = sa.text(
    "UPDATE face_instances SET clustered_at = clock_timestamp() WHERE id = ANY(:ids) AND clustered_at IS NULL"
)


def _close_others(connection: sa.Connection, model_id: int, open_ids: list[int], faces: Faces) -> None:
    """Close the groups that nothing matched."""
    closing = {"model_id": model_id, "open": open_ids}
    leave = sa.text(LEAVE.format(closing=CLOSING))
    connection.execute(leave, {**closing, "read": faces.ids, "least_quality": LEAST_QUALITY})
    connection.execute(sa.text(f"UPDATE face_clusters SET closed_at = clock_timestamp() WHERE {CLOSING}"), closing)
    connection.execute(LEAVE_KNOWN, {"model_id": model_id})
