"""The page: plain files, served with a policy that lets them do nothing but talk to this server."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from api.page.files import StaticFile

FOLDER = Path(__file__).parent
KINDS = {".css", ".js", ".svg"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def mount_page(app: FastAPI) -> None:
    """Serve the page at `/`, its files under `/page/`."""
    app.add_route("/", _serving(FOLDER / "index.html"), include_in_schema=False)
    for path in FOLDER.iterdir():
        if path.suffix in KINDS:
            app.add_route(f"/page/{path.name}", _serving(path), include_in_schema=False)


def _serving(path: Path) -> Callable[[Request], Awaitable[Response]]:
    file = StaticFile.read(path)

    async def serve(request: Request) -> Response:
        return file.answer(request, POLICY)

    return serve
