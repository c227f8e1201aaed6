"""Several people at once, beside workers: each waits for the other, nobody in a circle, and every row makes sense."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from jobs.assignment import Decision
from jobs.suggestions import hold_persons, store_suggestions
from tests.people_rows import NONSENSE, Everybody, Library, forget_all
from trainyard.people import changes, clusters, faces, persons, suggestions
from trainyard.people.changes import Change
from trainyard.people.errors import AlreadyUndone, NameTaken, NoSuchCluster, NoSuchPerson, PeopleError

PEOPLE = 4
DOINGS_EACH = 40


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(module_database_url, pool_size=PEOPLE + 2)
    yield engine
    engine.dispose()


@pytest.fixture
def library(engine: sa.Engine) -> Iterator[Library]:
    yield Library.made(engine)
    forget_all(engine)


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each gives or raises, begun at the same moment."""
    barrier = Barrier(len(works))

    def begin(work: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return work()
        except PeopleError as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(begin, works))


def kinds(results: list[Any]) -> set[type]:
    return {type(result) for result in results}


def test_one_of_two_who_name_a_group_at_once_is_told_that_it_is_gone(library: Library) -> None:
    group, members = library.cluster(5)
    results = at_once(*(lambda n=name: library.do(clusters.name, group, name=n) for name in ("Anna", "Bea")))
    assert kinds(results) == {Change, NoSuchCluster}
    (named,) = library.people().items()  # the other was not made
    assert library.owners(members) == [named[1]] * 5


def test_two_who_give_the_same_new_name_mean_one_person(library: Library) -> None:
    groups = [library.cluster(2)[0] for _ in range(PEOPLE)]
    results = at_once(*(lambda g=group: library.do(clusters.name, g, name="Zoë") for group in groups))
    assert kinds(results) == {Change}
    assert len(library.people()) == 1


def test_of_two_who_take_a_name_at_once_one_gets_it(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    renamed = at_once(*(lambda p=person: library.do(persons.rename, p, "Carla") for person in (anna, bea)))
    assert kinds(renamed) == {Change, NameTaken}
    made = at_once(*(lambda: library.do(persons.create, "Dora") for _ in range(PEOPLE)))
    assert sorted(kinds(made), key=str) == sorted({int, NameTaken}, key=str)
    assert sum(isinstance(result, int) for result in made) == 1


def test_two_merged_into_each_other_at_once_are_one(library: Library) -> None:
    anna, bea = library.person("Anna"), library.person("Bea")
    mine = [library.face(person_id=person, assigned_by="person") for person in (anna, bea)]
    results = at_once(
        lambda: library.do(persons.merge, anna, [bea]),
        lambda: library.do(persons.merge, bea, [anna]),
    )
    assert kinds(results) == {Change, NoSuchPerson}
    (left,) = library.people().values()
    assert library.owners(mine) == [left, left]


def test_nobody_gives_a_face_to_somebody_who_is_being_deleted(library: Library) -> None:
    anna, face = library.person("Anna"), library.face()
    at_once(lambda: library.do(faces.assign, [face], anna), lambda: library.do(persons.delete, anna))
    assert library.owners([face]) == [None]
    assert library.do(lambda c: c.execute(NONSENSE).all()) == []


def test_a_change_is_undone_once(library: Library) -> None:
    anna, ids = library.person("Anna"), library.faces(3)
    change = library.do(faces.assign, ids, anna)
    results = at_once(*(lambda: library.do(changes.undo, change.id) for _ in range(PEOPLE)))
    assert kinds(results) == {Change, AlreadyUndone}
    assert sum(isinstance(result, Change) for result in results) == 1


def test_the_same_faces_in_any_order_are_locked_without_a_circle(library: Library) -> None:
    people = [library.person(name) for name in ("Anna", "Bea", "Carl", "Dora")]
    ids = library.faces(30)

    def assign(person: int, seed: int) -> Callable[[], Any]:
        order = random.Random(seed).sample(ids, len(ids))
        return lambda: [library.do(faces.assign, order, person) for _ in range(10)]

    at_once(*(assign(person, seed) for seed, person in enumerate(people)))
    assert len(set(library.owners(ids))) == 1


class Somebody:
    """Does whatever comes to mind, to whatever is there."""

    def __init__(self, library: Library, everybody: Everybody, seed: int) -> None:
        e = everybody
        self.library, self.random = library, random.Random(seed)
        self.faces = [*e.grouped, *e.others, *e.named, e.beas, *e.found, e.unknown]
        self.groups = [e.group, e.other_group]
        self.done: list[str] = []

    def __call__(self) -> list[str]:
        """The kinds of what was done."""
        for _ in range(DOINGS_EACH):
            try:
                self.done.append(self.library.do(self.doing()).kind)
            except PeopleError:  # somebody else was quicker
                continue
        return self.done

    def doing(self) -> Callable[[sa.Connection], Change]:
        some, group = self.random.sample(self.faces, self.random.randint(1, 6)), self.random.choice(self.groups)
        name, ignored = self.random.choice(["Anna", "Bea", "Carl", "Dora"]), self.random.random() < 0.5
        who, other = self.somebody(), self.somebody()
        return self.random.choice(
            [
                lambda c: faces.assign(c, some, who),
                lambda c: faces.assign(c, some, persons.person_named(c, name)),
                lambda c: faces.unassign(c, some),
                lambda c: faces.ignore(c, some, ignored),
                lambda c: persons.rename(c, who, name),
                lambda c: persons.merge(c, who, [other]),
                lambda c: persons.delete(c, who),
                lambda c: clusters.name(c, group, name=name),
                lambda c: clusters.dismiss(c, group),
                lambda c: suggestions.accept(c, [self.question()]),
                lambda c: suggestions.reject(c, [self.question()]),
                lambda c: changes.undo(c, self.random.choice(changes.list_changes(c, 9)).id),
                lambda c: changes.undo(c, self.random.choice(changes.list_changes(c, 9)).id),
            ]
        )

    def somebody(self) -> int:
        return self.random.choice(sorted(self.library.people().values()) or [0])

    def question(self) -> tuple[Any, int]:
        rows = self.library.everything()["suggestions"]
        return self.random.choice([(row[0], row[1]) for row in rows])


class Grouping:
    """As the step cluster does it: locks unknown faces by id, then changes the groups."""

    def __init__(self, library: Library, everybody: Everybody) -> None:
        self.library, self.group = library, everybody.group

    def __call__(self) -> None:
        for _ in range(DOINGS_EACH):
            self.library.do(self.regroup)

    def regroup(self, connection: sa.Connection) -> None:
        unknown = "SELECT id FROM face_instances WHERE person_id IS NULL AND ignored_at IS NULL ORDER BY id FOR UPDATE"
        ids = connection.scalars(sa.text(unknown)).all()
        connection.execute(sa.text("UPDATE face_clusters SET size = :size"), {"size": len(ids)})
        grouped = """
            UPDATE face_instances SET cluster_id = :group, clustered_at = clock_timestamp()
            WHERE id = ANY(:ids) AND cluster_id IS NULL
        """
        connection.execute(sa.text(grouped), {"group": self.group, "ids": ids})


class Engine:
    """As the steps detect and assign do it: holds the persons, locks unknown faces, gives and suggests."""

    def __init__(self, library: Library, everybody: Everybody) -> None:
        self.library = library

    def __call__(self) -> None:
        for number in range(DOINGS_EACH):
            self.library.do(self.decide, number)

    def decide(self, connection: sa.Connection, number: int) -> None:
        there = sorted(hold_persons(connection, range(1, 6)))
        if not there:
            return
        unknown = """SELECT id FROM face_instances WHERE person_id IS NULL AND ignored_at IS NULL
                     ORDER BY id FOR UPDATE"""
        ids = list(connection.scalars(sa.text(unknown)))[:2]
        if number % 2:
            decided = [(id, Decision(suggested_person_id=there[0], similarity=0.45)) for id in ids]
            store_suggestions(connection, self.library.session, decided)
            return
        give = """
            UPDATE face_instances f SET person_id = :who, assigned_by = 'engine', similarity = 0.6, cluster_id = NULL
            WHERE id = ANY(:ids) AND NOT EXISTS (
                SELECT FROM face_suggestions s
                WHERE s.face_id = f.id AND s.person_id = :who AND s.status = 'rejected')
            RETURNING id
        """
        given = connection.scalars(sa.text(give), {"who": there[-1], "ids": ids}).all()
        store_suggestions(connection, self.library.session, [(id, Decision()) for id in given])


def test_whatever_several_do_at_once_beside_workers_rows_make_sense(library: Library) -> None:
    """Nobody deadlocks: that would be an error that is none of people's."""
    everybody = Everybody(library)
    workers = (Grouping(library, everybody), Engine(library, everybody))
    *_, first, second, third = at_once(*workers, *(Somebody(library, everybody, seed) for seed in range(3)))
    assert {"assign", "unassign"} <= {*first, *second, *third}
    assert library.do(lambda c: c.execute(NONSENSE).all()) == []
