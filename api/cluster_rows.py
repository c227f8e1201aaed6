"""Groups of faces that nobody has named, as the API shows them: the largest first, each with a few of its faces."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from api.face_rows import COLUMNS, FACES, SHOWN, UNKNOWN, Face, face_of, sight
from api.problems import Problem
from api.schemas import Out
from api.services import Services

SAMPLES = 8


class Cluster(Out):
    id: int
    size: Annotated[int, Field(description="Its faces that are still unknown, in photos that are there.")]
    representative: Face | None
    samples: Annotated[list[Face], Field(description=f"At most {SAMPLES}, the representative and then the best first.")]
    created_at: datetime
    dismissed: bool


READ = f"""
    SELECT c.id, c.created_at, c.dismissed_at, coalesce(live.size, 0) AS size
    FROM face_clusters c
    LEFT JOIN (
        SELECT f.cluster_id, count(*) AS size FROM {FACES}
        WHERE f.cluster_id IS NOT NULL AND {{of}} AND {UNKNOWN} AND {SHOWN} GROUP BY f.cluster_id
    ) live ON live.cluster_id = c.id
    WHERE c.closed_at IS NULL AND c.model_id = :model_id AND {{which}}
"""

READ_ONE = sa.text(READ.format(of="f.cluster_id = :id", which="c.id = :id"))

READ_PAGE = sa.text(
    READ.format(
        of="true",
        which="""
            c.dismissed_at IS NULL AND live.size >= 1
            AND (CAST(:size AS bigint) IS NULL OR (live.size, -c.id) < (CAST(:size AS bigint), -CAST(:id AS bigint)))
            ORDER BY live.size DESC, c.id LIMIT :limit
        """,
    )
)

READ_SAMPLES = sa.text(f"""
    SELECT sample.*
    FROM face_clusters c CROSS JOIN LATERAL (
        SELECT {COLUMNS}, row_number() OVER (
            ORDER BY f.id IS NOT DISTINCT FROM c.representative_face_id DESC, f.quality DESC, f.id
        ) AS place
        FROM {FACES} WHERE f.cluster_id = c.id AND {UNKNOWN} AND {SHOWN} ORDER BY place LIMIT {SAMPLES}
    ) sample
    WHERE c.id = ANY(:ids) ORDER BY c.id, place
""")


def read_cluster(connection: sa.Connection, services: Services, cluster_id: int) -> Cluster:
    """Raises Problem."""
    seen = sight(connection, services)
    row = connection.execute(READ_ONE, {"id": cluster_id, **seen}).one_or_none()
    if row is None:
        raise no_such_cluster(cluster_id)
    return _with_samples(connection, seen, [row])[0]


def read_clusters(connection: sa.Connection, services: Services, after: tuple[Any, ...], limit: int) -> list[Cluster]:
    """The largest first, after (size, id)."""
    size, cluster_id = after
    seen = sight(connection, services)
    rows = connection.execute(READ_PAGE, {"size": size, "id": cluster_id, "limit": limit, **seen}).all()
    return _with_samples(connection, seen, rows)


def check_shown(connection: sa.Connection, services: Services, cluster_id: int) -> None:
    """Raises Problem unless somebody sees faces in the group. Those of it that lie outside the roots go with them."""
    if read_cluster(connection, services, cluster_id).size == 0:
        raise no_such_cluster(cluster_id)


def no_such_cluster(cluster_id: int) -> Problem:
    detail = f"There is no group {cluster_id} of faces; it may have been grouped anew since."
    return Problem(404, "NoSuchCluster", detail)


def _with_samples(connection: sa.Connection, seen: dict[str, Any], rows: Sequence[sa.Row[Any]]) -> list[Cluster]:
    samples: dict[int, list[Face]] = {row.id: [] for row in rows}
    for found in connection.execute(READ_SAMPLES, {"ids": list(samples), **seen}):
        samples[found.cluster_id].append(face_of(found))
    return [_cluster(row, samples[row.id]) for row in rows]


def _cluster(row: sa.Row[Any], samples: list[Face]) -> Cluster:
    return Cluster(
        id=row.id,
        size=row.size,
        representative=samples[0] if samples else None,
        samples=samples,
        created_at=row.created_at,
        dismissed=row.dismissed_at is not None,
    )
