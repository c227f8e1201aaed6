"""What points are asked for by: conditions on the fields of their payloads, as Qdrant's own filters.

A field's condition is a plain sequence (any of these values), AllOf (each of these, in a field that is a list) or
Between (a time). Whoever asks looks at the rows too: a payload follows its row, and may be behind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, cast

from qdrant_client import models

# Fields that points are filtered by, and the index that a server finds them by.
INDEXES = {
    "asset_id": models.PayloadSchemaType.INTEGER,
    "category_id": models.PayloadSchemaType.INTEGER,
    "person_ids": models.PayloadSchemaType.INTEGER,
    "taken_at": models.PayloadSchemaType.DATETIME,
}


@dataclass(frozen=True)
class AllOf:
    values: Sequence[str | int]


@dataclass(frozen=True)
class Between:
    """Both ends included, one of them may be open (None); times carry their offset from UTC."""

    first: datetime | None
    last: datetime | None


Condition: TypeAlias = Sequence[str | int] | AllOf | Between
Where: TypeAlias = Mapping[str, Condition]  # by field; all of them must be met


def qdrant_filter(where: Where) -> models.Filter | None:
    """None where nothing is asked for."""
    conditions = [condition for field, wanted in where.items() for condition in _conditions(field, wanted)]
    return models.Filter(must=conditions) if conditions else None


def _conditions(field: str, wanted: Condition) -> list[models.Condition]:
    if isinstance(wanted, AllOf):
        return [_match(field, models.MatchValue(value=value)) for value in wanted.values]
    if isinstance(wanted, Between):
        return [models.FieldCondition(key=field, range=models.DatetimeRange(gte=wanted.first, lte=wanted.last))]
    return [_match(field, models.MatchAny(any=cast("list[str] | list[int]", [*wanted])))]


def _match(field: str, match: models.Match) -> models.Condition:
    return models.FieldCondition(key=field, match=match)
