"""What people say of single faces: whose they are, that they are not, that they are not worth looking at."""

from collections.abc import Callable
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter

from api.changing import Change, FaceIds, Whose, make_change
from api.face_rows import check_shown
from api.problems import ANY_ROUTE, documented
from api.schemas import In
from api.services import Given, Services
from trainyard.people import changes, faces

router = APIRouter(prefix="/api/v1/faces", tags=["faces"], responses={**ANY_ROUTE, **documented(404)})


class FacesRequest(In):
    face_ids: FaceIds


class AssignRequest(Whose):
    face_ids: FaceIds


class IgnoreRequest(In):
    face_ids: FaceIds
    ignored: bool = True


@router.post("/assign")
def assign_faces(wanted: AssignRequest, services: Given) -> Change:
    """They are this person's, whatever was thought before."""
    return _change(services, wanted.face_ids, lambda c, ids: faces.assign(c, ids, wanted.id(c)))


@router.post("/unassign")
def unassign_faces(wanted: FacesRequest, services: Given) -> Change:
    """They are unknown again, and never given to the persons whose they were by the engine."""
    return _change(services, wanted.face_ids, faces.unassign)


@router.post("/ignore")
def ignore_faces(wanted: IgnoreRequest, services: Given) -> Change:
    """They are neither grouped, assigned nor suggested; with `ignored: false` they are again."""
    return _change(services, wanted.face_ids, lambda c, ids: faces.ignore(c, ids, wanted.ignored))


def _change(
    services: Services, face_ids: FaceIds, work: Callable[[sa.Connection, list[UUID]], changes.Change]
) -> Change:
    def checked(connection: sa.Connection) -> changes.Change:
        ids = sorted(set(face_ids))
        check_shown(connection, services, ids)
        return work(connection, ids)

    return make_change(services, checked)
