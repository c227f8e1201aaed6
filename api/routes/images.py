"""Images: what is known of one, its thumbnail, and those that look like it."""

from enum import IntEnum
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from api.image_rows import Image, ImageId, image_of, read_row, version_of
from api.problems import ANY_ROUTE, documented
from api.schemas import Out, Page
from api.search_filters import Filters
from api.search_ranked import ranked
from api.search_vectors import of_photo
from api.services import Given, Services
from api.thumbnail_answers import NOT_MODIFIED, IfNoneMatch, Version, Wanted, answer
from api.thumbnails import View

router = APIRouter(prefix="/api/v1/images", tags=["images"], responses=ANY_ROUTE)

JPEG = {"content": {"image/jpeg": {}}, "description": "Upright, fitted into a square of that side, never enlarged."}


class Side(IntEnum):
    """Of the square a thumbnail fits into, px."""

    SMALL = 160
    MEDIUM = 320
    LARGE = 640
    HUGE = 1280


class SimilarImage(Out):
    image: Image
    similarity: Annotated[float, Field(description="Cosine of the two embeddings: 1 is the same picture.")]


@router.get("/{image_id}", responses=documented(404))
def get_image(image_id: ImageId, services: Given) -> Image:
    return image_of(_row(services, image_id))


@router.get(
    "/{image_id}/thumbnail",
    response_class=Response,
    responses={200: JPEG, 304: NOT_MODIFIED, **documented(404)},
)
async def get_thumbnail(
    image_id: ImageId,
    services: Given,
    side: Side = Side.MEDIUM,
    v: Version = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A JPEG. Made when first asked for, and then kept."""
    row = await run_in_threadpool(_row, services, image_id)
    wanted = Wanted(row, View(side), is_version=v is not None and v == version_of(row.content_sha256))
    return await answer(services, wanted, if_none_match)


@router.get("/{image_id}/similar", responses=documented(404, 409))
def list_similar(
    image_id: ImageId, services: Given, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Page[SimilarImage]:
    """The photos that look most like it, best first; all of them are on this page."""
    neighbours, _ = ranked(services, of_photo(services, image_id), Filters(), limit)
    items = [SimilarImage(image=image_of(row), similarity=similarity) for row, similarity in neighbours]
    return Page[SimilarImage](items=items, next_page_token=None)


def _row(services: Services, image_id: int) -> sa.Row[Any]:
    roots = services.settings.allowed_roots
    return services.database.transact(lambda connection: read_row(connection, image_id, roots))
