"""Groups of faces: what waits to be grouped, and groups some of whose faces are gone."""

from collections.abc import Collection

import sqlalchemy as sa

# Live are the faces that wait for a name; the best of them stands for the group.
MEND = sa.text("""
    WITH live AS (
        SELECT f.cluster_id, count(*) AS size, (array_agg(f.id ORDER BY f.quality DESC, f.id))[1] AS best,
               coalesce(bool_or(f.id = c.representative_face_id), false) AS has_representative
        FROM face_instances f JOIN image_assets a ON a.id = f.asset_id JOIN face_clusters c ON c.id = f.cluster_id
        WHERE f.cluster_id = ANY(:ids) AND f.person_id IS NULL AND f.ignored_at IS NULL AND a.missing_since IS NULL
        GROUP BY f.cluster_id
    )
    UPDATE face_clusters c SET size = live.size,
        representative_face_id = CASE WHEN has_representative THEN c.representative_face_id ELSE best END
    FROM live WHERE live.cluster_id = c.id AND c.closed_at IS NULL
""")

SHOW_NONE = sa.text("""
    UPDATE face_clusters c SET representative_face_id = NULL
    WHERE c.id = ANY(:ids) AND NOT EXISTS (SELECT FROM face_instances f WHERE f.id = c.representative_face_id)
""")

CLOSE = sa.text("""
    UPDATE face_clusters c SET closed_at = clock_timestamp(), size = 0
    WHERE c.id = ANY(:ids) AND c.closed_at IS NULL
        AND NOT EXISTS (SELECT FROM face_instances f WHERE f.cluster_id = c.id)
""")


def count_unclustered(connection: sa.Connection, model_id: int) -> int:
    """Faces that clustering will look at, as far as they are known."""
    count = sa.text(
        "SELECT count(*) FROM face_instances WHERE model_id = :id AND person_id IS NULL AND ignored_at IS NULL"
    )
    return int(connection.execute(count, {"id": model_id}).scalar_one())


def mend_groups(connection: sa.Connection, cluster_ids: Collection[int]) -> None:
    """Have these groups say how many faces they have and show one of them; close those that have none."""
    if cluster_ids:
        connection.execute(MEND, {"ids": sorted(cluster_ids)})
        connection.execute(SHOW_NONE, {"ids": sorted(cluster_ids)})
    close_empty(connection, cluster_ids)


def close_empty(connection: sa.Connection, cluster_ids: Collection[int]) -> None:
    """Close those of these groups that have no face left."""
    if cluster_ids:
        connection.execute(CLOSE, {"ids": sorted(cluster_ids)})
