"""Taking back what people did: each kind, after other changes, and after any sequence of them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.people_rows import NONSENSE, Everybody, Library, forget_all
from trainyard.people import changes, clusters, faces, persons, suggestions
from trainyard.people.changes import Change
from trainyard.people.errors import AlreadyUndone, NameTaken, NoSuchChange, PeopleError, TooLateToUndo


@pytest.fixture
def library(engine: sa.Engine) -> Iterator[Library]:
    yield Library.made(engine)
    forget_all(engine)


KINDS: dict[str, Callable[[sa.Connection, Everybody], Change]] = {
    "assign": lambda c, e: faces.assign(c, [*e.grouped, e.found[0], e.named[0], e.ignored, e.unknown], e.bea),
    "unassign": lambda c, e: faces.unassign(c, [*e.named, *e.found, e.unknown]),
    "ignore": lambda c, e: faces.ignore(c, [e.grouped[0], e.named[0], e.unknown, e.ignored]),
    "look again": lambda c, e: faces.ignore(c, [e.ignored, e.unknown], ignored=False),
    "rename": lambda c, e: persons.rename(c, e.anna, "Anne"),
    "merge": lambda c, e: persons.merge(c, e.anna, [e.bea, e.carl]),
    "merge the other way": lambda c, e: persons.merge(c, e.bea, [e.anna]),
    "delete": lambda c, e: persons.delete(c, e.anna),
    "name": lambda c, e: clusters.name(c, e.group, person_id=e.bea),
    "name somebody new": lambda c, e: clusters.name(c, e.group, name="Dora"),
    "dismiss": lambda c, e: clusters.dismiss(c, e.group),
    "accept": lambda c, e: suggestions.accept(c, [(e.grouped[0], e.anna), (e.grouped[1], e.bea), (e.unknown, e.carl)]),
    "reject": lambda c, e: suggestions.reject(c, [(e.grouped[0], e.anna), (e.unknown, e.anna)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_undone_everything_is_as_before(library: Library, kind: str) -> None:
    everybody = Everybody(library)
    before = library.everything()
    change = library.do(KINDS[kind], everybody)
    assert library.everything() != before
    told = library.told()
    undone = library.do(changes.undo, change.id)
    assert library.everything() == before
    assert undone.skipped == 0
    assert undone.undone_at is not None
    assert undone.sentence == f"Undone: {change.sentence}"
    assert library.told() == told
    with pytest.raises(AlreadyUndone):
        library.do(changes.undo, change.id)


def test_faces_changed_since_stay_and_are_counted(library: Library) -> None:
    everybody = Everybody(library)
    change = library.do(clusters.name, everybody.group, name="Dora")
    moved, ignored, left = everybody.grouped
    library.do(faces.assign, [moved], everybody.carl)
    library.do(faces.ignore, [ignored])
    undone = library.do(changes.undo, change.id)
    dora = undone.person_id
    assert library.owners(everybody.grouped) == [everybody.carl, dora, None]
    assert library.row(left).cluster_id == everybody.group
    assert undone.skipped == 2
    assert undone.sentence.endswith("What changed since, 2 of them, stayed as it was.")
    assert library.people()["Dora"] == dora  # a face is still hers
    assert library.answers(moved) == {dora: "rejected"}


def test_what_a_person_confirmed_since_stays(library: Library) -> None:
    everybody = Everybody(library)
    change = library.do(persons.merge, everybody.anna, [everybody.bea])
    library.do(faces.assign, [everybody.found[1]], everybody.anna)
    undone = library.do(changes.undo, change.id)
    assert library.owners([everybody.beas, everybody.found[1]]) == [everybody.bea, everybody.anna]
    assert undone.skipped == 1


def test_a_face_taken_away_and_given_back_since_stays_unless_that_is_undone_first(library: Library) -> None:
    everybody = Everybody(library)
    first, *others = everybody.grouped
    change = library.do(faces.assign, everybody.grouped, everybody.carl)
    since = library.do(faces.unassign, [first]), library.do(faces.assign, [first], everybody.carl)
    assert library.do(changes.undo, change.id).skipped == 1
    assert library.owners([first, *others]) == [everybody.carl, None, None]
    again = library.do(faces.assign, others, everybody.carl)
    later = library.do(faces.unassign, others)
    library.do(changes.undo, later.id)
    assert library.do(changes.undo, again.id).skipped == 0
    assert [library.do(changes.undo, made.id).skipped for made in reversed(since)] == [0, 0]
    assert library.owners([first]) == [everybody.carl]


def test_faces_that_are_gone_since_are_counted(library: Library) -> None:
    everybody = Everybody(library)
    change = library.do(faces.assign, [*everybody.grouped], everybody.carl)
    gone = sa.text("DELETE FROM face_instances WHERE id = :id")
    library.do(lambda c: c.execute(gone, {"id": everybody.grouped[0]}))
    assert library.do(changes.undo, change.id).skipped == 1
    assert library.owners(everybody.grouped[1:]) == [None, None]


def test_a_face_does_not_go_back_to_somebody_who_is_gone(library: Library) -> None:
    everybody = Everybody(library)
    change = library.do(faces.assign, everybody.named, everybody.bea)
    library.do(persons.delete, everybody.anna)
    assert library.do(changes.undo, change.id).skipped == 2
    assert library.owners(everybody.named) == [everybody.bea] * 2


def test_faces_of_a_group_that_was_closed_since_wait_for_the_next_grouping(library: Library) -> None:
    group, members = library.cluster(2)
    change = library.do(clusters.name, group, name="Dora")
    library.do(lambda c: c.execute(sa.text("UPDATE face_clusters SET closed_at = now()")))
    library.do(changes.undo, change.id)
    assert [(library.row(id).cluster_id, library.row(id).clustered_at) for id in members] == [(None, None)] * 2


def test_faces_unassigned_and_grouped_since_go_back_to_their_person(library: Library) -> None:
    everybody = Everybody(library)
    change = library.do(faces.unassign, everybody.named)
    grouped = sa.text("UPDATE face_instances SET cluster_id = :group, clustered_at = now() WHERE id = ANY(:ids)")
    library.do(lambda c: c.execute(grouped, {"group": everybody.group, "ids": everybody.named}))
    assert library.do(changes.undo, change.id).skipped == 0
    assert library.owners(everybody.named) == [everybody.anna] * 2
    assert library.row(everybody.named[0]).cluster_id is None


def test_a_face_that_the_engine_took_since_stays_the_engines(library: Library) -> None:
    everybody = Everybody(library)
    change = library.do(faces.unassign, everybody.named)
    taken = sa.text("UPDATE face_instances SET person_id = :carl, assigned_by = 'engine' WHERE id = ANY(:ids)")
    library.do(lambda c: c.execute(taken, {"carl": everybody.carl, "ids": everybody.named}))
    assert library.do(changes.undo, change.id).skipped == 2
    assert library.answers(everybody.named[0]) == {everybody.anna: "rejected"}


def test_a_person_made_by_a_name_stays_while_a_face_is_theirs(library: Library) -> None:
    everybody = Everybody(library)
    first = library.do(clusters.name, everybody.group, name="Dora")
    second = library.do(clusters.name, everybody.other_group, name="Dora")
    library.do(changes.undo, first.id)
    assert "Dora" in library.people()
    library.do(changes.undo, second.id)  # it did not make her
    assert "Dora" in library.people()


def test_a_person_made_for_single_faces_goes_with_the_undo_and_so_do_questions(library: Library) -> None:
    everybody = Everybody(library)

    def named_after(connection: sa.Connection) -> Change:
        return faces.assign(connection, everybody.grouped, persons.person_named(connection, "Dora"))

    change = library.do(named_after)
    library.suggest(everybody.unknown, library.people()["Dora"])
    library.do(changes.undo, change.id)
    assert "Dora" not in library.people()
    assert change.person_id not in library.answers(everybody.unknown)


def test_a_person_made_by_hand_stays_though_nobodys_face_is_theirs(library: Library) -> None:
    everybody = Everybody(library)
    dora = library.do(persons.create, "Dora")
    change = library.do(faces.assign, everybody.grouped, dora)
    library.do(changes.undo, change.id)
    assert library.people()["Dora"] == dora


@pytest.mark.parametrize("kind", ["rename", "merge", "delete"])
def test_a_name_that_is_taken_meanwhile_is_not_given_back(library: Library, kind: str) -> None:
    everybody = Everybody(library)
    change = library.do(KINDS[kind], everybody)
    name = "Bea" if kind == "merge" else "Anna"
    other = library.do(persons.create, name)
    before = library.everything()
    with pytest.raises(NameTaken, match=f"called {name} already") as refused:
        library.do(changes.undo, change.id)
    assert refused.value.person_id == other
    assert library.everything() == before
    library.do(persons.rename, other, f"Another {name}")
    library.do(changes.undo, change.id)
    assert name in library.people()


def test_a_person_renamed_again_keeps_the_later_name(library: Library) -> None:
    everybody = Everybody(library)
    change = library.do(persons.rename, everybody.anna, "Anne")
    library.do(persons.rename, everybody.anna, "Annie")
    library.do(changes.undo, change.id)
    assert library.people()["Annie"] == everybody.anna


def test_a_group_dismissed_twice_comes_back_with_the_first_undone_alone(library: Library) -> None:
    everybody = Everybody(library)
    first, second = (library.do(clusters.dismiss, everybody.group) for _ in range(2))
    shown = sa.text("SELECT dismissed_at IS NULL FROM face_clusters WHERE id = :id")
    library.do(changes.undo, second.id)
    assert not library.do(lambda c: c.scalar(shown, {"id": everybody.group}))
    library.do(changes.undo, first.id)
    assert library.do(lambda c: c.scalar(shown, {"id": everybody.group}))


def test_a_question_decided_anew_since_stays_so(library: Library) -> None:
    everybody = Everybody(library)
    pairs = [(everybody.grouped[0], everybody.anna), (everybody.unknown, everybody.anna)]
    change = library.do(suggestions.reject, pairs)
    library.do(faces.assign, [everybody.unknown], everybody.anna)
    assert library.do(changes.undo, change.id).skipped == 1
    assert library.answers(everybody.grouped[0])[everybody.anna] == "pending"
    assert library.answers(everybody.unknown)[everybody.anna] == "accepted"


def test_undone_out_of_order_a_known_face_is_not_asked_about(library: Library) -> None:
    everybody = Everybody(library)
    face, bea = everybody.unknown, everybody.bea  # refused for her, and asked about Carl
    merged = library.do(persons.merge, everybody.carl, [bea])
    library.do(faces.assign, [face], everybody.carl)
    unassigned = library.do(faces.unassign, [face])
    library.do(changes.undo, merged.id)
    library.do(changes.undo, unassigned.id)
    assert library.owners([face]) == [everybody.carl]
    assert "pending" not in library.answers(face).values()
    _check_consistent(library)


def test_after_24_hours_it_is_too_late(library: Library) -> None:
    everybody = Everybody(library)
    change = library.do(faces.unassign, everybody.named)
    age = sa.text("UPDATE people_changes SET created_at = now() - interval '24 hours 1 second'")
    library.do(lambda c: c.execute(age))
    with pytest.raises(TooLateToUndo, match="more than 24 hours ago"):
        library.do(changes.undo, change.id)
    with pytest.raises(NoSuchChange):
        library.do(changes.undo, change.id + 1)


# Any sequence

FACES = 11
SOME_FACES = st.lists(st.integers(0, FACES - 1), min_size=1, max_size=5, unique=True)
SOMEBODY = st.integers(0, 3)
DOINGS = st.one_of(
    st.tuples(st.just("assign"), SOME_FACES, SOMEBODY),
    st.tuples(st.just("assign to"), SOME_FACES, st.sampled_from(["Anna", "Dora", "Emil"])),
    st.tuples(st.just("unassign"), SOME_FACES),
    st.tuples(st.just("ignore"), SOME_FACES, st.booleans()),
    st.tuples(st.just("rename"), SOMEBODY, st.sampled_from(["Anna", "Dora", "Emil", "bea"])),
    st.tuples(st.just("merge"), SOMEBODY, st.lists(SOMEBODY, min_size=1, max_size=3)),
    st.tuples(st.just("delete"), SOMEBODY),
    st.tuples(st.just("name"), st.integers(0, 1), st.sampled_from(["Anna", "Dora", "Emil"])),
    st.tuples(st.just("dismiss"), st.integers(0, 1)),
    st.tuples(st.just("accept"), st.integers(0, 9)),
    st.tuples(st.just("reject"), st.integers(0, 9)),
)


class Doer:
    """Does what was drawn, on whatever there is of it by then."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.everybody = Everybody(library)
        e = self.everybody
        self.faces = [*e.grouped, *e.others, *e.named, e.beas, *e.found, e.unknown]
        self.groups = [e.group, e.other_group]

    def do(self, what: str, *which: Any) -> Change | None:
        """The change; None where it was refused, which must leave everything as it was."""
        before = self.library.everything()
        try:
            return self.library.do(getattr(self, what.replace(" ", "_")), *which)
        except PeopleError:
            assert self.library.everything() == before
            return None

    def person(self, number: int) -> int:
        ids = sorted(self.library.people().values())
        return ids[number % len(ids)] if ids else 0

    def some(self, numbers: list[int]) -> list[Any]:
        return [self.faces[number] for number in numbers]

    def assign(self, connection: sa.Connection, numbers: list[int], person: int) -> Change:
        return faces.assign(connection, self.some(numbers), self.person(person))

    def assign_to(self, connection: sa.Connection, numbers: list[int], name: str) -> Change:
        return faces.assign(connection, self.some(numbers), persons.person_named(connection, name))

    def unassign(self, connection: sa.Connection, numbers: list[int]) -> Change:
        return faces.unassign(connection, self.some(numbers))

    def ignore(self, connection: sa.Connection, numbers: list[int], ignored: bool) -> Change:
        return faces.ignore(connection, self.some(numbers), ignored)

    def rename(self, connection: sa.Connection, person: int, name: str) -> Change:
        return persons.rename(connection, self.person(person), name)

    def merge(self, connection: sa.Connection, into: int, others: list[int]) -> Change:
        return persons.merge(connection, self.person(into), [self.person(other) for other in others])

    def delete(self, connection: sa.Connection, person: int) -> Change:
        return persons.delete(connection, self.person(person))

    def name(self, connection: sa.Connection, group: int, name: str) -> Change:
        return clusters.name(connection, self.groups[group], name=name)

    def dismiss(self, connection: sa.Connection, group: int) -> Change:
        return clusters.dismiss(connection, self.groups[group])

    def accept(self, connection: sa.Connection, number: int) -> Change:
        return suggestions.accept(connection, self.question(number))

    def reject(self, connection: sa.Connection, number: int) -> Change:
        return suggestions.reject(connection, self.question(number))

    def question(self, number: int) -> list[tuple[Any, int]]:
        pending = [(row[0], row[1]) for row in self.library.everything()["suggestions"] if row[3] == "pending"]
        return [pending[number % len(pending)]] if pending else []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DOINGS, min_size=1, max_size=7))
def test_any_sequence_undone_in_reverse_leaves_everything_as_before(engine: sa.Engine, doings: list[Any]) -> None:
    forget_all(engine)
    library = Library.made(engine)
    doer = Doer(library)
    before = library.everything()
    done = [change for what in doings if (change := doer.do(*what)) is not None]
    _check_consistent(library)
    for change in reversed(done):
        assert library.do(changes.undo, change.id).skipped == 0
        _check_consistent(library)
    assert library.everything() == before


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DOINGS, min_size=2, max_size=7), st.randoms(use_true_random=False))
def test_undone_in_any_order_rows_still_make_sense(engine: sa.Engine, doings: list[Any], random: Any) -> None:
    forget_all(engine)
    library = Library.made(engine)
    doer = Doer(library)
    done = [change for what in doings if (change := doer.do(*what)) is not None]
    random.shuffle(done)
    for change in done:
        try:
            library.do(changes.undo, change.id)
        except NameTaken:
            continue
        _check_consistent(library)


def _check_consistent(library: Library) -> None:
    assert library.do(lambda c: c.execute(NONSENSE).all()) == []
