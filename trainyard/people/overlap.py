"""What is said of faces, carried over by their boxes to those of another network, or of another file of equal content.

Called in the transaction that changes the rows; what Qdrant and the prototypes have to hear of it is enqueued there.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa

from trainyard.face_models import active_face_model
from trainyard.outbox import enqueue_persons, enqueue_photos
from trainyard.people.boxes import in_rank, known_before, match_boxes
from trainyard.people.known_faces import NOTHING, KnownFace, Said, read_known

__all__ = ["carry_over", "carry_to_copies", "match_boxes", "refuse", "say"]

PHOTOS_AT_ONCE = 1_000

SAY = sa.text("""
    UPDATE face_instances f SET person_id = r.person_id, assigned_by = r.assigned_by, similarity = r.similarity,
        ignored_at = r.ignored_at,
        cluster_id = CASE WHEN r.person_id IS NULL AND r.ignored_at IS NULL THEN f.cluster_id END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:persons AS integer[]), CAST(:by AS text[]),
                CAST(:similarities AS float8[]), CAST(:ignored AS timestamptz[]))
        AS r (id, person_id, assigned_by, similarity, ignored_at)
    WHERE f.id = r.id
""")

# Nothing is suggested for a face that is known or ignored.
DROP_SUGGESTIONS = sa.text("DELETE FROM face_suggestions WHERE status = 'pending' AND face_id = ANY(:ids)")

# A refusal outlives everything that was only suggested.
REFUSE = sa.text("""
    INSERT INTO face_suggestions (face_id, person_id, similarity, status, decided_at)
    SELECT r.face_id, r.person_id, r.similarity, 'rejected', now()
    FROM unnest(CAST(:faces AS uuid[]), CAST(:persons AS integer[]), CAST(:similarities AS float8[]))
        AS r (face_id, person_id, similarity)
    ORDER BY r.face_id, r.person_id
    ON CONFLICT (face_id, person_id) DO UPDATE SET status = 'rejected', decided_at = now()
    WHERE face_suggestions.status <> 'rejected'
""")


def carry_over(connection: sa.Connection, asset_ids: Sequence[int], model_id: int) -> dict[UUID, UUID]:
    """Have this network's faces of these photos say what was said of the same faces as other networks found them.

    What is said of the active network's faces outdoes what these say; what is said of any other's is taken only where
    nobody but the engine said anything of these. Returns {this network's face: the other's}.
    """
    taken: dict[UUID, UUID] = {}
    active = active_face_model(connection)
    for start in range(0, len(asset_ids), PHOTOS_AT_ONCE):
        known = read_known(connection, asset_ids[start : start + PHOTOS_AT_ONCE], lock=True)
        own = [face for face in known if face.model_id == model_id]
        others = [face for face in known if face.model_id != model_id]
        before = _of_same_content(own, known_before(own, others, in_rank(others, model_id, active and active.id)))
        outdone = {active.id} if active else set()
        _say_after(connection, own, before, outdone)
        taken |= {face_id: source.id for face_id, source in before.items()}
    return taken


def carry_to_copies(connection: sa.Connection, copies: Mapping[int, int]) -> None:
    """Have faces of which nobody said anything say what is said of those of another photo with the same content.

    `copies` has the photo to carry from by the one to carry to.
    """
    known = read_known(connection, [*copies, *copies.values()], lock=True)
    for model_id in sorted({face.model_id for face in known}):
        faces = [face for face in known if face.model_id == model_id]
        own = [face for face in faces if face.asset_id in copies]
        others = [
            replace(face, asset_id=copy)
            for copy, original in copies.items()
            for face in faces
            if face.asset_id == original
        ]
        _say_after(connection, own, _of_same_content(own, known_before(own, others, [model_id])), set())


def _of_same_content(own: Iterable[KnownFace], before: Mapping[UUID, KnownFace]) -> dict[UUID, KnownFace]:
    """Without those of what a photo was before: two networks' vectors do not say whether it is the same face still."""
    contents = {face.id: face.content_sha256 for face in own}
    return {id: source for id, source in before.items() if source.content_sha256 == contents[id]}


def _say_after(
    connection: sa.Connection, own: Iterable[KnownFace], before: Mapping[UUID, KnownFace], outdone_by: Collection[int]
) -> None:
    changed: list[tuple[KnownFace, Said]] = []
    for face in own:
        source = before.get(face.id)
        if source is not None and (source.model_id in outdone_by or _gives_way(face.said, source.said)):
            said = face.said.after(source.said)
            changed += [(face, said)] if said != face.said else []
    if not changed:
        return
    say(connection, {face.id: said for face, said in changed})
    enqueue_photos(connection, {face.asset_id for face, said in changed if said.person_id != face.said.person_id})
    persons = {who for face, said in changed for who in (face.said.by_people, said.by_people) if who is not None}
    enqueue_persons(connection, persons)


def _gives_way(said: Said, to: Said) -> bool:
    """Whether nobody but the engine has spoken here, and somebody there, or not even the engine here."""
    return said == NOTHING or (to.is_peoples and not said.is_peoples)


def say(connection: sa.Connection, said: Mapping[UUID, Said]) -> None:
    """Write down what is said of faces that are there."""
    connection.execute(
        SAY,
        {
            "ids": list(said),
            "persons": [each.person_id for each in said.values()],
            "by": [each.assigned_by for each in said.values()],
            "similarities": [each.similarity for each in said.values()],
            "ignored": [each.ignored_at for each in said.values()],
        },
    )
    settled = [id for id, each in said.items() if each.person_id is not None or each.ignored_at is not None]
    connection.execute(DROP_SUGGESTIONS, {"ids": settled})
    refuse(connection, said)


def refuse(connection: sa.Connection, said: Mapping[UUID, Said]) -> None:
    """Write down who these faces are not."""
    refused = [(id, who, similarity) for id, each in said.items() for who, similarity in each.refused.items()]
    if refused:
        connection.execute(
            REFUSE,
            {
                "faces": [face_id for face_id, _, _ in refused],
                "persons": [person_id for _, person_id, _ in refused],
                "similarities": [similarity for _, _, similarity in refused],
            },
        )
