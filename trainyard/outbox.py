"""What Qdrant, or a person's prototypes, have yet to be told, written in the transaction that changed the rows.

An entry names only its subject: whoever drains it reads what is true by then, so that doing it twice does no harm.
"""

from collections.abc import Collection

import sqlalchemy as sa

from trainyard.database import Database
from trainyard.payloads import tell_photos
from trainyard.people.prototypes import refresh_in
from trainyard.vectors import Vectors

LOCK = 7_260_113_072  # any fixed number: the key of the advisory lock that the one who drains has

TAKE = sa.text("SELECT pg_try_advisory_xact_lock(:key)")
# Persons before photos, of which an upgrade or a moved folder may leave as many as there are: whoever names faces
# meanwhile does not wait for these.
READ = sa.text("""
    SELECT * FROM (
        (SELECT id, asset_id, person_id FROM outbox WHERE person_id IS NOT NULL ORDER BY id LIMIT :limit)
        UNION ALL
        (SELECT id, asset_id, person_id FROM outbox WHERE asset_id IS NOT NULL ORDER BY id LIMIT :limit)
    ) oldest
    ORDER BY person_id IS NULL, id LIMIT :limit
""")
FORGET = sa.text("DELETE FROM outbox WHERE id = ANY(:ids)")


def enqueue_photos(connection: sa.Connection, asset_ids: Collection[int]) -> None:
    """The payloads of these photos' points, and of their faces', are behind their rows."""
    connection.execute(
        sa.text("INSERT INTO outbox (asset_id) SELECT DISTINCT unnest(CAST(:ids AS bigint[]))"),
        {"ids": list(asset_ids)},
    )


def enqueue_persons(connection: sa.Connection, person_ids: Collection[int]) -> None:
    """The prototypes of these persons are behind the faces that people gave them."""
    connection.execute(
        sa.text("INSERT INTO outbox (person_id) SELECT DISTINCT unnest(CAST(:ids AS integer[]))"),
        {"ids": list(person_ids)},
    )


def drain(database: Database, vectors: Vectors, limit: int = 500) -> int:
    """Tell the stores of up to so many entries, and forget these; returns how many.

    0 when there is nothing to tell, or while another one drains. Killed or failed anywhere, the entries are still
    there, and those written meanwhile stay in any case. Raises VectorsUnavailable and VectorsUnusable.
    """
    return database.transact(lambda connection: _drain(connection, vectors, limit))


def _drain(connection: sa.Connection, vectors: Vectors, limit: int) -> int:
    if not connection.execute(TAKE, {"key": LOCK}).scalar_one():
        return 0
    entries = connection.execute(READ, {"limit": limit}).all()
    if not entries:
        return 0
    for person_id in sorted({row.person_id for row in entries if row.person_id is not None}):
        refresh_in(connection, vectors, person_id)
    tell_photos(connection, vectors, sorted({row.asset_id for row in entries if row.asset_id is not None}))
    connection.execute(FORGET, {"ids": [row.id for row in entries]})
    return len(entries)
