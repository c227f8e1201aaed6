"""Whose the faces of a batch are, as far as rows, prototypes and vectors say before the batch is committed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobs.assignment import Prototypes, decide
from jobs.context import Context
from jobs.engines import FaceThresholds
from jobs.face_rows import stale_faces
from jobs.faces import NOBODY, Face
from jobs.found_again import Before, Known, of_other_content, read_known_faces


@dataclass(frozen=True)
class Decided:
    """`stale` are faces of these photos that are no longer there."""

    faces: list[Face]
    stale: list[UUID]


@dataclass(frozen=True)
class Deciding:
    context: Context
    model: dict[str, Any]
    thresholds: FaceThresholds
    prototypes: Prototypes

    def decide(self, faces: Sequence[Face], searched_before: Sequence[int]) -> Decided:
        """`searched_before` are those of the photos that may have faces already."""
        found = [face.id for face in faces]
        known, stale = self.context.database.transact(lambda c: self._read(c, searched_before, found))
        alike = self._compared(faces, known)
        before = known.before(alike, self.model["id"])
        return Decided([self._decided(face, before) for face in alike], stale)

    def _read(
        self, connection: sa.Connection, searched_before: Sequence[int], found: list[UUID]
    ) -> tuple[Known, list[UUID]]:
        if not searched_before:
            return Known(), []
        stale = stale_faces(connection, self.model["id"], list(searched_before), found)
        return read_known_faces(connection, searched_before, lock=False), stale

    def _compared(self, faces: Sequence[Face], known: Known) -> list[Face]:
        """Where a photo has changed, a face in the same place may be somebody else's: the vectors say so."""
        pairs = of_other_content(faces, known.before(faces, self.model["id"]))
        if not pairs:
            return list(faces)
        old = self.context.vectors.retrieve(self.model["collection"], [source.id for _, source in pairs]).vectors
        unlike = {
            face.id: source.id
            for (face, source), vector in zip(pairs, old, strict=True)
            if float(vector @ face.embedding) < self.thresholds.verification
        }
        return [replace(face, unlike=unlike.get(face.id)) for face in faces]

    def _decided(self, face: Face, before: Before) -> Face:
        said = before.said_of(face.id)
        if before.is_settled(face.id):
            return replace(face, decision=NOBODY, told=said.person_id)
        decision = decide(face.embedding, self.prototypes, self.thresholds, said.refused)
        return replace(face, decision=decision, told=decision.person_id)
