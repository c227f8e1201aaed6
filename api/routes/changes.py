"""What people did in the last 24 hours, and taking it back."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.changing import Change, change_of, make_change
from api.paging import Limit, PageToken, page, read_id
from api.problems import ANY_ROUTE, documented
from api.schemas import GREATEST_ID, Page
from api.services import Given
from trainyard.people import changes

router = APIRouter(prefix="/api/v1/changes", tags=["changes"], responses=ANY_ROUTE)

ChangeId = Annotated[int, Path(ge=1, le=GREATEST_ID)]


@router.get("")
def list_changes(services: Given, limit: Limit = 50, token: PageToken = None) -> Page[Change]:
    """The newest first."""
    before = read_id(token)
    found = services.database.transact(lambda connection: changes.list_changes(connection, limit + 1, before))
    return Page[Change](**page([change_of(change) for change in found], limit, lambda last: last.id))


@router.post("/{change_id}/undo", responses=documented(404, 409))
def undo_change(change_id: ChangeId, services: Given) -> Change:
    """Whatever is still as the change left it becomes what it was; what has changed since stays, and is counted."""
    return make_change(services, lambda connection: changes.undo(connection, change_id))
