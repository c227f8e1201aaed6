"""What people do with a group of unknown faces: say who it is, or that nobody wants to know."""

import sqlalchemy as sa

from trainyard.face_models import active_face_model, keep_active
from trainyard.people.changes import Change, read_change
from trainyard.people.errors import NoSuchCluster
from trainyard.people.locks import keep_persons
from trainyard.people.persons import person_named
from trainyard.people.records import begin, change_faces, finish

OPEN = sa.text("SELECT FROM face_clusters WHERE id = :id AND model_id = :model_id AND closed_at IS NULL")

DISMISS = sa.text("""
    UPDATE face_clusters SET dismissed_at = now()
    WHERE id = :id AND model_id = :model_id AND closed_at IS NULL AND dismissed_at IS NULL
""")

LIVE_SIZE = sa.text("""
    UPDATE people_changes SET faces = (
        SELECT count(*) FROM face_instances f JOIN image_assets a ON a.id = f.asset_id
        WHERE f.cluster_id = :cluster_id AND f.person_id IS NULL AND f.ignored_at IS NULL AND a.missing_since IS NULL
    ) WHERE id = :id
""")


def name(
    connection: sa.Connection, cluster_id: int, *, person_id: int | None = None, name: str | None = None
) -> Change:
    """All the group's unknown faces are this person's: one that is there, or whoever is called so, or a new one.

    Raises NoSuchCluster, NoSuchPerson and InvalidName.
    """
    _check_open(connection, cluster_id)
    if person_id is None:
        person_id = person_named(connection, name or "")
    person = keep_persons(connection, [person_id])[person_id]
    before = {"persons": [{"id": person.id, "name": person.name}], "made": person.made}
    change_id = begin(connection, "name", person_id=person_id, cluster_id=cluster_id, before=before)
    change_faces(
        connection,
        change_id,
        "f.cluster_id = :cluster_id AND f.person_id IS NULL AND f.ignored_at IS NULL",
        person="CAST(:person_id AS integer)",
        assigned_by="'person'",
        parameters={"cluster_id": cluster_id, "person_id": person_id},
    )
    finish(connection, change_id)
    change = read_change(connection, change_id)
    if change.faces == 0:
        raise NoSuchCluster(cluster_id)
    return change


def dismiss(connection: sa.Connection, cluster_id: int) -> Change:
    """The group is not shown again, nor are the faces that later join it. Raises NoSuchCluster."""
    _check_open(connection, cluster_id)
    change_id = begin(connection, "dismiss", cluster_id=cluster_id)
    connection.execute(DISMISS, _asked(connection, cluster_id))
    connection.execute(LIVE_SIZE, {"id": change_id, "cluster_id": cluster_id})
    return read_change(connection, change_id)


def _check_open(connection: sa.Connection, cluster_id: int) -> None:
    keep_active(connection)
    if connection.execute(OPEN, _asked(connection, cluster_id)).one_or_none() is None:
        raise NoSuchCluster(cluster_id)


def _asked(connection: sa.Connection, cluster_id: int) -> dict[str, int | None]:
    model = active_face_model(connection)
    return {"id": cluster_id, "model_id": model.id if model else None}
