"""Persons: whom there is, by how many faces each has."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.paging import Limit, PageToken, page, read_key, whole
from api.person_rows import Person, read_person, read_persons
from api.problems import ANY_ROUTE, documented
from api.schemas import GREATEST_ID, Page, Text
from api.services import Given

router = APIRouter(prefix="/api/v1/persons", tags=["persons"], responses=ANY_ROUTE)

PersonId = Annotated[int, Path(ge=1, le=GREATEST_ID)]


@router.get("")
def list_persons(
    services: Given,
    query: Annotated[Text | None, Query(max_length=200, description="Part of the name; case does not matter.")] = None,
    limit: Limit = 100,
    token: PageToken = None,
) -> Page[Person]:
    """Those with the most faces first."""
    after = read_key(token, whole, whole)
    found = services.database.transact(lambda connection: read_persons(connection, services, query, after, limit + 1))
    return Page[Person](**page(found, limit, lambda last: [last.faces, last.id]))


@router.get("/{person_id}", responses=documented(404))
def get_person(person_id: PersonId, services: Given) -> Person:
    return services.database.transact(lambda connection: read_person(connection, services, person_id))
