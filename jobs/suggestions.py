"""Whom the engine asks people about, and that it only names persons who are there."""

from collections.abc import Collection, Sequence
from uuid import UUID

import sqlalchemy as sa

from jobs.assignment import Decision

HOLD = sa.text("SELECT id FROM persons WHERE id = ANY(:ids) AND deleted_at IS NULL ORDER BY id FOR SHARE")

# What is not suggested any more is not asked any more; what people answered stays.
WITHDRAW = sa.text("""
    DELETE FROM face_suggestions s
    USING unnest(CAST(:faces AS uuid[]), CAST(:persons AS integer[])) AS r (face_id, person_id)
    WHERE s.face_id = r.face_id AND s.status = 'pending' AND s.person_id IS DISTINCT FROM r.person_id
""")

SUGGEST = sa.text("""
    INSERT INTO face_suggestions (face_id, person_id, similarity, session_id)
    SELECT r.face_id, r.person_id, r.similarity, :session_id
    FROM unnest(CAST(:faces AS uuid[]), CAST(:persons AS integer[]), CAST(:similarities AS float8[]))
        AS r (face_id, person_id, similarity)
    WHERE r.person_id IS NOT NULL ORDER BY r.face_id
    ON CONFLICT (face_id, person_id) DO UPDATE
    SET similarity = excluded.similarity, session_id = excluded.session_id
    WHERE face_suggestions.status = 'pending'
""")


def hold_persons(connection: sa.Connection, person_ids: Collection[int | None]) -> set[int]:
    """Those of them who are there, and are neither deleted nor merged until this transaction ends.

    To come before faces are locked, as everybody does it.
    """
    wanted = sorted({person_id for person_id in person_ids if person_id is not None})
    return set(connection.scalars(HOLD, {"ids": wanted})) if wanted else set()


def store_suggestions(connection: sa.Connection, session_id: int, decided: Sequence[tuple[UUID, Decision]]) -> None:
    """Have each face's open suggestions be what was decided: one, or none."""
    if not decided:
        return
    suggested = [decision.suggested_person_id for _, decision in decided]
    parameters = {"faces": [face_id for face_id, _ in decided], "persons": suggested}
    connection.execute(WITHDRAW, parameters)
    if any(person_id is not None for person_id in suggested):
        similarities = [decision.similarity for _, decision in decided]
        connection.execute(SUGGEST, {**parameters, "similarities": similarities, "session_id": session_id})
