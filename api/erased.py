"""What was erased, as the API says it, and erasing a person."""

from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from api.schemas import Out
from api.services import Services
from trainyard import erasure
from trainyard.stores import Stores


class Erased(Out):
    """How much was removed for good."""

    photos: int
    faces: int
    persons: int
    vectors: Annotated[int, Field(description="Points in Qdrant.")]
    thumbnails: Annotated[int, Field(description="Files of the server that answers; other replicas keep theirs.")]


def stores_of(services: Services) -> Stores:
    return Stores(services.database, services.vectors, services.settings.thumbnails_path)


def erased_of(erased: erasure.Erased) -> Erased:
    return Erased(**asdict(erased))


def erase_person(services: Services, person_id: int) -> Erased:
    """Raises NoSuchPerson and SessionActive."""
    return erased_of(erasure.erase_person(stores_of(services), person_id))
