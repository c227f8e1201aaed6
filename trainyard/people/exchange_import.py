"""Records of a file into the rows: persons by name, faces by their photo's content and their box."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from trainyard.outbox import enqueue_persons, enqueue_photos
from trainyard.people.exchange_faces import FaceHere, Outcome, Word, settle
from trainyard.people.exchange_here import BoxedFace, faces_here, matched, photos_here
from trainyard.people.exchange_records import FaceRecord, GroupRecord, PersonRecord
from trainyard.people.names import find_named, person_named

LEAST_SHARE = 0.5  # of a group's faces, in the file and here, that are the same: then it is that group

HOLD = sa.text("SELECT id FROM persons WHERE id = ANY(:ids) AND deleted_at IS NULL ORDER BY id FOR SHARE")

STORE = sa.text("""
    UPDATE face_instances f SET person_id = r.person_id, assigned_by = r.assigned_by, similarity = r.similarity,
        ignored_at = CASE WHEN r.ignored THEN coalesce(f.ignored_at, now()) END,
        cluster_id = CASE WHEN r.person_id IS NULL AND NOT r.ignored THEN f.cluster_id END,
        clustered_at = CASE WHEN f.person_id IS NOT NULL AND r.person_id IS NULL THEN NULL ELSE f.clustered_at END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:persons AS integer[]), CAST(:bys AS text[]),
                CAST(:similarities AS float8[]), CAST(:ignored AS boolean[]))
        AS r (id, person_id, assigned_by, similarity, ignored)
    WHERE f.id = r.id
""")

REFUSE = sa.text("""
    INSERT INTO face_suggestions (face_id, person_id, similarity, status, decided_at)
    SELECT face_id, person_id, 0, 'rejected', now()
    FROM unnest(CAST(:faces AS uuid[]), CAST(:persons AS integer[])) AS r (face_id, person_id)
    ON CONFLICT (face_id, person_id) DO UPDATE SET status = 'rejected', decided_at = now()
    WHERE face_suggestions.status <> 'rejected'
""")

# Nothing is suggested for a face that is known or ignored.
ANSWERED = sa.text("""
    DELETE FROM face_suggestions s USING face_instances f
    WHERE f.id = s.face_id AND f.id = ANY(:ids) AND s.status = 'pending'
        AND (f.person_id IS NOT NULL OR f.ignored_at IS NOT NULL)
""")

COVER = sa.text("""
    UPDATE persons SET cover_face_id = :face_id WHERE id = :person_id AND cover_face_id IS NULL
        AND EXISTS (SELECT FROM face_instances WHERE id = :face_id AND person_id = :person_id)
""")

GROUP = sa.text("""
    SELECT count(f.id) AS size FROM face_clusters c JOIN face_instances f ON f.cluster_id = c.id
    WHERE c.id = :id AND c.closed_at IS NULL GROUP BY c.id
""")

DISMISS = sa.text("UPDATE face_clusters SET dismissed_at = now() WHERE id = :id AND dismissed_at IS NULL")


@dataclass
class Imported:
    """What became of a file's records. `faces_…` count the file's, of which one may be in several copies of a photo."""

    persons_new: int = 0
    persons_known: int = 0
    faces_changed: int = 0
    faces_as_they_were: int = 0
    faces_kept: int = 0  # as people said here, which is something else
    faces_not_found: int = 0  # the photo is here, and no face at that place
    faces_of_no_photo: int = 0
    groups_dismissed: int = 0
    groups_as_they_were: int = 0
    groups_not_found: int = 0


@dataclass
class Import:
    """One import under way: the persons of the file by their name there, and what became of the records so far."""

    persons: dict[str, int] = field(default_factory=dict)
    counts: Imported = field(default_factory=Imported)

    def hold(self, connection: sa.Connection, names: Collection[str]) -> None:
        """Have everybody who is called so, ignoring case, stay until this transaction ends; who is not there is made.

        Before faces are locked. Whom somebody has merged or deleted since an earlier batch is not who was meant.
        """
        while True:
            wanted = {self._find(connection, name) for name in names}
            gone = wanted - set(connection.scalars(HOLD, {"ids": sorted(wanted)}))
            if not gone:
                return
            self.persons = {name: id for name, id in self.persons.items() if id not in gone}

    def _find(self, connection: sa.Connection, name: str) -> int:
        if name not in self.persons:
            known = find_named(connection, name)
            self.persons[name] = known if known is not None else person_named(connection, name)
            if known is None:
                self.counts.persons_new += 1
            else:
                self.counts.persons_known += 1
        return self.persons[name]


def names_in(record: PersonRecord | FaceRecord | GroupRecord) -> Sequence[str]:
    """Those whom the record names."""
    if isinstance(record, PersonRecord):
        return [record.name]
    if isinstance(record, FaceRecord):
        return [*record.rejected, *([record.person] if record.person is not None else [])]
    return []


Changed = Sequence[tuple[FaceHere, Word]]


def import_faces(connection: sa.Connection, work: Import, records: Sequence[FaceRecord]) -> None:
    """Records of some photos, all of a photo together. Whom they name is held."""
    contents = {record.photo for record in records}
    photos, found = photos_here(connection, contents), matched(records, faces_here(connection, contents))
    changed: list[tuple[FaceHere, Word]] = []
    for record, faces in found:
        file = _said(work, record)
        outcomes = []
        for face in faces:
            after, outcome = settle(face.said, file)
            outcomes.append(outcome)
            if outcome == "changed":
                changed.append((face, after))
        _count(work.counts, outcomes, known=record.photo in photos)
    if changed:
        _store(connection, changed)
    _show(connection, work, found)


def import_group(connection: sa.Connection, work: Import, record: GroupRecord) -> None:
    """Dismiss the group that has most of these faces, if they are most of it, too."""
    rows = faces_here(connection, {face.photo for face in record.faces})
    groups: dict[int, int] = defaultdict(int)
    for _, faces in matched(record.faces, rows):
        for group in {face.cluster_id for face in faces if face.cluster_id is not None}:
            groups[group] += 1
    best, same = max(groups.items(), key=lambda item: (item[1], -item[0]), default=(0, 0))
    here = connection.execute(GROUP, {"id": best}).one_or_none()
    if here is None or same < LEAST_SHARE * max(len(record.faces), here.size):
        work.counts.groups_not_found += 1
    elif connection.execute(DISMISS, {"id": best}).rowcount:
        work.counts.groups_dismissed += 1
    else:
        work.counts.groups_as_they_were += 1


def _said(work: Import, record: FaceRecord) -> Word:
    refused = frozenset(work.persons[name] for name in record.rejected)
    if record.person is None:
        return Word(ignored=record.ignored, refused=refused)
    person_id = work.persons[record.person]
    return Word(person_id, record.by or "person", record.similarity, record.ignored, refused)


def _count(counts: Imported, outcomes: Sequence[Outcome], *, known: bool) -> None:
    if not outcomes:
        counts.faces_not_found += known
        counts.faces_of_no_photo += not known
    elif "changed" in outcomes:
        counts.faces_changed += 1
    elif "kept" in outcomes:
        counts.faces_kept += 1
    else:
        counts.faces_as_they_were += 1


# Writing


def _store(connection: sa.Connection, changed: Changed) -> None:
    afters = [after for _, after in changed]
    ids = [face.id for face, _ in changed]
    connection.execute(
        STORE,
        {
            "ids": ids,
            "persons": [after.person_id for after in afters],
            "bys": [after.by for after in afters],
            "similarities": [after.similarity if after.by == "engine" else None for after in afters],
            "ignored": [after.ignored for after in afters],
        },
    )
    refusals = [(face.id, person) for face, after in changed for person in sorted(after.refused - face.said.refused)]
    connection.execute(REFUSE, {"faces": [face for face, _ in refusals], "persons": [who for _, who in refusals]})
    connection.execute(ANSWERED, {"ids": ids})
    _leave_word(connection, changed)


def _leave_word(connection: sa.Connection, changed: Changed) -> None:
    """For the vectors of photos that show other people now, and the persons who are known by other faces."""
    moved = {face.asset_id for face, after in changed if face.said.person_id != after.person_id}
    chosen_from = {
        said.person_id
        for face, after in changed
        for said in (face.said, after)
        if said.by == "person" and said.person_id is not None
    }
    enqueue_photos(connection, moved)
    enqueue_persons(connection, chosen_from)


def _show(connection: sa.Connection, work: Import, found: Iterable[tuple[FaceRecord, list[BoxedFace]]]) -> None:
    """The faces that stand for persons, where nobody has chosen one here."""
    for record, faces in found:
        if record.cover and record.person is not None and faces:
            shown = {"face_id": faces[0].id, "person_id": work.persons[record.person]}
            connection.execute(COVER, shown)
