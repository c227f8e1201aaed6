"""Search: by words, likeness, persons, categories and dates, all in one question."""

from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from api.image_rows import Image, image_of
from api.paging import MOST_ITEMS, moment, page_token, read_key, whole
from api.problems import ANY_ROUTE, Problem, documented
from api.schemas import GREATEST_ASSET_ID, GREATEST_ID, In, Out
from api.search_filters import Filters, condition, digest
from api.search_newest import After, count, newest
from api.search_ranked import MOST_RANKED, Ranking, ranked
from api.search_vectors import of_photo, of_text
from api.services import Given, Services

router = APIRouter(prefix="/api/v1", tags=["search"], responses=ANY_ROUTE)

MOST_CHARACTERS = 1_000
LAST_OF_DAY = timedelta(days=1) - timedelta(microseconds=1)


def _first_moment(value: Any) -> Any:
    return _of_day(value, timedelta())


def _last_moment(value: Any) -> Any:
    return _of_day(value, LAST_OF_DAY)


def _of_day(value: Any, after: timedelta) -> Any:
    """A day alone stands for its first or its last moment; a bare number would be seconds since 1970."""
    if _is_number(value):
        raise ValueError("name a day as 2024-05-31, or a moment as 2024-05-31T10:00:00")
    try:
        day = datetime.strptime(value, "%Y-%m-%d")
    except (TypeError, ValueError):
        return value
    return datetime.combine(day, time.min, UTC) + after


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _with_offset(value: datetime) -> datetime:
    return value if value.utcoffset() is not None else value.replace(tzinfo=UTC)


Id = Annotated[int, Field(ge=1, le=GREATEST_ID)]
From = Annotated[datetime, BeforeValidator(_first_moment), AfterValidator(_with_offset)]
To = Annotated[datetime, BeforeValidator(_last_moment), AfterValidator(_with_offset)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_CHARACTERS)]


class Question(In):
    """Everything that is named must be met."""

    text: Annotated[
        Words | None, Field(description="What is to be seen, in English; what exceeds some 75 tokens is left out.")
    ] = None
    similar_to: Annotated[int | None, Field(ge=1, le=GREATEST_ASSET_ID, description="An image's id.")] = None
    person_id: Annotated[tuple[Id, ...], Field(max_length=20, description="All of them in the same photo.")] = ()
    category_id: Annotated[tuple[Id, ...], Field(max_length=100, description="Any of them.")] = ()
    taken_from: Annotated[
        From | None, Field(description="A moment, or a day for its first one, by the camera's clock.")
    ] = None
    taken_to: Annotated[To | None, Field(description="A moment, or a day for its last one: it is included.")] = None
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS, description="Most items of a page.")] = 50
    page_token: Annotated[
        str | None, Field(max_length=10_000, description="nextPageToken of the page before, of the same question.")
    ] = None
    skip: Annotated[
        int, Field(ge=0, le=GREATEST_ID, description="Photos to leave out, without text, similarTo and pageToken.")
    ] = 0

    @property
    def filters(self) -> Filters:
        return Filters(
            persons=tuple(sorted(set(self.person_id))),
            categories=tuple(sorted(set(self.category_id))),
            taken_from=self.taken_from,
            taken_to=self.taken_to,
        )

    @property
    def is_ranked(self) -> bool:
        return self.text is not None or self.similar_to is not None

    @property
    def digest(self) -> str:
        return digest(self.text, self.similar_to, filters=self.filters)


class FoundImage(Out):
    image: Image
    similarity: Annotated[
        float | None, Field(description="Cosine to what was asked for; only in the order of likeness.")
    ]


class FoundPage(Out):
    items: list[FoundImage]
    next_page_token: str | None
    total: Annotated[int | None, Field(description="Of all pages; null in the order of likeness.")]


@router.get(
    "/search",
    responses=documented(404, 409),
    description=(
        "Photos that meet every condition. With `text` or `similarTo` the most alike come first (with both, both count "
        f"alike), no more than the nearest {MOST_RANKED:,} are looked at, and a photo that came meanwhile may shift "
        "pages. Without them the newest come first: by when they were taken, else by when they were found."
    ),
)
def search(services: Given, question: Annotated[Question, Query()]) -> FoundPage:
    if question.skip and (question.is_ranked or question.page_token is not None):
        raise Problem(422, "InvalidRequest", "skip goes without text, similarTo and pageToken.", "skip")
    return _ranked(services, question) if question.is_ranked else _newest(services, question)


def _newest(services: Services, question: Question) -> FoundPage:
    asked, *last = read_key(question.page_token, _same(question), moment, whole)
    after = After(*last) if asked else None

    def work(connection: sa.Connection) -> tuple[Any, int]:
        shown = condition(connection, question.filters, services.settings.allowed_roots)
        rows = newest(connection, shown, question.limit + 1, after, question.skip)
        return rows, count(connection, shown)

    rows, total = services.database.transact(work)
    page = rows[: question.limit]
    more = len(rows) > question.limit
    token = page_token([question.digest, page[-1].shown_at.isoformat(), page[-1].id]) if more else None
    items = [FoundImage(image=image_of(row), similarity=None) for row in page]
    return FoundPage(items=items, next_page_token=token, total=total)


def _ranked(services: Services, question: Question) -> FoundPage:
    _, offset = read_key(question.page_token, _same(question), whole)
    ranking = _ranking(services, question)
    if ranking is None:
        return FoundPage(items=[], next_page_token=None, total=None)
    neighbours, following = ranked(services, ranking, question.filters, question.limit, offset or 0)
    token = page_token([question.digest, following]) if following is not None else None
    items = [FoundImage(image=image_of(row), similarity=similarity) for row, similarity in neighbours]
    return FoundPage(items=items, next_page_token=token, total=None)


def _ranking(services: Services, question: Question) -> Ranking | None:
    if question.text is not None:
        return of_text(services, question.text, question.similar_to)
    assert question.similar_to is not None
    return of_photo(services, question.similar_to)


def _same(question: Question) -> Any:
    """Reads the part of a token that says which question it is of; raises ValueError for another's."""

    def read(value: Any) -> str:
        if value != question.digest:
            raise ValueError
        return question.digest

    return read
