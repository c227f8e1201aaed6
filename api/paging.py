"""Lists a page at a time: `?limit=&pageToken=` in, `{items, nextPageToken}` out."""

import base64
import binascii
import json
from typing import Annotated, Any

from fastapi import Query

from api.problems import Problem

MOST_ITEMS = 1_000

Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Most items of a page.")]
PageToken = Annotated[
    str | None, Query(alias="pageToken", max_length=10_000, description="nextPageToken of the page before.")
]


def page_token(last: Any) -> str:
    """What the next page begins after, as something clients pass back unread."""
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode().rstrip("=")


def read_token(token: str | None, kind: type | tuple[type, ...]) -> Any:
    """What the token says, of the expected kind; None without one. Raises Problem."""
    if token is None:
        return None
    try:
        last = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        last = None
    if not isinstance(last, kind) or isinstance(last, bool):
        raise Problem(422, "BadPageToken", "This is no nextPageToken of this list.", "pageToken")
    return last


def page(items: list[Any], limit: int, key: Any) -> dict[str, Any]:
    """A page of the first `limit` items; one more than that says that there is another, after `key(last)`."""
    shown = items[:limit]
    return {"items": shown, "next_page_token": page_token(key(shown[-1])) if len(items) > limit else None}
