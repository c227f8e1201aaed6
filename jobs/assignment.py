"""Whose face is it: one embedding against the prototypes of every person."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.engines import FaceThresholds
from trainyard.tables import person_prototypes, persons, steps


@dataclass(frozen=True)
class Prototypes:
    """Embeddings (n, d) float32 L2-normalised, and the person of each; several a person."""

    embeddings: NDArray[np.float32]
    person_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Decision:
    """At most one of the two is set."""

    person_id: int | None = None
    suggested_person_id: int | None = None
    similarity: float | None = None


def decide(
    embedding: NDArray[np.float32],
    prototypes: Prototypes,
    thresholds: FaceThresholds,
    rejected: Collection[int] = (),
) -> Decision:
    """Assign at or above `assign` with the margin over the second person; suggest from `suggestion` up.

    A person in `rejected` was refused for this face by somebody and is neither assigned nor suggested again.
    """
    best = best_by_person(embedding, prototypes, rejected)
    if not best:
        return Decision()
    (person_id, similarity), second = best[0], best[1][1] if len(best) > 1 else -1.0
    if similarity >= thresholds.assign and similarity - second >= thresholds.margin:
        return Decision(person_id=person_id, similarity=similarity)
    if similarity >= thresholds.suggestion:
        return Decision(suggested_person_id=person_id, similarity=similarity)
    return Decision()


def best_by_person(
    embedding: NDArray[np.float32], prototypes: Prototypes, rejected: Collection[int] = ()
) -> list[tuple[int, float]]:
    """(person, cosine similarity of the nearest prototype), the nearest person first; ties by id."""
    similarities = prototypes.embeddings @ embedding
    best: dict[int, float] = {}
    for person_id, similarity in zip(prototypes.person_ids.tolist(), similarities.tolist(), strict=True):
        if person_id not in rejected:
            best[person_id] = max(similarity, best.get(person_id, -1.0))
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))


def read_prototypes(connection: sa.Connection, session_id: int, model_id: int, dimension: int) -> Prototypes:
    """The prototypes that stood when the session's first detect or assign attempt began.

    So the order of batches changes nothing, and neither does what a person does meanwhile.
    """
    p = person_prototypes.c
    begun = sa.select(sa.func.min(steps.c.started_at)).where(
        steps.c.session_id == session_id, steps.c.step.in_(["detect", "assign"])
    )
    rows = connection.execute(
        sa.select(p.person_id, p.embedding)
        .join(persons, persons.c.id == p.person_id)
        .where(
            p.model_id == model_id,
            p.created_at <= begun.scalar_subquery(),
            sa.or_(p.retired_at.is_(None), p.retired_at > begun.scalar_subquery()),
            persons.c.deleted_at.is_(None),
        )
        .order_by(p.person_id, p.id)
    ).all()
    embeddings = [np.frombuffer(row.embedding, "<f4") for row in rows]
    stacked = np.stack(embeddings) if embeddings else np.empty((0, dimension), np.float32)
    return Prototypes(stacked.astype(np.float32), np.array([row.person_id for row in rows], np.int64))
