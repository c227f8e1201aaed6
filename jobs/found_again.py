"""Faces of photos that were searched before: which of them were known, and as which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from jobs.assignment import Decision
from jobs.faces import NOBODY, Face
from trainyard.face_models import active_face_model
from trainyard.people.boxes import in_rank, known_before
from trainyard.people.known_faces import NOTHING, KnownFace, Said, read_known


@dataclass(frozen=True)
class Before:
    """What was there before faces of these photos were found: every known face, and which found one it is.

    `people` is by whom it is known what is said of a face, `own` which one of the same network it was.
    """

    known: Sequence[KnownFace] = ()
    people: Mapping[UUID, KnownFace] = field(default_factory=dict)
    own: Mapping[UUID, KnownFace] = field(default_factory=dict)

    def said_of(self, face_id: UUID) -> Said:
        return self.people[face_id].said if face_id in self.people else NOTHING

    def is_settled(self, face_id: UUID) -> bool:
        """Whether there is nothing left for the engine to decide."""
        said = self.said_of(face_id)
        return said.person_id is not None or said.ignored_at is not None

    def group_of(self, face: Face) -> tuple[int | None, datetime | None]:
        """The group that the face stays in, and when it was grouped if it need not be grouped anew."""
        own = self.own.get(face.id)
        if own is None:
            return None, None
        return own.cluster_id, own.clustered_at if own.embedding_sha256 == face.embedding_sha256 else None

    def renamed(self, model_id: int, found: Sequence[Face]) -> dict[UUID, UUID | None]:
        """New ids of this network's faces, by their old ones; None for an id that is another face's now."""
        new = {self.own[face.id].id: face.id for face in found if face.id in self.own}
        reused = {face.id for face in found} & {face.id for face in self.known if face.model_id == model_id}
        return {old: new.get(old) for old in sorted(new.keys() | reused) if new.get(old) != old}


@dataclass(frozen=True)
class Known:
    """The faces that some photos had, and which network people speak of."""

    faces: Sequence[KnownFace] = ()
    active_id: int | None = None

    def before(self, found: Sequence[Face], model_id: int) -> Before:
        """What is known of these faces, which this network found in those photos now."""
        own = [face for face in self.faces if face.model_id == model_id]
        ranks = in_rank(self.faces, model_id, self.active_id)
        return Before(
            known=self.faces,
            people=_same(found, known_before(found, self.faces, ranks), model_id),
            own=_same(found, known_before(found, own, [model_id]), model_id),
        )


def read_known_faces(connection: sa.Connection, asset_ids: Sequence[int], *, lock: bool) -> Known:
    faces = read_known(connection, asset_ids, lock=lock) if asset_ids else []
    active = active_face_model(connection) if faces else None
    return Known(faces, active.id if active else None)


def _same(found: Sequence[Face], before: Mapping[UUID, KnownFace], model_id: int) -> dict[UUID, KnownFace]:
    """Without those that only lie in the same place: the photo may be another by now, and show somebody else there."""
    kept = {}
    for face in found:
        source = before.get(face.id)
        if source is None:
            continue
        comparable = source.model_id == model_id or source.content_sha256 == face.content_sha256
        if comparable and source.id != face.unlike:
            kept[face.id] = source
    return kept


def of_other_content(found: Sequence[Face], before: Before) -> list[tuple[Face, KnownFace]]:
    """The found faces that are known from what their photos were before, each with the face it may be."""
    pairs = [(face, before.own[face.id]) for face in found if face.id in before.own]
    return [(face, source) for face, source in pairs if source.content_sha256 != face.content_sha256]


def said_after(decision: Decision, before: Said, standing: set[int]) -> Said:
    """What is said of a found face: what was said of it before, or what the engine decides; of persons there are."""
    if before.person_id not in standing:
        before = replace(before, person_id=None, assigned_by=None, similarity=None)
    if decision.person_id is None or decision.person_id not in standing:
        return NOTHING.after(before)
    return Said(decision.person_id, "engine", decision.similarity).after(before)


def still_asked(decision: Decision, said: Said, standing: set[int]) -> Decision:
    """The decision as far as people are still to be asked of it."""
    asked = decision.suggested_person_id
    settled = said.person_id is not None or said.ignored_at is not None
    return NOBODY if settled or asked not in standing or asked in said.refused else decision
