"""Persons: whom there is, by how many faces each has; made, renamed, put together and deleted."""

from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from api.changing import Change, make_change
from api.erased import Erased, erase_person
from api.face_rows import check_shown
from api.paging import Limit, PageToken, page, read_key, whole
from api.person_rows import Person, read_person, read_persons
from api.problems import ANY_ROUTE, documented
from api.schemas import GREATEST_ID, In, Name, Page, Text
from api.services import Given
from trainyard.people import persons

router = APIRouter(prefix="/api/v1/persons", tags=["persons"], responses=ANY_ROUTE)

MOST_MERGED = 1_000

PersonId = Annotated[int, Path(ge=1, le=GREATEST_ID)]


class PersonRequest(In):
    name: Name


class PersonChange(In):
    name: Name | None = None
    cover_face_id: Annotated[UUID | None, Field(description="A face of the person's, to stand for it.")] = None


class MergeRequest(In):
    person_ids: Annotated[
        tuple[Annotated[int, Field(ge=1, le=GREATEST_ID)], ...], Field(min_length=1, max_length=MOST_MERGED)
    ]


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


@router.post("", status_code=201, responses=documented(409))
def create_person(wanted: PersonRequest, services: Given, response: Response) -> Person:
    """A person without faces yet."""

    def work(connection: sa.Connection) -> Person:
        return read_person(connection, services, persons.create(connection, wanted.name))

    made = services.database.transact(work)
    response.headers["Location"] = f"/api/v1/persons/{made.id}"
    return made


@router.patch("/{person_id}", responses=documented(404, 409))
def change_person(person_id: PersonId, wanted: PersonChange, services: Given) -> Person:
    """Another name, another face to stand for it, or both."""

    def work(connection: sa.Connection) -> Person:
        if wanted.name is not None:
            persons.rename(connection, person_id, wanted.name)
        if wanted.cover_face_id is not None:
            check_shown(connection, services, [wanted.cover_face_id])
            persons.set_cover(connection, person_id, wanted.cover_face_id)
        return read_person(connection, services, person_id)

    return services.database.transact(work)


@router.delete("/{person_id}", responses=documented(404, 409))
def delete_person(
    person_id: PersonId,
    services: Given,
    erase: Annotated[bool, Query(description="Its faces are removed for good, and what is known of them.")] = False,
) -> Change | Erased:
    """The person is no more, and its faces are unknown again."""
    if erase:
        return erase_person(services, person_id)
    return make_change(services, lambda connection: persons.delete(connection, person_id))


@router.post("/{person_id}/merge", responses=documented(404))
def merge_persons(person_id: PersonId, wanted: MergeRequest, services: Given) -> Change:
    """The others are this person: their faces, suggestions and refusals become this one's."""
    return make_change(services, lambda connection: persons.merge(connection, person_id, wanted.person_ids))
