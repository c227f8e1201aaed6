"""What is kept in memory of a TrainingSession resource."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from controller.kubernetes.names import GROUP, SESSION_LABEL

# With the session's label it names one row for ever: a database restored from a backup gives ids out once more.
CREATED_ANNOTATION = f"{GROUP}/session-created-at"

Maker = tuple[int, str]  # the session that a resource was made for: its id, and its row's created_at


@dataclass(frozen=True)
class Resource:
    """Equal to another if somebody else may have asked for something different: status and version are left out."""

    name: str
    uid: str
    generation: int
    terminating: bool
    spec: Mapping[str, Any]
    made_for: Maker | None = None  # a row came first; otherwise somebody applied it
    status: Mapping[str, Any] = field(default_factory=dict, compare=False)
    version: str = field(default="", compare=False)

    @property
    def suspended(self) -> bool:
        return bool(self.spec.get("suspend"))


def read_resource(found: Mapping[str, Any]) -> Resource:
    """From the API server's JSON."""
    about = found["metadata"]
    return Resource(
        name=about["name"],
        uid=about["uid"],
        generation=about["generation"],
        terminating="deletionTimestamp" in about,
        spec=found["spec"],
        made_for=_made_for(about),
        status=found.get("status") or {},
        version=about["resourceVersion"],
    )


def created_text(created_at: datetime) -> str:
    """A row's created_at as the annotation has it, whatever time zone it was read in."""
    return created_at.astimezone(UTC).isoformat()


def _made_for(about: Mapping[str, Any]) -> Maker | None:
    session = (about.get("labels") or {}).get(SESSION_LABEL, "")
    created = (about.get("annotations") or {}).get(CREATED_ANNOTATION)
    if not created or not re.fullmatch("[0-9]{1,9}", session):  # anybody may write there
        return None
    return int(session), created
