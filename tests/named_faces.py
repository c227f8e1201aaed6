"""What people say of the faces that a run found, as they would say it; faces are found by their photo's name."""

import os
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.local_runs import Run
from trainyard.outbox import drain
from trainyard.people import faces, persons, suggestions

OF_PHOTO = """
    SELECT f.*, p.name AS person FROM face_instances f
    JOIN image_assets a ON a.id = f.asset_id JOIN models m ON m.id = f.model_id
    LEFT JOIN persons p ON p.id = f.person_id
    WHERE a.path = :path AND m.weights_sha256 = :model ORDER BY f.ordinal
"""


def faces_of(run: Run, photo: Path) -> list[Any]:
    """Rows of the photo's faces, from top to bottom, by the network that is used now."""
    path = os.fsencode(os.path.realpath(photo))
    return run.rows(OF_PHOTO, path=path, model=run.engines.fake_faces.card.weights_sha256)


def names_in(run: Run, photo: Path) -> list[str | None]:
    return [face.person for face in faces_of(run, photo)]


def person(run: Run, name: str) -> int:
    """The person of this name, made when new."""
    return run.database.transact(lambda connection: persons.person_named(connection, name))


def call(run: Run, name: str, *face_ids: UUID) -> None:
    """These faces are this person's."""
    who = person(run, name)
    run.database.transact(lambda connection: faces.assign(connection, list(face_ids), who))


def refuse(run: Run, name: str, face_id: UUID) -> None:
    """This face, which was called so, is not this person's."""
    call(run, name, face_id)
    run.database.transact(lambda connection: faces.unassign(connection, [face_id]))


def answer_no(run: Run, name: str, face_id: UUID) -> None:
    """This face, of which the engine asks whether it is this person's, is not."""
    who = person(run, name)
    run.database.transact(lambda connection: suggestions.reject(connection, [(face_id, who)]))


def ignore(run: Run, *face_ids: UUID) -> None:
    run.database.transact(lambda connection: faces.ignore(connection, list(face_ids)))


def tell(run: Run) -> None:
    """Have vectors and prototypes hear of it."""
    while drain(run.database, run.vectors):
        pass
