"""What Qdrant, or a person's prototypes, have yet to be told, written in the transaction that changed the rows.

An entry names only its subject: whoever drains it reads what is true by then, so that doing it twice does no harm.
"""

from collections.abc import Collection

import sqlalchemy as sa


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
