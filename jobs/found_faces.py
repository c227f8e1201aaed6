"""Found faces become rows, in their batch's transaction: those that were known stay whose they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from jobs.face_rows import FaceRow, delete_stale_faces, store_faces
from jobs.faces import Face
from jobs.found_again import Before, read_known_faces, said_after, still_asked
from jobs.suggestions import hold_persons, store_suggestions
from trainyard.outbox import enqueue_persons, enqueue_photos
from trainyard.people.overlap import refuse
from trainyard.people.renumbering import follow_faces


@dataclass(frozen=True)
class FoundFaces:
    """The faces of one network in a batch of photos; `searched_before` are those photos that may have some already."""

    session_id: int
    model_id: int
    faces: Sequence[Face]
    searched_before: Sequence[int]

    def store(self, connection: sa.Connection) -> None:
        standing = self._hold_persons(connection)
        known = read_known_faces(connection, self.searched_before, lock=True)
        standing |= {face.said.person_id for face in known.faces if face.said.person_id is not None}  # all held
        before = known.before(self.faces, self.model_id)
        rows = [self._row(face, before, standing) for face in self.faces]
        if before.known:
            self._clear(connection, before)
        store_faces(connection, self.session_id, self.model_id, rows)
        self._store_suggestions(connection, rows, standing)
        self._leave_word(connection, rows, before)

    def _hold_persons(self, connection: sa.Connection) -> set[int]:
        """Whoever may be given a face here, as far as they are there; before faces are locked."""
        decided = [face.decision.person_id or face.decision.suggested_person_id for face in self.faces]
        known = read_known_faces(connection, self.searched_before, lock=False)
        return hold_persons(connection, [*decided, *(face.said.person_id for face in known.faces)])

    def _row(self, face: Face, before: Before, standing: set[int]) -> FaceRow:
        said = said_after(face.decision, before.said_of(face.id), standing)
        if said.person_id is not None or said.ignored_at is not None:
            return FaceRow(face, said)
        return FaceRow(face, said, *before.group_of(face))

    def _clear(self, connection: sa.Connection, before: Before) -> None:
        """Make room: faces that are not found again go, and so does what names an id that is another face's now."""
        delete_stale_faces(connection, self.model_id, list(self.searched_before), [face.id for face in self.faces])
        renamed = before.renamed(self.model_id, self.faces)
        follow_faces(connection, renamed)
        if reused := [face.id for face in self.faces if face.id in renamed]:
            connection.execute(sa.text("DELETE FROM face_suggestions WHERE face_id = ANY(:ids)"), {"ids": reused})

    def _store_suggestions(self, connection: sa.Connection, rows: Sequence[FaceRow], standing: set[int]) -> None:
        refuse(connection, {row.face.id: row.said for row in rows})
        decided = [(row.face.id, still_asked(row.face.decision, row.said, standing)) for row in rows]
        store_suggestions(connection, self.session_id, decided)

    def _leave_word(self, connection: sa.Connection, rows: Sequence[FaceRow], before: Before) -> None:
        """What was published did not know what people did meanwhile, nor what they had said of the photos."""
        behind = {face.asset_id for face in before.known if face.said.person_id is not None}
        behind |= {row.face.asset_id for row in rows if row.said.person_id is not None or row.face.told is not None}
        if behind:
            enqueue_photos(connection, behind)
        own = [face for face in before.known if face.model_id == self.model_id]
        was = {(face.id, face.embedding_sha256, who) for face in own if (who := face.said.by_people)}
        now = {(row.face.id, row.face.embedding_sha256, who) for row in rows if (who := row.said.by_people)}
        if changed := was ^ now:
            enqueue_persons(connection, {person_id for _, _, person_id in changed})
