"""What a collection has, for tests that look at all of it."""

from uuid import UUID

from trainyard.vectors import Vectors


def ids_in(vectors: Vectors, collection: str) -> list[UUID]:
    """Every point's id, ascending."""
    return [id for page in vectors.payload_pages(collection) for id, _ in page]
