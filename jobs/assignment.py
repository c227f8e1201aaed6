"""Whose face is it: one embedding against the prototypes of every person."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def persons(self) -> NDArray[np.int64]:
        """(p,) each person once, ascending."""
        return np.unique(self.person_ids)

    @cached_property
    def person_of(self) -> NDArray[np.int64]:
        """(n,) where in `persons` each prototype's is."""
        return np.searchsorted(self.persons, self.person_ids)


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
    best = best_by_person(embedding, prototypes, rejected, most=2)
    if not best:
        return Decision()
    (person_id, similarity), second = best[0], best[1][1] if len(best) > 1 else -1.0
    if similarity >= thresholds.assign and similarity - second >= thresholds.margin:
        return Decision(person_id=person_id, similarity=similarity)
    if similarity >= thresholds.suggestion:
        return Decision(suggested_person_id=person_id, similarity=similarity)
    return Decision()


def best_by_person(
    embedding: NDArray[np.float32],
    prototypes: Prototypes,
    rejected: Collection[int] = (),
    most: int | None = None,
) -> list[tuple[int, float]]:
    """(person, cosine similarity of the nearest prototype), the nearest persons first; ties by id.

    One face at a time, so that its similarities are the same bytes whichever faces are looked at beside it.
    """
    best = np.full(len(prototypes.persons), -1.0, np.float32)
    np.maximum.at(best, prototypes.person_of, prototypes.embeddings @ embedding)
    order = np.argsort(-best, kind="stable")
    if len(rejected):
        order = order[~np.isin(prototypes.persons[order], list(rejected))]
    order = order[:most]
    return list(zip(prototypes.persons[order].tolist(), best[order].tolist(), strict=True))


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
