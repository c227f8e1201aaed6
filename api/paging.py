"""Lists a page at a time: `?limit=&pageToken=` in, `{items, nextPageToken}` out."""

import base64
import binascii
import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query

from api.problems import Problem
from api.schemas import GREATEST_ASSET_ID, GREATEST_ID, is_storable

MOST_ITEMS = 1_000

Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Most items of a page.")]
PageToken = Annotated[
    str | None, Query(alias="pageToken", max_length=10_000, description="nextPageToken of the page before.")
]


def page_token(last: Any) -> str:
    """What the next page begins after, as something clients pass back unread."""
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode().rstrip("=")


def read_id(token: str | None, greatest: int = GREATEST_ID) -> int | None:
    """The id that the page begins after; None without a token. Raises Problem."""
    last = _read(token)
    if last is not None and (not isinstance(last, int) or isinstance(last, bool) or not 0 <= last <= greatest):
        raise _no_token()
    return last


def read_text(token: str | None) -> str | None:
    """The text that the page begins after; None without a token. Raises Problem."""
    last = _read(token)
    if last is not None and (not isinstance(last, str) or not is_storable(last)):
        raise _no_token()
    return last


def read_key(token: str | None, *parts: Callable[[Any], Any]) -> tuple[Any, ...]:
    """What the page begins after where that has several parts, each as its function below reads it; all None without
    a token. Raises Problem.
    """
    last = _read(token)
    if last is None:
        return (None,) * len(parts)
    try:
        if not isinstance(last, list):
            raise TypeError
        return tuple(part(value) for part, value in zip(parts, last, strict=True))
    except (TypeError, ValueError, OverflowError):
        raise _no_token() from None


def whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= GREATEST_ASSET_ID:
        raise ValueError
    return value


def number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError
    return float(value)


def moment(value: Any) -> datetime:
    read = datetime.fromisoformat(value)
    if read.utcoffset() is None:
        raise ValueError
    return read


def face_id(value: Any) -> UUID:
    if not isinstance(value, str):
        raise TypeError
    return UUID(value)


def _read(token: str | None) -> Any:
    if token is None:
        return None
    try:
        last = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        last = None
    if last is None:
        raise _no_token()
    return last


def _no_token() -> Problem:
    return Problem(422, "BadPageToken", "This is no nextPageToken of this list.", "pageToken")


def page(items: list[Any], limit: int, key: Any) -> dict[str, Any]:
    """A page of the first `limit` items; one more than that says that there is another, after `key(last)`."""
    shown = items[:limit]
    return {"items": shown, "next_page_token": page_token(key(shown[-1])) if len(items) > limit else None}
