"""What people do with faces and persons, on a real database; each operation a transaction, as requests are."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.conftest import execute, url_of
from tests.people_rows import Library, forget_all
from trainyard.database import migrate
from trainyard.face_models import activate
from trainyard.people import changes, clusters, faces, persons, suggestions
from trainyard.people.errors import (
    InvalidName,
    NameTaken,
    NoSuchChange,
    NoSuchCluster,
    NoSuchFace,
    NoSuchPerson,
    NoSuchSuggestion,
    PeopleError,
)


@pytest.fixture
def library(engine: sa.Engine) -> Iterator[Library]:
    yield Library.made(engine)
    forget_all(engine)


# Groups


def test_a_named_group_is_that_person(library: Library) -> None:
    group, members = library.cluster(12)
    change = library.do(clusters.name, group, name=" Anna ")
    anna = library.people()["Anna"]
    assert library.owners(members) == [anna] * 12
    assert (change.kind, change.person_id, change.person_name, change.cluster_id) == ("name", anna, "Anna", group)
    assert (change.faces, change.skipped, change.sentence) == (12, 0, "12 faces are now Anna.")
    row = library.row(members[0])
    assert (row.assigned_by, row.similarity, row.cluster_id) == ("person", None, None)


def test_a_group_is_named_after_who_is_called_so_already_ignoring_case(library: Library) -> None:
    anna = library.person("Anna")
    group, members = library.cluster(2)
    assert library.do(clusters.name, group, name="ANNA").person_id == anna
    other, more = library.cluster(1)
    library.do(clusters.name, other, person_id=anna)
    assert library.owners(members + more) == [anna] * 3
    assert library.people() == {"Anna": anna}


def test_ignored_faces_of_a_group_are_not_named_with_it(library: Library) -> None:
    group, members = library.cluster(3)
    library.do(faces.ignore, members[:1])
    assert library.do(clusters.name, group, name="Anna").faces == 2
    assert library.owners(members[:1]) == [None]


def test_a_group_that_is_gone_or_empty_is_not_named_and_makes_nobody(library: Library) -> None:
    group, members = library.cluster(1)
    library.do(faces.assign, members, library.person("Bea"))
    for cluster_id in (group, 4711):
        with pytest.raises(NoSuchCluster, match=f"no group {cluster_id} of unknown faces any more"):
            library.do(clusters.name, cluster_id, name="Anna")
    assert set(library.people()) == {"Bea"}


def test_a_dismissed_group_keeps_its_faces(library: Library) -> None:
    group, members = library.cluster(4)
    change = library.do(clusters.dismiss, group)
    assert (change.faces, change.sentence) == (4, "A group of 4 faces is dismissed.")
    assert {library.row(id).cluster_id for id in members} == {group}
    with pytest.raises(NoSuchCluster):
        library.do(clusters.dismiss, group + 1)


# Faces


def test_an_assigned_face_leaves_its_group_and_its_questions(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    _, (face, _) = library.cluster(2)
    library.suggest(face, anna)
    library.suggest(face, bea)
    change = library.do(faces.assign, [face], anna)
    assert change.sentence == "1 face is now Anna."
    assert library.row(face).cluster_id is None
    assert library.answers(face) == {anna: "accepted"}


def test_confirming_what_the_engine_found_keeps_its_similarity(library: Library) -> None:
    anna = library.person("Anna")
    face = library.face(person_id=anna, assigned_by="engine", similarity=0.7)
    assert library.do(faces.assign, [face], anna).faces == 1
    row = library.row(face)
    assert (row.assigned_by, row.similarity) == ("person", 0.7)
    again = library.do(faces.assign, [face], anna)
    assert (again.faces, again.sentence) == (0, "Nothing changed: it was so already.")


def test_a_face_moved_to_somebody_else_is_refused_for_whom_it_was(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    face = library.face(person_id=anna, assigned_by="engine", similarity=0.55)
    library.do(faces.assign, [face], bea)
    assert library.answers(face) == {anna: "rejected"}


def test_an_unassigned_face_is_unknown_and_refused_for_whom_it_was(library: Library) -> None:
    anna = library.person("Anna")
    mine = library.faces(2, person_id=anna, assigned_by="engine", similarity=0.6, clustered_at=sa.func.now())
    unknown = library.face()
    change = library.do(faces.unassign, [*mine, unknown])
    assert (change.faces, change.person_id, change.sentence) == (2, anna, "2 faces are not Anna any more.")
    row = library.row(mine[0])
    assert (row.person_id, row.assigned_by, row.similarity, row.clustered_at) == (None, None, None, None)
    assert [library.answers(id) for id in (*mine, unknown)] == [{anna: "rejected"}, {anna: "rejected"}, {}]


def test_assigning_again_answers_an_earlier_refusal(library: Library) -> None:
    anna = library.person("Anna")
    face = library.face(person_id=anna, assigned_by="person")
    library.do(faces.unassign, [face])
    library.do(faces.assign, [face], anna)
    assert library.answers(face) == {anna: "accepted"}


def test_ignored_faces_are_asked_about_no_more_and_keep_their_person(library: Library) -> None:
    anna = library.person("Anna")
    _, (face, _) = library.cluster(2)
    library.suggest(face, anna)
    hers = library.face(person_id=anna, assigned_by="person")
    change = library.do(faces.ignore, [face, hers])
    assert change.sentence == "2 faces are ignored."
    assert library.answers(face) == {}
    assert library.row(face).cluster_id is None
    assert library.owners([hers]) == [anna]
    change = library.do(faces.ignore, [face], ignored=False)
    assert change.sentence == "1 face is looked at again."
    assert (library.row(face).ignored_at, library.row(face).clustered_at) == (None, None)


def test_naming_an_ignored_face_wants_it_again(library: Library) -> None:
    anna, face = library.person("Anna"), library.face(ignored_at=sa.func.now())
    library.do(faces.assign, [face], anna)
    assert library.row(face).ignored_at is None


def test_one_face_that_is_not_there_leaves_all_as_they_were(library: Library) -> None:
    anna, face, missing = library.person("Anna"), library.face(), uuid4()
    with pytest.raises(NoSuchFace, match=f"There is no face {missing}"):
        library.do(faces.assign, [face, missing], anna)
    with pytest.raises(NoSuchPerson, match="There is no person 4711"):
        library.do(faces.assign, [face], 4711)
    assert library.owners([face]) == [None]
    assert library.do(changes.list_changes, 10) == []


def test_faces_of_another_network_are_not_there(library: Library) -> None:
    anna, face = library.person("Anna"), library.face()
    other = library.do(
        lambda c: c.execute(
            sa.text("""
                INSERT INTO models
                    (kind, engine, name, weights_sha256, preprocess_version, dimension, collection, trained)
                SELECT kind, engine, 'another', weights_sha256, 1, dimension, 'faces-another', trained FROM models
                RETURNING id
            """)
        ).scalar_one()
    )
    library.do(activate, other)
    with pytest.raises(NoSuchFace):
        library.do(faces.assign, [face], anna)


# Persons


def test_names_are_trimmed_and_unique_ignoring_case(library: Library) -> None:
    ömer = library.do(persons.create, "  Ömer ")
    assert library.people() == {"Ömer": ömer}
    for name in ("Ömer", "ömer", "ÖMER", "O\u0308mer"):
        with pytest.raises(NameTaken, match="There is a person called") as refused:
            library.do(persons.create, name)
        assert refused.value.person_id == ömer
        assert library.do(persons.person_named, name) == ömer
    assert library.do(persons.person_named, "Zoë") == library.people()["Zoë"]


def test_what_the_database_takes_for_one_name_is_one_persons(postgres_url: str) -> None:
    """Ours knows the case of ASCII letters alone; somebody's own PostgreSQL may know more than Python does."""
    name = f"test_{uuid4().hex}"
    locale = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' ENCODING 'UTF8'"
    execute(postgres_url, f"CREATE DATABASE {{}} TEMPLATE template0 {locale}", name)
    migrate(url_of(postgres_url, name))
    engine = sa.create_engine(url_of(postgres_url, name), poolclass=sa.NullPool)
    with engine.begin() as connection:
        ipek = persons.create(connection, "ipek")
        assert persons.person_named(connection, "İpek") == ipek  # whose small letter it says is i
        with pytest.raises(NameTaken):
            persons.create(connection, "İPEK")
    execute(postgres_url, "DROP DATABASE {}", name)


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "An\x00na", "An\nna", "\ud800"])
def test_names_that_are_none_are_refused(library: Library, name: str) -> None:
    with pytest.raises(InvalidName, match="1 to 200 characters"):
        library.do(persons.create, name)


def test_a_deleted_persons_name_may_be_given_again(library: Library) -> None:
    anna = library.person("Anna")
    library.do(persons.delete, anna)
    assert library.do(persons.create, "anna") != anna


def test_a_renamed_person_keeps_the_faces(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    change = library.do(persons.rename, anna, "anna")
    assert change.sentence == "Anna is called anna now."
    with pytest.raises(NameTaken) as refused:
        library.do(persons.rename, anna, "BEA")
    assert refused.value.person_id == bea
    assert library.people() == {"anna": anna, "Bea": bea}


def test_a_cover_is_one_of_the_persons_faces(library: Library) -> None:
    anna = library.person("Anna")
    mine, other = library.face(person_id=anna, assigned_by="engine"), library.face()
    library.do(persons.set_cover, anna, mine)
    with pytest.raises(NoSuchFace):
        library.do(persons.set_cover, anna, other)
    assert library.do(lambda c: c.scalar(sa.text("SELECT cover_face_id FROM persons"))) == mine


def test_merged_persons_are_one_and_faces_keep_who_said_so(library: Library) -> None:
    anna, bea, carl = (library.person(name) for name in ("Anna", "Bea", "Carl"))
    hers = library.face(person_id=anna, assigned_by="person")
    named = library.face(person_id=bea, assigned_by="person")
    found = library.face(person_id=carl, assigned_by="engine", similarity=0.6)
    change = library.do(persons.merge, anna, [bea, carl, anna])
    assert (change.faces, change.sentence) == (2, "Anna, Bea and Carl are one person now.")
    assert library.owners([hers, named, found]) == [anna] * 3
    assert [library.row(id).assigned_by for id in (named, found)] == ["person", "engine"]
    assert library.row(found).similarity == 0.6
    assert library.people() == {"Anna": anna}
    with pytest.raises(NoSuchPerson):
        library.do(persons.merge, anna, [bea])


def test_questions_about_merged_persons_are_asked_about_the_one_they_are(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    asked, asked_both, refused, refused_and_asked = library.faces(4)
    library.suggest(asked, bea, 0.44)
    library.suggest(asked_both, anna)
    library.suggest(asked_both, bea)
    library.suggest(refused, bea, status="rejected")
    library.suggest(refused_and_asked, bea, status="rejected")
    library.suggest(refused_and_asked, anna)
    library.do(persons.merge, anna, [bea])
    assert library.answers(asked) == {anna: "pending"}
    assert library.answers(asked_both) == {anna: "pending"}
    assert library.answers(refused) == {anna: "rejected", bea: "rejected"}
    assert library.answers(refused_and_asked) == {anna: "rejected", bea: "rejected"}


def test_a_refusal_holds_through_a_merge_against_the_engine_but_not_against_people(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    found_hers, found_beas = (library.face(person_id=p, assigned_by="engine", similarity=0.6) for p in (anna, bea))
    named_hers, named_beas = (library.face(person_id=p, assigned_by="person") for p in (anna, bea))
    for face, other in ((found_hers, bea), (found_beas, anna), (named_hers, bea), (named_beas, anna)):
        library.suggest(face, other, status="rejected")
    library.do(persons.merge, anna, [bea])
    assert library.owners([found_hers, found_beas, named_hers, named_beas]) == [None, None, anna, anna]
    assert library.answers(found_hers)[anna] == library.answers(found_beas)[anna] == "rejected"
    assert library.answers(named_beas) == {anna: "accepted"}


def test_a_deleted_persons_faces_are_unknown_and_unasked_but_what_was_refused_stays_so(library: Library) -> None:
    anna = library.person("Anna")
    mine = library.faces(2, person_id=anna, assigned_by="person", clustered_at=sa.func.now())
    asked, refused = library.faces(2)
    library.suggest(asked, anna)
    library.suggest(refused, anna, status="rejected")
    change = library.do(persons.delete, anna)
    assert change.sentence == "Anna is deleted; 2 faces are unknown again."
    assert library.owners(mine) == [None, None]
    assert library.row(mine[0]).clustered_at is None
    assert [library.answers(id) for id in (*mine, asked, refused)] == [{}, {}, {}, {anna: "rejected"}]
    with pytest.raises(NoSuchPerson):
        library.do(persons.delete, anna)


# Suggestions


def test_accepted_faces_are_these_persons_and_refused_for_whom_the_engine_took_them(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    unknown, taken = library.face(), library.face(person_id=bea, assigned_by="engine")
    library.suggest(unknown, anna)
    library.suggest(taken, anna)
    change = library.do(suggestions.accept, [(unknown, anna), (taken, anna)])
    assert (change.faces, change.person_id, change.sentence) == (2, anna, "2 faces are now Anna.")
    assert library.owners([unknown, taken]) == [anna, anna]
    assert library.row(unknown).assigned_by == "person"
    assert library.answers(taken) == {anna: "accepted", bea: "rejected"}


def test_one_face_accepted_for_two_goes_to_the_first(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    face, other = library.faces(2)
    library.suggest(face, anna)
    library.suggest(face, bea)
    library.suggest(other, bea)
    change = library.do(suggestions.accept, [(face, bea), (face, anna), (other, bea)])
    assert library.owners([face, other]) == [bea, bea]
    assert (change.faces, change.skipped, change.sentence) == (2, 1, "2 faces are now who they were suggested to be.")


def test_a_refused_suggestion_holds(library: Library) -> None:
    anna = library.person("Anna")
    face = library.face()
    library.suggest(face, anna)
    change = library.do(suggestions.reject, [(face, anna)])
    assert (change.faces, change.sentence) == (1, "1 face is not Anna.")
    assert library.answers(face) == {anna: "rejected"}
    with pytest.raises(NoSuchSuggestion):
        library.do(suggestions.accept, [(face, anna)])
    assert library.owners([face]) == [None]


def test_what_somebody_else_decided_meanwhile_is_left_so_and_counted(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    mine, named, refused, gone = library.faces(4)
    for face in (mine, named, refused):
        library.suggest(face, anna)
    library.do(faces.assign, [named], bea)
    library.do(suggestions.reject, [(refused, anna)])
    change = library.do(suggestions.accept, [(face, anna) for face in (mine, named, refused, gone)])
    assert (change.faces, change.skipped) == (1, 3)
    assert library.owners([mine, named, refused, gone]) == [anna, bea, None, None]


def test_the_same_answer_sent_twice_is_no_error(library: Library) -> None:
    anna, (yes, no) = library.person("Anna"), library.faces(2)
    library.suggest(yes, anna)
    library.suggest(no, anna)
    for _ in range(2):
        accepted = library.do(suggestions.accept, [(yes, anna)])
        refused = library.do(suggestions.reject, [(no, anna)])
    assert (accepted.faces, accepted.skipped, refused.faces, refused.skipped) == (0, 0, 0, 0)


def test_a_suggestion_of_nobody_or_no_face_is_an_error(library: Library) -> None:
    anna, face = library.person("Anna"), library.face()
    with pytest.raises(NoSuchSuggestion):
        library.do(suggestions.accept, [(face, anna)])
    with pytest.raises(NoSuchPerson):
        library.do(suggestions.accept, [(face, 4711)])
    with pytest.raises(NoSuchFace):
        library.do(suggestions.reject, [(uuid4(), anna)])


# What is remembered, and what the stores hear


def test_changes_are_listed_newest_first_by_pages(library: Library) -> None:
    anna, members = library.person("Anna"), library.faces(3)
    made = [library.do(faces.assign, [id], anna).id for id in members]
    assert [change.id for change in library.do(changes.list_changes, 2)] == [made[2], made[1]]
    assert [change.id for change in library.do(changes.list_changes, 2, made[1])] == [made[0]]
    assert library.do(changes.read_change, made[0]).sentence == "1 face is now Anna."
    with pytest.raises(NoSuchChange):
        library.do(changes.read_change, made[-1] + 1)


def test_old_changes_are_forgotten_as_new_ones_are_made(library: Library) -> None:
    anna, members = library.person("Anna"), library.faces(3)
    made = [library.do(faces.assign, [id], anna).id for id in members[:2]]
    age = sa.text("UPDATE people_changes SET created_at = now() - make_interval(hours => :hours) WHERE id = :id")
    library.do(lambda c: c.execute(age, [{"id": made[0], "hours": 49}, {"id": made[1], "hours": 25}]))
    assert library.do(changes.list_changes, 9) == []
    newest = library.do(faces.assign, members[2:], anna)
    left = library.do(lambda c: c.scalars(sa.text("SELECT id FROM people_changes ORDER BY id")).all())
    assert left == [made[1], newest.id]


def test_stores_hear_of_photos_whose_people_changed_and_persons_whose_named_faces_did(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    named, found, unknown = (
        library.face(person_id=bea, assigned_by="person"),
        library.face(person_id=bea, assigned_by="engine"),
        library.face(),
    )
    photo = {id: library.row(id).asset_id for id in (named, found, unknown)}
    library.do(faces.assign, [named, unknown], anna)
    assert library.told() == ({photo[named], photo[unknown]}, {anna, bea})
    library.do(faces.unassign, [found])
    assert library.told() == ({photo[found]}, set())
    library.do(faces.ignore, [named])
    assert library.told() == (set(), {anna})
    library.do(persons.rename, anna, "Anne")
    assert library.told() == (set(), set())


def test_every_error_has_a_code_and_a_sentence() -> None:
    for error in (NoSuchPerson(3), NameTaken("Anna", 3), NoSuchSuggestion(), InvalidName(200)):
        assert isinstance(error, PeopleError)
        assert error.code == type(error).__name__
        assert error.sentence.endswith(".")


def test_naming_ten_thousand_faces_takes_a_handful_of_statements(library: Library, engine: sa.Engine) -> None:
    group, (face,) = library.cluster(1)
    library.do(
        lambda c: c.execute(
            sa.text("""
                INSERT INTO face_instances
                    (id, asset_id, content_sha256, model_id, ordinal, box_left, box_top, box_right, box_bottom,
                     confidence, quality, embedding_sha256, session_id, cluster_id)
                SELECT gen_random_uuid(), asset_id, content_sha256, model_id, n, 0, 0, 1, 1, 1, 1, '', session_id,
                       cluster_id
                FROM face_instances, generate_series(1, 9999) n WHERE id = :face
            """),
            {"face": face},
        )
    )
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    change = library.do(clusters.name, group, name="Anna")
    named = len(statements)
    library.do(changes.undo, change.id)
    sa.event.remove(engine, "before_cursor_execute", note)
    assert change.faces == 10_000
    assert named < 25
    assert len(statements) - named < 25
    assert library.row(face).cluster_id == group
