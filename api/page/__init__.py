"""The page: plain files, served with a policy that lets them do nothing but talk to this server."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from api.page.files import StaticFile

FOLDER = Path(__file__).parent
SWAGGER = FOLDER / "swagger"
KINDS = {".css", ".js", ".svg"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def mount_page(app: FastAPI) -> None:
    """Serve the page at `/`, its files under `/page/`."""
    app.add_route("/", _serving(FOLDER / "index.html"), include_in_schema=False)
    for path in page_files():
        app.add_route(f"/page/{path.relative_to(FOLDER).as_posix()}", _serving(path), include_in_schema=False)


def page_files() -> list[Path]:
    """Those of the page itself; the API's documentation, which lies among them, has a policy of its own."""
    files = (path for path in FOLDER.rglob("*") if path.suffix in KINDS)
    return sorted(path for path in files if SWAGGER not in path.parents)


def _serving(path: Path) -> Callable[[Request], Awaitable[Response]]:
    file = StaticFile.read(path)

    async def serve(request: Request) -> Response:
        return file.answer(request, POLICY)

    return serve
