"""Thumbnails over HTTP: what clients may keep for how long, and what is said where no picture can be had."""

from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Header, Query
from starlette.responses import Response

from api.problems import RETRY_SECONDS, Problem
from api.services import Services
from api.thumbnails import GONE, Original, Thumbnail, View
from trainyard.photos import PhotoError

# An address with its version never shows another content; one without shows that of the day.
FOR_EVER = "private, max-age=31536000, immutable"
FOR_A_WHILE = "private, max-age=300, immutable"
AS_IT_IS = {"X-Content-Type-Options": "nosniff"}
CHANGED = {**AS_IT_IS, "Cache-Control": "private, no-cache"}  # since its content was last read

MEDIA_TYPE = "image/jpeg"
NOT_MODIFIED = {"description": "The client has it."}

Version = Annotated[str | None, Query(max_length=64, description="As in thumbnailUrl; lets clients keep it.")]
IfNoneMatch = Annotated[str | None, Header()]


@dataclass(frozen=True)
class Wanted:
    """A view of the photo in `row` (columns of an asset), and the version that the client's address names."""

    row: sa.Row[Any]
    view: View
    is_version: bool

    @property
    def headers(self) -> dict[str, str]:
        """Of a thumbnail of the content in the row."""
        if self.row.content_sha256 is None:
            return CHANGED
        tag = f'"{self.row.content_sha256.hex()}-{self.view.name}"'
        return {**AS_IT_IS, "Cache-Control": FOR_EVER if self.is_version else FOR_A_WHILE, "ETag": tag}


async def answer(services: Services, wanted: Wanted, if_none_match: str | None) -> Response:
    """Raises Problem where no picture can be had."""
    check_picture(wanted.row)
    headers = wanted.headers
    if _client_has(headers.get("ETag"), if_none_match):
        return Response(status_code=304, headers=headers)
    thumbnail = await _made(services, wanted)
    if not thumbnail.of_content and wanted.view.face is not None:
        raise Problem(409, "ImageChanged", "The file has changed since it was searched: begin a session of its folder.")
    return Response(thumbnail.jpeg, headers=headers if thumbnail.of_content else CHANGED, media_type=MEDIA_TYPE)


def check_picture(row: sa.Row[Any]) -> None:
    """Raises Problem for a photo of which no picture can be had."""
    if row.missing_since is not None:
        raise Problem(404, "ImageMissing", GONE)
    if row.broken_code is not None:
        raise Problem(422, row.broken_code, row.broken_message)


def _client_has(tag: str | None, if_none_match: str | None) -> bool:
    if tag is None or if_none_match is None:
        return False
    return any(named.strip().removeprefix("W/") in (tag, "*") for named in if_none_match.split(","))


async def _made(services: Services, wanted: Wanted) -> Thumbnail:
    """Raises Problem."""
    row = wanted.row
    original = Original(row.path, row.content_sha256, (row.size_bytes, row.mtime_ns))
    try:
        return await services.thumbnails.get(original, wanted.view)
    except PhotoError as error:
        if error.code == "not_found":
            raise Problem(404, "ImageMissing", error.message) from error
        raise Problem(422, error.code, error.message) from error
    except OSError as error:
        detail = f"The folder of the photo cannot be read just now ({error.strerror}). Try again in a moment."
        raise Problem(503, "StorageUnavailable", detail, headers={"Retry-After": RETRY_SECONDS}) from error
