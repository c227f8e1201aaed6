"""Groups beside people who name, ignore and dismiss, also while the groups are being made.

The networks are fakes (tests/engines.py); everything else is real.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa

from jobs import cluster
from tests import libraries
from tests.local_runs import Run, running
from tests.named_faces import call, ignore, person
from tests.natural_keys import check_payloads, check_vectors
from tests.people_libraries import Library, copied, library
from trainyard.people import changes, clusters, faces, persons

OPEN = """
    SELECT c.id, c.size, c.dismissed_at IS NOT NULL AS dismissed, array_agg(f.id ORDER BY f.id) AS faces
    FROM face_clusters c LEFT JOIN face_instances f ON f.cluster_id = c.id
    WHERE c.closed_at IS NULL GROUP BY c.id ORDER BY count(f.id) DESC, c.id
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with library(tmp_path_factory.mktemp("groups")) as made:
        yield made


@pytest.fixture
def copy(original: Library, tmp_path: Path) -> Iterator[Library]:
    with copied(original, tmp_path) as copy:
        yield copy


@pytest.fixture
def photos(copy: Library) -> Path:
    return copy.photos


@pytest.fixture
def run(copy: Library) -> Iterator[Run]:
    with running(copy.data_dir) as run:
        yield run


def groups(run: Run) -> list[Any]:
    """The open groups, the largest first."""
    return run.rows(OPEN)


def face(run: Run, id: UUID) -> Any:
    (row,) = run.rows("SELECT * FROM face_instances WHERE id = :id", id=id)
    return row


def all_grouped(run: Run, ids: list[UUID]) -> bool:
    """Whether these faces have had their turn, and are in groups."""
    return all(face(run, id).cluster_id is not None and face(run, id).clustered_at is not None for id in ids)


def add_photos_of(photos: Path, planted: int, first: int = 500, count: int = 3) -> None:
    for number in range(first, first + count):
        libraries.write_photo(photos / f"new {number}.png", number, (planted,))


def do(run: Run, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return run.database.transact(lambda connection: work(connection, *arguments, **options))


def test_a_dismissed_group_takes_in_new_faces_and_stays_dismissed(run: Run, photos: Path) -> None:
    before = {group.id: group for group in groups(run)}
    for id in before:
        do(run, clusters.dismiss, id)
    for planted in range(4):
        add_photos_of(photos, planted, first=500 + 10 * planted)
    summary = run.run(photos)
    after = groups(run)
    assert {group.id for group in after} == set(before)
    assert all(group.dismissed for group in after)
    assert sum(group.size for group in after) == sum(group.size for group in before.values()) + 12
    assert (summary["groups"], summary["clustersCreated"]) == (0, 0)


def test_a_group_that_breaks_off_a_dismissed_one_is_dismissed_too(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the engine makes of the faces next time is scripted: three groups of the dismissed one and of new faces."""
    dismissed, other = groups(run)[:2]
    do(run, clusters.dismiss, dismissed.id)
    add_photos_of(photos, 9, count=4)
    broken_off = dismissed.faces[:2]

    def scripted(vectors: Any, assets: Any, verification: float, progress: Any) -> Any:
        known = {id: 0 for id in dismissed.faces[2:]} | {id: 1 for id in other.faces}
        rest = iter([1, 2, 3, 3])  # the new faces: one to the other group, one to what broke off, two by themselves
        labels = [2 if id in broken_off else known.get(id, -1) for id in seen]
        news = [i for i, id in enumerate(seen) if id not in before]
        for i in news:
            labels[i] = next(rest)
        return np.array(labels, np.int64)

    seen: list[UUID] = []
    before = {row.id for row in run.rows("SELECT id FROM face_instances")}
    read = cluster._with_vectors

    def noted(*arguments: Any) -> Any:
        found, vectors = read(*arguments)
        seen.extend(found.ids)
        return found, vectors

    monkeypatch.setattr(cluster, "_with_vectors", noted)
    monkeypatch.setattr(cluster, "group_faces", scripted)
    summary = run.run(photos)
    now = {tuple(group.faces): group for group in groups(run)}
    by_face = {id: group for group in now.values() for id in group.faces or ()}
    assert by_face[broken_off[0]].id not in {dismissed.id, other.id}
    assert by_face[broken_off[0]].dismissed
    assert by_face[broken_off[0]].size == 3
    assert (by_face[dismissed.faces[2]].id, by_face[dismissed.faces[2]].dismissed) == (dismissed.id, True)
    assert (by_face[other.faces[0]].id, by_face[other.faces[0]].dismissed) == (other.id, False)
    assert sum(not group.dismissed for group in now.values()) == summary["groups"] == 2
    assert summary["clustersCreated"] == 1


def test_ignored_faces_are_in_no_group_and_do_not_ask_for_one(run: Run, photos: Path) -> None:
    group = groups(run)[0]
    ignore(run, *group.faces)
    run.run(photos)
    assert group.id not in {each.id for each in groups(run)}
    assert {face(run, id).cluster_id for id in group.faces} == {None}
    assert steps_of(run)["cluster"] == "completed"  # one group has gone
    run.run(photos)
    assert steps_of(run)["cluster"] == "skipped"


def steps_of(run: Run) -> dict[str, str]:
    """Of the newest session."""
    newest = "SELECT step, status FROM steps WHERE session_id = (SELECT max(id) FROM training_sessions)"
    return {row.step: row.status for row in run.rows(newest)}


# While the groups are made


def while_grouping(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Have people act between the reading of faces and the storing of groups."""
    group, left = cluster._group, [work]

    def act(*arguments: Any) -> Any:
        labels = group(*arguments)
        if left:
            left.pop()()
        return labels

    monkeypatch.setattr(cluster, "_group", act)


def test_whoever_is_named_while_groups_are_made_is_in_none(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, partly, dismissed = groups(run)[:3]

    def people_act() -> None:
        do(run, clusters.name, named.id, name="Anna")
        call(run, "Bela", partly.faces[0])
        ignore(run, partly.faces[1])
        do(run, clusters.dismiss, dismissed.id)

    add_photos_of(photos, 9)
    while_grouping(monkeypatch, people_act)
    run.run(photos)
    now = {group.id: group for group in groups(run)}
    assert named.id not in now
    assert {(row.cluster_id, row.person_id) for row in map(lambda id: face(run, id), named.faces)} == {
        (None, person(run, "Anna"))
    }
    assert set(now[partly.id].faces) == set(partly.faces[2:])
    assert now[partly.id].size == len(partly.faces) - 2
    assert now[dismissed.id].dismissed
    check_vectors(run)
    check_payloads(run)


def test_a_group_named_while_groups_are_made_comes_back_when_that_is_undone(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was closed meanwhile: its faces wait for the next time."""
    named = groups(run)[0]
    add_photos_of(photos, 9)
    while_grouping(monkeypatch, lambda: do(run, clusters.name, named.id, name="Anna"))
    run.run(photos)
    do(run, changes.undo, run.rows("SELECT max(id) AS id FROM people_changes")[0].id)
    assert {face(run, id).cluster_id for id in named.faces} == {None}
    run.run(photos)
    assert all_grouped(run, named.faces)


def test_a_person_deleted_while_groups_are_made_is_grouped_the_next_time(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those faces were not read: they must not pass for having had their turn."""
    group = groups(run)[0]
    do(run, clusters.name, group.id, name="Anna")
    add_photos_of(photos, 9)
    while_grouping(monkeypatch, lambda: do(run, persons.delete, person(run, "Anna")))
    run.run(photos)
    assert {face(run, id).clustered_at for id in group.faces} == {None}
    run.run(photos)
    assert all_grouped(run, group.faces)


def test_a_name_taken_back_while_groups_are_made_leaves_its_face_where_it_was(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = groups(run)[0]
    call(run, "Anna", group.faces[0])
    (named,) = run.rows("SELECT max(id) AS id FROM people_changes")
    add_photos_of(photos, 9)
    while_grouping(monkeypatch, lambda: do(run, changes.undo, named.id))
    run.run(photos)
    assert face(run, group.faces[0]).cluster_id == group.id
    run.run(photos)
    assert all_grouped(run, group.faces)


def test_a_face_unassigned_while_groups_are_made_waits_for_its_turn(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = groups(run)[0].faces[0]
    call(run, "Anna", one)
    add_photos_of(photos, 9)
    while_grouping(monkeypatch, lambda: do(run, faces.unassign, [one]))
    run.run(photos)
    assert (face(run, one).cluster_id, face(run, one).clustered_at) == (None, None)
    run.run(photos)
    assert all_grouped(run, [one])
    assert run.rows("SELECT id FROM face_instances WHERE clustered_at IS NULL AND person_id IS NULL") == []


def test_faces_that_are_known_leave_the_groups_an_older_version_left_them_in(run: Run, photos: Path) -> None:
    group = groups(run)[0]
    call(run, "Anna", group.faces[0])
    put_back = sa.text("UPDATE face_instances SET cluster_id = :group WHERE id = :face")
    do(run, lambda connection: connection.execute(put_back, {"group": group.id, "face": group.faces[0]}))
    add_photos_of(photos, 9)
    run.run(photos)
    assert face(run, group.faces[0]).cluster_id is None
