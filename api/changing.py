"""Changes of people's: made in one transaction, followed up at once, and shown with how long they can be undone."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

import sqlalchemy as sa
from pydantic import Field, model_validator

from api.face_rows import PersonName
from api.schemas import GREATEST_ID, In, Name, Out
from api.services import Services
from trainyard.people import changes
from trainyard.people.persons import person_named

MOST_FACES = 1_000  # in one change

FaceIds = Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MOST_FACES)]


class Whose(In):
    """A person that is there, or whoever is called so: made when nobody is."""

    person_id: Annotated[int | None, Field(ge=1, le=GREATEST_ID)] = None
    name: Name | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.person_id is None) == (self.name is None):
            raise ValueError("say whose: either personId or name")
        return self

    def id(self, connection: sa.Connection) -> int:
        return self.person_id or person_named(connection, self.name or "")


class Change(Out):
    id: int
    kind: Annotated[str, Field(description="assign, unassign, ignore, rename, merge, delete, name, dismiss, …")]
    sentence: str
    faces: Annotated[int, Field(description="That it changed.")]
    skipped: Annotated[int, Field(description="Left as they were, as something else had become of them meanwhile.")]
    person: PersonName | None
    cluster_id: int | None
    created_at: datetime
    undone_at: datetime | None
    undo_until: datetime


def make_change(services: Services, work: Callable[[sa.Connection], changes.Change]) -> Change:
    """Raises Problem and PeopleError."""
    change = services.database.transact(work)
    services.follow_up.catch_up()
    return change_of(change)


def change_of(change: changes.Change) -> Change:
    return Change(
        id=change.id,
        kind=change.kind,
        sentence=change.sentence,
        faces=change.faces,
        skipped=change.skipped,
        person=_person(change.person_id, change.person_name),
        cluster_id=change.cluster_id,
        created_at=change.created_at,
        undone_at=change.undone_at,
        undo_until=change.created_at + timedelta(hours=changes.UNDO_HOURS),
    )


def _person(person_id: int | None, name: str | None) -> PersonName | None:
    return None if person_id is None or name is None else PersonName(id=person_id, name=name)
