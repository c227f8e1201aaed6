"""When the faces that another network found take the place of those that people have named."""

import sqlalchemy as sa

from trainyard.face_models import activate, active_face_model, take_turn
from trainyard.face_networks import has_searched_all
from trainyard.outbox import enqueue_persons
from trainyard.people.overlap import carry_over
from trainyard.people.renumbering import follow_to_network

# Photos of whose faces people, or the engine for them, said anything; also what they took back since, or may take back.
SAID = sa.text("""
    SELECT DISTINCT f.asset_id FROM face_instances f
    WHERE f.model_id = :active_id AND (f.person_id IS NOT NULL OR f.ignored_at IS NOT NULL OR EXISTS (
            SELECT FROM face_suggestions s WHERE s.face_id = f.id AND s.status = 'rejected')
            OR f.id IN (SELECT face_id FROM people_change_faces UNION SELECT face_id FROM people_change_suggestions))
        OR f.model_id = :model_id AND (f.assigned_by = 'person' OR f.ignored_at IS NOT NULL)
    ORDER BY f.asset_id
""")

PERSONS = sa.text("SELECT DISTINCT person_id FROM face_instances WHERE model_id = :model_id AND assigned_by = 'person'")

TELL = sa.text("""
    INSERT INTO outbox (asset_id)
    SELECT DISTINCT asset_id FROM face_instances WHERE model_id IN (:active_id, :model_id) AND person_id IS NOT NULL
""")


HOLD_PERSONS = sa.text("SELECT FROM persons WHERE deleted_at IS NULL ORDER BY id FOR SHARE")


def begins_to_take_over(connection: sa.Connection, model_id: int) -> bool:
    """Whether this network, not the active one, has searched every photo that the active one has.

    Then people wait until this transaction ends. To come before any row is locked.
    """
    if not _is_complete(connection, model_id):
        return False
    take_turn(connection)
    connection.execute(HOLD_PERSONS)
    return True


def take_over(connection: sa.Connection, model_id: int) -> None:
    """Make this the active network in place of the other.

    What was said of the other's faces is carried over once more: people went on after their photos were searched.
    """
    active = active_face_model(connection)
    if active is None or not _is_complete(connection, model_id):
        return
    both = {"active_id": active.id, "model_id": model_id}
    taken = carry_over(connection, list(connection.scalars(SAID, both)), model_id)
    follow_to_network(connection, {old: new for new, old in taken.items()})
    activate(connection, model_id)
    enqueue_persons(connection, list(connection.scalars(PERSONS, {"model_id": model_id})))
    connection.execute(TELL, both)


def _is_complete(connection: sa.Connection, model_id: int) -> bool:
    active = active_face_model(connection)
    return active is not None and active.id != model_id and has_searched_all(connection, active.id, model_id)
