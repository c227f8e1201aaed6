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
    changes,
    clusters,
    directories,
    docs,
    erasure,
    estimate,
    events,
    face_changes,
    face_sessions,
    faces,
    health,
    images,
    metrics,
    person_photos,
    persons,
    progress,
    search,
    sessions,
    sign_in,
    suggestions,
    system,
)
from api.services import Services
from api.storage import STORAGE_THREADS

# Routes are plain functions in threads, each with a connection of the pool while it runs: a pool of as many as there
# are threads, those for the photos' storage and those of /readyz (two) and /metrics among them. What follows a change
# has one of its own.
THREADS = 16
FOLLOW_UP_CONNECTIONS = 1
CONNECTIONS = THREADS + STORAGE_THREADS + 3 + FOLLOW_UP_CONNECTIONS

ROUTES = (
    progress, events, estimate, sessions, face_sessions, categories, directories, images,
    search, persons, person_photos, faces, face_changes, clusters, suggestions, changes, erasure,
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
    app.state.services.follow_up.start()
    yield
    app.state.services.follow_up.close()
    app.state.services.stream.close()
    app.state.services.thumbnails.close()
    app.state.services.text.close()
