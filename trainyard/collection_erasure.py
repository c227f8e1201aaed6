"""Forgetting faces by the collection for good: of all networks, of one, or with everything else that is known."""

from collections.abc import Collection
from functools import partial

import sqlalchemy as sa

from trainyard import thumbnail_files
from trainyard.active_sessions import check_idle, keep_idle
from trainyard.erasure import Erased, collections_of, tell_stores
from trainyard.face_models import active_face_model
from trainyard.outbox import enqueue_photos
from trainyard.stores import Stores
from trainyard.tables import metadata
from trainyard.thumbnail_files import Box

KEPT = frozenset({"installation", "controller_lease"})  # tables; settings are no rows at all
OF_FACES = (
    "face_suggestions", "person_prototypes", "face_instances", "face_scans", "face_clusters", "persons",
    "people_change_suggestions", "people_change_faces", "people_changes",
)  # fmt: skip


def erase_faces(stores: Stores) -> Erased:
    """Erase faces, persons, groups and scans of all networks, and the collections. Raises SessionActive."""
    stores.database.transact(lambda connection: check_idle(connection, stores, faces=True))
    collections = collections_of(stores, "face")
    vectors = _delete_collections(stores, collections)
    _make_in_use(stores, collections)
    thumbnails = thumbnail_files.remove_all(stores.thumbnails, faces_only=True)

    def work(connection: sa.Connection) -> tuple[int, int]:
        keep_idle(connection, stores, faces=True)
        counts = _count(connection, "face_instances"), _count(connection, "persons")
        named = sa.text("SELECT DISTINCT asset_id FROM face_instances WHERE person_id IS NOT NULL")
        enqueue_photos(connection, list(connection.scalars(named)))
        connection.execute(sa.text("DELETE FROM outbox WHERE person_id IS NOT NULL"))
        _truncate(connection, OF_FACES)
        return counts

    faces, persons = stores.database.transact(work)
    tell_stores(stores)
    return Erased(faces=faces, persons=persons, vectors=vectors, thumbnails=thumbnails)


def erase_all(stores: Stores) -> Erased:
    """Erase everything but the schema and the installation's id. Raises SessionActive."""
    stores.database.transact(lambda connection: check_idle(connection, stores))
    vectors = _delete_collections(stores, collections_of(stores))
    thumbnails = thumbnail_files.remove_all(stores.thumbnails)

    def work(connection: sa.Connection) -> tuple[int, int, int]:
        keep_idle(connection, stores)
        photos, faces, persons = (_count(connection, table) for table in ("image_assets", "face_instances", "persons"))
        _truncate(connection, metadata.tables.keys() - KEPT)
        return photos, faces, persons

    photos, faces, persons = stores.database.transact(work)
    return Erased(photos, faces, persons, vectors, thumbnails)


# A record of what was done to its faces has others to go by, of the network that is shown.
OF_NETWORK = (
    "DELETE FROM people_change_suggestions WHERE face_id IN (SELECT id FROM face_instances WHERE model_id = :id)",
    "DELETE FROM people_change_faces WHERE face_id IN (SELECT id FROM face_instances WHERE model_id = :id)",
    "UPDATE persons SET cover_face_id = NULL "
    "WHERE cover_face_id IN (SELECT id FROM face_instances WHERE model_id = :id)",
    "DELETE FROM person_prototypes WHERE model_id = :id",
    "DELETE FROM face_instances WHERE model_id = :id",
    "DELETE FROM face_clusters WHERE model_id = :id",
    "DELETE FROM face_scans WHERE model_id = :id",
)


def erase_network(stores: Stores, model_id: int) -> Erased:
    """Erase the faces of one network; persons stay, and so does the network's name.

    Raises SessionActive, and NetworkShown: another session may have shown it since somebody chose it.
    """

    def check(connection: sa.Connection) -> None:
        check_idle(connection, stores, faces=True)
        _check_not_shown(connection, model_id)

    stores.database.transact(check)
    alone = sa.text("SELECT collection FROM models GROUP BY collection HAVING array_agg(id) = ARRAY[CAST(:id AS int)]")
    collections = stores.database.transact(lambda connection: list(connection.scalars(alone, {"id": model_id})))
    vectors = _delete_collections(stores, set(collections) & set(stores.vectors.collections()))
    _make_in_use(stores, collections)
    thumbnails = _delete_thumbnails(stores, model_id)

    def work(connection: sa.Connection) -> int:
        keep_idle(connection, stores, faces=True)
        _check_not_shown(connection, model_id)
        faces = sa.text("SELECT count(*) FROM face_instances WHERE model_id = :id")
        count = int(connection.execute(faces, {"id": model_id}).scalar_one())
        for statement in OF_NETWORK:
            connection.execute(sa.text(statement), {"id": model_id})
        return count

    return Erased(faces=stores.database.transact(work), vectors=vectors, thumbnails=thumbnails)


class NetworkShown(Exception):
    """Its faces are those that people see and name."""

    def __init__(self, collection: str) -> None:
        super().__init__(
            f"{collection} holds the faces that are shown; `trainyard models switch` shows another network's first."
        )


def _check_not_shown(connection: sa.Connection, model_id: int) -> None:
    active = active_face_model(connection)
    if active is not None and active.id == model_id:
        raise NetworkShown(active.collection)


# Of face networks that a session goes on with which is not ended, or may be retried: it made its collection when it
# began.
IN_USE = sa.text("""
    SELECT DISTINCT m.collection, m.dimension, m.weights_sha256
    FROM training_sessions s JOIN models m ON m.id = CAST(s.models #>> '{face,id}' AS integer)
    WHERE s.status <> 'cancelled' AND (s.status <> 'completed' OR s.failed > 0) AND s.deleted_at IS NULL
""")

FACES_IN = sa.text("""
    SELECT f.content_sha256, f.box_left, f.box_top, f.box_right, f.box_bottom
    FROM image_assets a JOIN face_instances f ON f.asset_id = a.id AND f.content_sha256 = a.content_sha256
    WHERE a.content_sha256 = ANY(:contents) AND f.model_id = :model_id
""")


def _delete_collections(stores: Stores, collections: Collection[str]) -> int:
    """Returns how many points there were."""
    points = 0
    for collection in sorted(collections):
        points += stores.vectors.count(collection)
        stores.vectors.delete_collection(collection)
    return points


def _delete_thumbnails(stores: Stores, model_id: int) -> int:
    """Those of the network's faces, of which there may be millions, and few that somebody has looked at."""
    deleted = 0
    for folder in thumbnail_files.folders(stores.thumbnails):
        contents = thumbnail_files.contents_in(folder)
        faces = stores.database.transact(partial(_faces_in, contents=contents, model_id=model_id))
        deleted += thumbnail_files.remove_of_faces(stores.thumbnails, faces)
    return deleted


def _faces_in(connection: sa.Connection, contents: Collection[bytes], model_id: int) -> list[tuple[bytes, Box]]:
    rows = connection.execute(FACES_IN, {"contents": list(contents), "model_id": model_id})
    return [(row.content_sha256, (row.box_left, row.box_top, row.box_right, row.box_bottom)) for row in rows]


def _make_in_use(stores: Stores, collections: Collection[str]) -> None:
    """Of these, those that a session may go on with, empty."""
    for model in stores.database.transact(lambda connection: connection.execute(IN_USE).all()):
        if model.collection in collections:
            stores.vectors.ensure_collection(model.collection, model.dimension, model.weights_sha256)


def _truncate(connection: sa.Connection, tables: Collection[str]) -> None:
    """Ids go on from where they were: what somebody has noted of one must not come to mean another."""
    connection.execute(sa.text(f"TRUNCATE {', '.join(sorted(tables))} CONTINUE IDENTITY"))


def _count(connection: sa.Connection, table: str) -> int:
    return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())
