"""What a search leaves in: conditions on rows, which are the truth, and the same ones on points, to find candidates."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from trainyard.face_models import active_face_model
from trainyard.folders import path_range
from trainyard.vector_filters import AllOf, Between, Where

# Of an asset `a`: pictures that can be had.
PICTURE = "a.missing_since IS NULL AND a.broken_code IS NULL"
# The persons' faces are gone through once, not those of each photo.
WITH_FACES_OF = """(a.id, a.content_sha256) IN (
    SELECT f.asset_id, f.content_sha256 FROM face_instances f
    WHERE f.person_id = ANY(:persons) AND f.model_id = :face_model_id
    GROUP BY f.asset_id, f.content_sha256 HAVING count(DISTINCT f.person_id) = cardinality(:persons)
)"""


@dataclass(frozen=True)
class Filters:
    """All of them must be met. Photos whose time is unknown lie in no span of time."""

    persons: tuple[int, ...] = ()  # all in the same photo
    categories: tuple[int, ...] = ()  # any of them
    taken_from: datetime | None = None
    taken_to: datetime | None = None

    @property
    def where(self) -> Where:
        """As conditions on the payloads of points."""
        where: dict[str, Any] = {}
        if self.persons:
            where["person_ids"] = AllOf(self.persons)
        if self.categories:
            where["category_id"] = self.categories
        if self.taken_from or self.taken_to:
            where["taken_at"] = Between(self.taken_from, self.taken_to)
        return where


@dataclass(frozen=True)
class Condition:
    """SQL on an asset `a`, with its parameters."""

    sql: str
    parameters: dict[str, Any]


def condition(connection: sa.Connection, filters: Filters, roots: Sequence[str]) -> Condition:
    """What a photo's row must meet to be shown, inside the folders that may be read; nothing else is asked about."""
    parts = [PICTURE]
    parameters: dict[str, Any] = {}
    if roots:
        inside = [f"a.path >= :first_{number} AND a.path < :after_{number}" for number, _ in enumerate(roots)]
        parts.append(f"({' OR '.join(inside)})")
        for number, root in enumerate(roots):
            parameters[f"first_{number}"], parameters[f"after_{number}"] = path_range(os.fsencode(root))
    if filters.categories:
        parts.append("a.category_id = ANY(:categories)")
        parameters["categories"] = list(filters.categories)
    for name, sign, moment in (("taken_from", ">=", filters.taken_from), ("taken_to", "<=", filters.taken_to)):
        if moment:
            parts.append(f"a.taken_at {sign} :{name}")
            parameters[name] = moment
    if filters.persons:
        model = active_face_model(connection)
        parameters["face_model_id"] = model.id if model else None
        parameters["persons"] = list(filters.persons)
        parts.append(WITH_FACES_OF)
    return Condition(" AND ".join(parts), parameters)


def digest(*parts: Any, filters: Filters) -> str:
    """Tells one search from another: page tokens carry it."""
    told = json.dumps([*parts, asdict(filters)], default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
