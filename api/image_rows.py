"""Images as the API shows them: their rows, of photos inside the folders that may be read."""

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Path
from pydantic import Field

from api.problems import Problem
from api.schemas import GREATEST_ASSET_ID, Failure, Out, failure
from trainyard.folders import is_allowed

VERSION_CHARACTERS = 16  # of the content's SHA-256 in hex: enough for an address to change with the content

ImageId = Annotated[int, Path(ge=1, le=GREATEST_ASSET_ID)]


class Image(Out):
    id: int
    path: Annotated[str, Field(description="For people: bytes that are not UTF-8 are shown as \\xNN.")]
    width: Annotated[int | None, Field(description="Of the upright photo, px.")]
    height: int | None
    taken_at: Annotated[datetime | None, Field(description="What the camera's clock showed, written as UTC.")]
    category: str | None
    content_sha256: Annotated[str | None, Field(description="Null until it has been read once.")]
    missing_since: datetime | None
    broken: Annotated[Failure | None, Field(description="Why no picture can be had of the file as it is.")]
    faces: Annotated[int | None, Field(description="Found by the last search; null until one was made.")]
    thumbnail_url: str


# When a photo was taken or, where that is not known, first found; as in the index ix_image_assets_shown.
SHOWN_AT = "coalesce(a.taken_at, a.created_at)"

# As columns of an asset `a` and its category `c`.
COLUMNS = """
    a.id, a.path, a.path_text, a.size_bytes, a.mtime_ns, a.content_sha256, a.width, a.height, a.taken_at,
    a.broken_code, a.broken_message, a.missing_since, c.name AS category,
    (SELECT s.faces FROM face_scans s WHERE s.asset_id = a.id AND s.content_sha256 = a.content_sha256
     ORDER BY s.session_id DESC, s.model_id DESC LIMIT 1) AS faces
"""

# Whether an asset `a` lies inside the folders of `folder_prefixes`, for lists that are cut and counted in the database.
INSIDE = """(
    cardinality(CAST(:folders AS bytea[])) = 0 OR EXISTS (
        SELECT FROM unnest(CAST(:folders AS bytea[])) r (prefix) WHERE substr(a.path, 1, length(r.prefix)) = r.prefix
    )
)"""

READ = sa.text(f"""
    SELECT {COLUMNS} FROM image_assets a LEFT JOIN categories c ON c.id = a.category_id WHERE a.id = :id
""")


def read_row(connection: sa.Connection, image_id: int, roots: Sequence[str]) -> sa.Row[Any]:
    """The columns of an image. Raises Problem where there is none, or none inside the roots."""
    row = connection.execute(READ, {"id": image_id}).one_or_none()
    if row is None or not is_shown(row, roots):
        raise Problem(404, "NoSuchImage", f"There is no image {image_id}.")
    return row


def is_shown(row: sa.Row[Any], roots: Sequence[str]) -> bool:
    return is_allowed(os.fsdecode(row.path), roots)


def folder_prefixes(roots: Sequence[str]) -> list[bytes]:
    """What paths inside the roots begin with, for INSIDE; none, as where no root is named, stands for all paths."""
    return [os.fsencode(root).rstrip(b"/") + b"/" for root in roots]


def image_of(row: sa.Row[Any]) -> Image:
    address = f"/api/v1/images/{row.id}/thumbnail"
    version = version_of(row.content_sha256)
    return Image(
        id=row.id,
        path=row.path_text,
        width=row.width,
        height=row.height,
        taken_at=row.taken_at,
        category=row.category,
        content_sha256=row.content_sha256.hex() if row.content_sha256 else None,
        missing_since=row.missing_since,
        broken=failure(row.broken_code, row.broken_message),
        faces=row.faces,
        thumbnail_url=f"{address}?v={version}" if version else address,
    )


def version_of(content_sha256: bytes | None) -> str | None:
    return content_sha256.hex()[:VERSION_CHARACTERS] if content_sha256 else None
