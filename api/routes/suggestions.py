"""Suggestions: faces that may be somebody's, for people to say yes or no to."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import Field

from api.changing import MOST_FACES, Change, make_change
from api.face_rows import COLUMNS, FACES, SHOWN, UNKNOWN, Face, PersonName, check_shown, face_of, sight
from api.paging import Limit, PageToken, face_id, number, page, read_key, whole
from api.problems import ANY_ROUTE, documented
from api.schemas import GREATEST_ID, In, Out, Page
from api.services import Given, Services
from trainyard.people import changes, suggestions
from trainyard.people.suggestions import Pairs

router = APIRouter(prefix="/api/v1/suggestions", tags=["suggestions"], responses=ANY_ROUTE)

READ_PAGE = sa.text(f"""
    SELECT {COLUMNS}, g.person_id AS suggested_id, whose.name AS suggested_name,
           g.similarity AS suggested_similarity, g.created_at AS suggested_at
    FROM face_suggestions g JOIN persons whose ON whose.id = g.person_id AND whose.deleted_at IS NULL
    JOIN {FACES} ON f.id = g.face_id
    WHERE g.status = 'pending' AND {UNKNOWN} AND {SHOWN}
        AND (CAST(:person_id AS integer) IS NULL OR g.person_id = CAST(:person_id AS integer))
        AND (CAST(:after_person AS bigint) IS NULL OR (g.person_id, -g.similarity, g.face_id)
            > (CAST(:after_person AS bigint), -CAST(:similarity AS float8), CAST(:face_id AS uuid)))
    ORDER BY g.person_id, g.similarity DESC, g.face_id LIMIT :limit
""")


class SuggestionKey(In):
    face_id: UUID
    person_id: Annotated[int, Field(ge=1, le=GREATEST_ID)]


class SuggestionsRequest(In):
    suggestions: Annotated[tuple[SuggestionKey, ...], Field(min_length=1, max_length=MOST_FACES)]


class Suggestion(Out):
    face: Face
    person: PersonName
    similarity: Annotated[float, Field(description="Cosine to the person's nearest prototype.")]
    created_at: datetime


@router.get("")
def list_suggestions(
    services: Given,
    person_id: Annotated[int | None, Query(alias="personId", ge=1, le=GREATEST_ID)] = None,
    limit: Limit = 100,
    token: PageToken = None,
) -> Page[Suggestion]:
    """By person, the most similar faces first."""
    after_person, similarity, after_face = read_key(token, whole, number, face_id)
    after = {"after_person": after_person, "similarity": similarity, "face_id": after_face}

    def work(connection: sa.Connection) -> list[Any]:
        asked = {"person_id": person_id, **after, "limit": limit + 1}
        return list(connection.execute(READ_PAGE, {**asked, **sight(connection, services)}))

    found = [_suggestion(row) for row in services.database.transact(work)]
    return Page[Suggestion](**page(found, limit, lambda last: [last.person.id, last.similarity, str(last.face.id)]))


def _suggestion(row: sa.Row[Any]) -> Suggestion:
    return Suggestion(
        face=face_of(row),
        person=PersonName(id=row.suggested_id, name=row.suggested_name),
        similarity=row.suggested_similarity,
        created_at=row.suggested_at,
    )


@router.post("/accept", responses=documented(404))
def accept_suggestions(wanted: SuggestionsRequest, services: Given) -> Change:
    """Yes: the faces are these persons'."""
    return _answer(services, wanted, suggestions.accept)


@router.post("/reject", responses=documented(404))
def reject_suggestions(wanted: SuggestionsRequest, services: Given) -> Change:
    """No, for ever: neither suggested nor assigned by the engine again."""
    return _answer(services, wanted, suggestions.reject)


def _answer(
    services: Services, wanted: SuggestionsRequest, answer: Callable[[sa.Connection, Pairs], changes.Change]
) -> Change:
    pairs = [(one.face_id, one.person_id) for one in wanted.suggestions]

    def work(connection: sa.Connection) -> changes.Change:
        check_shown(connection, services, {face for face, _ in pairs})
        return answer(connection, pairs)

    return make_change(services, work)
