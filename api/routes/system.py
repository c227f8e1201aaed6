"""What the page asks first: what this server is, what it may read, and what the caller may do."""

from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from api.problems import ANY_ROUTE
from api.schemas import Out
from api.services import Given
from api.tokens import Role
from trainyard.settings import FaceEngineChoice

router = APIRouter(prefix="/api/v1", tags=["system"], responses=ANY_ROUTE)


class System(Out):
    """`role` is the caller's; without tokens everybody is an operator."""

    version: str
    tokens_needed: bool
    role: Role
    image_roots: list[str]
    face_engine: FaceEngineChoice
    untrained: bool
    text_search: Annotated[bool, Field(description="CLIP's text tower is here; a search may say no all the same.")]


@router.get("/system")
def get_system(request: Request, services: Given) -> System:
    settings = services.settings
    return System(
        version=version("trainyard"),
        tokens_needed=services.tokens.needed,
        role=request.state.role,
        image_roots=settings.allowed_roots,
        face_engine=settings.face_engine,
        untrained=settings.untrained,
        text_search=services.text.is_there,
    )
