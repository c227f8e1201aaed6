"""Groups of faces of the same person: shown until somebody names or dismisses them."""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path

from api.changing import Change, Whose, make_change
from api.cluster_rows import Cluster, check_shown, read_cluster, read_clusters
from api.face_rows import COLUMNS, FACES, SHOWN, UNKNOWN, Face, face_of, sight
from api.paging import Limit, PageToken, face_id, number, page, read_key, whole
from api.problems import ANY_ROUTE, documented
from api.schemas import GREATEST_ID, Page
from api.services import Given
from trainyard.people import changes, clusters

router = APIRouter(prefix="/api/v1/clusters", tags=["clusters"], responses=ANY_ROUTE)

ClusterId = Annotated[int, Path(ge=1, le=GREATEST_ID)]

READ_FACES = sa.text(f"""
    SELECT {COLUMNS} FROM {FACES}
    WHERE f.cluster_id = :cluster_id AND {UNKNOWN} AND {SHOWN} AND (
        CAST(:quality AS float8) IS NULL
        OR (-f.quality, f.id) > (-CAST(:quality AS float8), CAST(:face_id AS uuid))
    )
    ORDER BY f.quality DESC, f.id LIMIT :limit
""")


@router.get("")
def list_clusters(services: Given, limit: Limit = 50, token: PageToken = None) -> Page[Cluster]:
    """The largest first; those that were dismissed are left out."""
    after = read_key(token, whole, whole)
    found = services.database.transact(lambda connection: read_clusters(connection, services, after, limit + 1))
    return Page[Cluster](**page(found, limit, lambda last: [last.size, last.id]))


@router.get("/{cluster_id}", responses=documented(404))
def get_cluster(cluster_id: ClusterId, services: Given) -> Cluster:
    return services.database.transact(lambda connection: read_cluster(connection, services, cluster_id))


@router.get("/{cluster_id}/faces", responses=documented(404))
def list_faces(cluster_id: ClusterId, services: Given, limit: Limit = 100, token: PageToken = None) -> Page[Face]:
    """The best first."""
    quality, after = read_key(token, number, face_id)

    def work(connection: sa.Connection) -> list[Any]:
        read_cluster(connection, services, cluster_id)  # raises where there is none
        asked = {"cluster_id": cluster_id, "quality": quality, "face_id": after, "limit": limit + 1}
        return list(connection.execute(READ_FACES, {**asked, **sight(connection, services)}))

    found = [face_of(row) for row in services.database.transact(work)]
    return Page[Face](**page(found, limit, lambda last: [last.quality, str(last.id)]))


@router.post("/{cluster_id}/name", responses=documented(404))
def name_cluster(cluster_id: ClusterId, wanted: Whose, services: Given) -> Change:
    """All its faces are this person's; later sessions follow."""

    def work(connection: sa.Connection) -> changes.Change:
        check_shown(connection, services, cluster_id)
        return clusters.name(connection, cluster_id, person_id=wanted.person_id, name=wanted.name)

    return make_change(services, work)


@router.post("/{cluster_id}/dismiss", responses=documented(404))
def dismiss_cluster(cluster_id: ClusterId, services: Given) -> Change:
    """Nobody wants to know who it is: it is not shown again, nor are faces that join it later."""

    def work(connection: sa.Connection) -> changes.Change:
        check_shown(connection, services, cluster_id)
        return clusters.dismiss(connection, cluster_id)

    return make_change(services, work)
