"""The API as one ASGI app, made from its services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import to_thread
from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

from api import problems
from api.access import Access
from api.description import DescribedAPI
from api.page import mount_page
from api.routes import (
    categories,
    clusters,
    directories,
    docs,
    erasure,
    events,
    face_sessions,
    faces,
    health,
    images,
    metrics,
    person_photos,
    persons,
    progress,
    sessions,
    sign_in,
    suggestions,
    system,
)
from api.services import Services
from api.storage import STORAGE_THREADS

# Routes are plain functions in threads, each with a connection of the pool while it runs: a pool of as many as there
# are threads, those for the photos' storage and those of /readyz (two) and /metrics among them.
THREADS = 16
CONNECTIONS = THREADS + STORAGE_THREADS + 3

ROUTES = (
    progress, events, sessions, face_sessions, categories, directories, images,
    persons, person_photos, faces, clusters, suggestions, erasure,
    system, sign_in, health, metrics, docs,
)  # fmt: skip


def create_app(services: Services) -> FastAPI:
    app = DescribedAPI(
        title="Trainyard",
        version=version("trainyard"),
        description="Photos in; embeddings, faces, groups of the same person and one progress number out.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.services = services
    problems.install(app)
    bearer = Depends(HTTPBearer(auto_error=False, description="Needed where the server has tokens."))
    for module in ROUTES:
        app.include_router(module.router, dependencies=[bearer] if module.router.prefix.startswith("/api/") else [])
    mount_page(app)
    metrics.observe(app)
    app.add_middleware(Access, tokens=services.tokens)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield
    app.state.services.stream.close()
    app.state.services.thumbnails.close()
