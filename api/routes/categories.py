"""Categories: a photo carries that of the latest session that named one."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Response
from sqlalchemy.dialects.postgresql import insert

from api.paging import Limit, PageToken, page, read_text
from api.problems import ANY_ROUTE
from api.schemas import In, Name, Out, Page
from api.services import Given
from trainyard.tables import categories

router = APIRouter(prefix="/api/v1/categories", tags=["categories"], responses=ANY_ROUTE)


class CategoryRequest(In):
    name: Name


class Category(Out):
    id: int
    name: str
    created_at: datetime


@router.get("")
def list_categories(services: Given, limit: Limit = 100, token: PageToken = None) -> Page[Category]:
    """By name."""
    after = read_text(token)
    c = categories.c
    query = sa.select(categories).order_by(c.name.collate("C")).limit(limit + 1)
    if after is not None:
        query = query.where(c.name.collate("C") > after)
    rows = services.database.transact(lambda connection: connection.execute(query).all())
    return Page[Category](**page([_category(row) for row in rows], limit, lambda last: last.name))


@router.post("", status_code=201, responses={200: {"model": Category, "description": "It was there already."}})
def create_category(wanted: CategoryRequest, services: Given, response: Response) -> Category:
    def work(connection: sa.Connection) -> tuple[Any, bool]:
        adding = insert(categories).values(name=wanted.name).on_conflict_do_nothing().returning(categories)
        made = connection.execute(adding).one_or_none()
        known = sa.select(categories).where(categories.c.name == wanted.name)
        return made or connection.execute(known).one(), made is not None

    row, is_new = services.database.transact(work)
    response.status_code = 201 if is_new else 200
    return _category(row)


def _category(row: sa.Row[Any]) -> Category:
    return Category(**row._mapping)
