"""Live events: the JSON of progress-unified, sent whenever it has changed."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from api.problems import ANY_ROUTE, documented
from api.routes.progress import unified
from api.routes.sessions import SessionId
from api.services import services_of
from api.stream import EVENT, Reading, Watched
from trainyard.lifecycle import ENDED, retry_due
from trainyard.progress import read_progress
from trainyard.tables import training_sessions

router = APIRouter(prefix="/api/v1/training/sessions/{session_id}", tags=["progress"], responses=ANY_ROUTE)

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": (
            f"Server-sent events named `{EVENT}`. The data of each is exactly the JSON that progress-unified answers: "
            "the first at once, then one a second at most, when it has changed. The stream ends when the session has, "
            "and when its token or sign-in is good no more."
        ),
        "content": {
            MEDIA_TYPE: {
                "schema": {"type": "string"},
                "example": f'event: {EVENT}\ndata: {{"sessionId":7,"overallStatus":"running"}}\nid: 1790000000000\n\n',
            }
        },
    }
}


async def watch(request: Request, session_id: SessionId) -> AsyncIterator[Watched]:
    """The session, watched until the answer has been sent or the client is gone. Raises NoSuchSession."""
    with services_of(request).stream.watching(session_id, partial(read, session_id=session_id)) as watched:
        await watched.begun()
        yield watched


@router.get("/events", response_class=StreamingResponse, responses={**STREAM, **documented(404)})
async def get_events(request: Request, watched: Annotated[Watched, Depends(watch)]) -> StreamingResponse:
    """Progress of the whole session, live."""
    frames = while_allowed(watched.frames(), request.state.still_allowed)
    return StreamingResponse(frames, headers=HEADERS, media_type=MEDIA_TYPE)


async def while_allowed(frames: AsyncGenerator[bytes], still_allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The frames until a token that was removed, or a sign-in that has ended, would no longer open the stream."""
    async with aclosing(frames):
        async for frame in frames:
            if not still_allowed():
                return
            yield frame


def read(connection: sa.Connection, session_id: int) -> Reading:
    """Raises NoSuchSession."""
    progress = read_progress(connection, session_id)
    over = not progress.active and _is_over(connection, session_id)
    return Reading(unified(progress).model_dump_json(by_alias=True), over)


def _is_over(connection: sa.Connection, session_id: int) -> bool:
    """Whether the session has ended and no retry is due: in one statement, as the retry may begin at any moment."""
    s = training_sessions.c
    over = sa.select(sa.and_(s.status.in_(ENDED), sa.not_(retry_due()))).where(s.id == session_id)
    return bool(connection.execute(over).scalar_one())
