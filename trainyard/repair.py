"""Finding where files, rows, vectors and thumbnails have drifted apart, and mending it.

Rows are the truth. What they say of points that are lost is taken back, so that a session does it again; what is there
without a row is deleted. A second repair finds nothing.
"""

from collections.abc import Iterator

import sqlalchemy as sa

from trainyard import outbox
from trainyard.active_sessions import check_idle
from trainyard.model_points import PointsOf, present
from trainyard.repair_files import check_files, check_thumbnails
from trainyard.repair_findings import Collection, Finding, Repair, found, read_collections
from trainyard.repair_people import check_groups, check_persons, check_suggestions
from trainyard.repair_points import check_points
from trainyard.repair_vectors import check_vectors

# Elsewhere somebody may be telling them at this moment.
WAITING = sa.text("SELECT count(*) FROM outbox WHERE :alone OR created_at < now() - interval '1 minute'")


def find_drift(repair: Repair) -> Iterator[Finding]:
    """Each kind of drift as it is found, mended where `repair.mend` says so.

    Raises SessionActive: what a session has written to one store and not yet to the other is no drift.
    """
    repair.transact(lambda connection: check_idle(connection, repair.stores))
    yield from _check_outbox(repair)
    yield from check_persons(repair)
    yield from check_suggestions(repair)
    yield from check_groups(repair)
    for collection in repair.transact(read_collections):
        yield from _check_collection(repair, collection)
    _drain(repair)
    yield from check_thumbnails(repair)
    yield from check_files(repair)


def _check_outbox(repair: Repair) -> Iterator[Finding]:
    waiting = {"alone": repair.stores.alone}
    count = repair.transact(lambda connection: int(connection.execute(WAITING, waiting).scalar_one()))
    _drain(repair)
    yield from found(count, "changes that vectors and prototypes had not been told of", "told")


def _drain(repair: Repair) -> None:
    while repair.mend and outbox.drain(repair.stores.database, repair.stores.vectors):
        pass


def _check_collection(repair: Repair, collection: Collection) -> Iterator[Finding]:
    points = PointsOf(collection.name, collection.dimension, collection.weights_sha256)
    vectors = repair.stores.vectors
    there = bool(present(vectors, [points]))
    yield from check_vectors(repair, collection, there=there)
    if there:
        yield from check_points(repair, collection)
    elif vectors.has_collection(collection.name):
        what = f"points of {collection.name} are another network's: delete that collection, then run a session"
        yield from found(vectors.count(collection.name), what, None)
