"""The API's documentation for people: Swagger UI from an installed package, so that nothing is fetched from afar."""

from functools import cache
from importlib import resources
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.page import FOLDER
from api.page.files import StaticFile
from api.problems import Problem

router = APIRouter(include_in_schema=False)

OURS = {"init.js": FOLDER / "swagger" / "init.js"}
PACKAGED = {"swagger-ui-bundle.js", "swagger-ui.css"}

# Swagger UI sets styles on its elements and draws its icons from data: URLs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/docs")
def get_docs(request: Request) -> Response:
    return _read(FOLDER / "swagger" / "index.html").answer(request, POLICY)


@router.get("/docs/{name}")
def get_docs_file(name: str, request: Request) -> Response:
    if name in OURS:
        return _read(OURS[name]).answer(request, POLICY)
    if name in PACKAGED:
        return _read(Path(str(resources.files("fastapi_swagger") / "resources" / name))).answer(request, POLICY)
    raise Problem(404, "NotFound", f"There is no /docs/{name}.")


@cache
def _read(path: Path) -> StaticFile:
    return StaticFile.read(path)
