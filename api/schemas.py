"""The base of everything that goes in and out as JSON, and the shapes that several routes share."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

T = TypeVar("T")

GREATEST_ID = 2**31 - 1  # of PostgreSQL's integer
GREATEST_ASSET_ID = 2**63 - 1


class Out(BaseModel):
    """Goes out in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True, frozen=True)


class In(BaseModel):
    """Comes in, in camelCase or snake_case; what is not known is refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Page(Out, Generic[T]):
    items: list[T]
    next_page_token: str | None


class Waiting(Out):
    """Why nothing happens just now."""

    code: str
    message: str
    since: datetime | None


class Failure(Out):
    code: str
    message: str


def is_storable(text: str) -> bool:
    """Whether PostgreSQL takes it: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("may not contain NUL or halves of surrogate pairs")
    return text


def _readable(text: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("may not contain line breaks, tabs or other control characters")
    return text


def failure(code: str | None, message: str | None) -> Failure | None:
    return Failure(code=code, message=message or "") if code else None


def waiting(code: str | None, message: str | None, since: Any) -> Waiting | None:
    return Waiting(code=code, message=message or "", since=since) if code else None


Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_storable),
    AfterValidator(_readable),
]
