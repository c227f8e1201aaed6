"""A face found again keeps its person: by lower thresholds, in a changed photo, by another network.

The networks are fakes (tests/engines.py); everything else is real.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image

from jobs.detect import DetectStep
from tests import libraries
from tests.engines import FakeFaces
from tests.hand_jobs import HandJobs
from tests.local_runs import Run, data_directory, running
from tests.named_faces import call, faces_of, ignore, names_in, person, refuse, tell
from tests.natural_keys import check_payloads, check_vectors, everything
from trainyard.lifecycle import ENDED
from trainyard.people import changes, persons
from trainyard.summary import read_summary

PHOTOS = 12
LOWER = {"min_face_size_px": 10.0}
ANNA, BELA, CARL = 0, 1, 2  # as tests.libraries plants them
STRANGERS = (11, 12)  # whom the fake network takes for neither Anna nor Bela: it is not that good


class Killed(BaseException):
    """A worker's sudden death: nothing in it gets to tidy up."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Run]:
    with data_directory() as folder, running(folder) as run:
        yield run


@pytest.fixture
def run(shared: Run) -> Iterator[Run]:
    card = shared.engines.fake_faces.card
    yield shared
    shared.engines.fake_faces.card = card


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return libraries.write_photos(tmp_path / "photos", PHOTOS)


def with_a_small_face(number: int, people: tuple[int, ...]) -> Image.Image:
    """The photo, with another face above all others that is too small for the usual thresholds."""
    picture = libraries.photo(number, people)
    planted = libraries.photo(1_000, (7,)).crop((12, 20, 84, 92))
    picture.paste(planted.resize((18, 18), Image.Resampling.NEAREST), (280, 2))
    return picture


def smaller(number: int, people: tuple[int, ...]) -> Image.Image:
    picture = libraries.photo(number, people)
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.NEAREST)


def save(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "PNG", compress_level=1)
    return path


def another_network(run: Run, name: str = "another") -> None:
    """Use it from now on; of its vectors nobody knows anything yet."""
    known = run.engines.fake_faces.card
    run.engines.fake_faces.card = replace(known, name=name, weights_sha256=name * 9, collection=f"faces-{name}")


def test_lower_thresholds_find_more_and_every_name_stays_with_its_face(run: Run, photos: Path) -> None:
    """The new face is the first by position: every other one's number, and with it its id, is another then."""
    photo = save(with_a_small_face(50, (ANNA, BELA, CARL)), photos / "three.png")
    run.run(photos)
    anna, bela, carl = faces_of(run, photo)
    call(run, "Anna Low", anna.id)
    refuse(run, "Bela Low", bela.id)
    ignore(run, carl.id)
    run.database.transact(lambda connection: persons.set_cover(connection, person(run, "Anna Low"), anna.id))
    tell(run)
    run.run(photos, **LOWER)
    new, anna_now, bela_now, carl_now = faces_of(run, photo)
    assert [face.person for face in (new, anna_now, bela_now, carl_now)] == [None, "Anna Low", None, None]
    assert (anna_now.id, anna_now.box_left, anna_now.assigned_by) == (bela.id, anna.box_left, "person")
    assert [face.ignored_at is not None for face in (new, anna_now, bela_now, carl_now)] == [False, False, False, True]
    assert refusals(run, photo) == {bela_now.id: ["Bela Low"]}
    assert cover(run, "Anna Low") == anna_now.id
    assert prototypes(run, "Anna Low") == [(anna_now.id, anna.embedding_sha256)]
    check_vectors(run)
    check_payloads(run)


def refusals(run: Run, photo: Path) -> dict[Any, list[str]]:
    ids = [face.id for face in faces_of(run, photo)]
    rows = run.rows(
        "SELECT s.face_id, p.name FROM face_suggestions s JOIN persons p ON p.id = s.person_id "
        "WHERE s.status = 'rejected' AND s.face_id = ANY(:ids) ORDER BY p.name",
        ids=ids,
    )
    return {face_id: [row.name for row in rows if row.face_id == face_id] for face_id in {row.face_id for row in rows}}


def cover(run: Run, name: str) -> Any:
    return run.rows("SELECT cover_face_id FROM persons WHERE name = :name", name=name)[0].cover_face_id


def prototypes(run: Run, name: str) -> list[tuple[Any, bytes]]:
    """Of the network used now: whose face, and the hash of the embedding that its row has."""
    rows = run.rows(
        "SELECT t.face_id, f.embedding_sha256 FROM person_prototypes t JOIN persons p ON p.id = t.person_id "
        "JOIN models m ON m.id = t.model_id LEFT JOIN face_instances f ON f.id = t.face_id "
        "WHERE p.name = :name AND m.weights_sha256 = :model AND t.retired_at IS NULL ORDER BY f.ordinal",
        name=name,
        model=run.engines.fake_faces.card.weights_sha256,
    )
    return [(row.face_id, row.embedding_sha256) for row in rows]


def test_what_was_done_before_a_photo_was_searched_again_can_still_be_undone(run: Run, photos: Path) -> None:
    photo = save(with_a_small_face(51, (ANNA, BELA)), photos / "two.png")
    run.run(photos)
    call(run, "Anna Undone", faces_of(run, photo)[0].id)
    (last,) = run.rows("SELECT max(id) AS id FROM people_changes")
    run.run(photos, **LOWER)
    assert names_in(run, photo)[1] == "Anna Undone"
    undone = run.database.transact(lambda connection: changes.undo(connection, last.id))
    assert (undone.faces, undone.skipped) == (1, 0)
    assert "Anna Undone" not in names_in(run, photo)


def test_a_photo_saved_smaller_keeps_its_people(run: Run, photos: Path) -> None:
    photo = photos / "b/photo 000.png"
    run.run(photos)
    anna, bela = faces_of(run, photo)
    call(run, "Anna Small", anna.id)
    ignore(run, bela.id)
    save(smaller(0, (ANNA, BELA)), photo)
    run.run(photos)
    now, ignored = faces_of(run, photo)
    assert (now.person, now.photo_width, now.box_left) == ("Anna Small", 160, anna.box_left / 2)
    assert ignored.ignored_at is not None
    assert {face.id for face in (now, ignored)} & {anna.id, bela.id} == set()
    assert prototypes(run, "Anna Small") == [(now.id, now.embedding_sha256)]
    check_vectors(run)
    check_payloads(run)


def test_another_picture_under_the_same_name_does_not_keep_the_names_of_those_who_were_there(
    run: Run, photos: Path
) -> None:
    """Portraits have their faces in the same place, whoever it is."""
    photo = photos / "b/photo 000.png"
    run.run(photos)
    call(run, "Anna Replaced", *(face.id for face in faces_of(run, photo)))
    libraries.write_photo(photo, 800, STRANGERS)
    run.run(photos)
    assert names_in(run, photo) == [None, None]
    assert prototypes(run, "Anna Replaced") == []
    check_vectors(run)
    check_payloads(run)


def test_a_photo_that_lost_a_face_says_so(run: Run, photos: Path) -> None:
    photo = photos / "b/photo 000.png"
    run.run(photos)
    call(run, "Anna Lost", *(face.id for face in faces_of(run, photo)))
    libraries.write_photo(photo, 0)
    run.run(photos)
    assert names_in(run, photo) == []
    check_payloads(run)


# What people do meanwhile


def between(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Have people act between the publishing of a batch's points and the commit of its rows."""
    publish, left = DetectStep.publish, [work]

    def act(*arguments: Any) -> None:
        publish(*arguments)
        if left:
            left.pop()()

    monkeypatch.setattr(DetectStep, "publish", act)


def test_what_people_say_while_a_photo_is_searched_again_is_kept(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = save(with_a_small_face(53, (ANNA, BELA, CARL)), photos / "three.png")
    run.run(photos)
    anna, bela, carl = faces_of(run, photo)

    def people_act() -> None:
        call(run, "Anna Meanwhile", anna.id)
        refuse(run, "Bela Meanwhile", bela.id)
        ignore(run, carl.id)

    between(monkeypatch, people_act)
    run.run(photos, **LOWER)
    new, anna_now, bela_now, carl_now = faces_of(run, photo)
    assert [face.person for face in (new, anna_now, bela_now)] == [None, "Anna Meanwhile", None]
    assert refusals(run, photo) == {bela_now.id: ["Bela Meanwhile"]}
    assert carl_now.ignored_at is not None
    check_payloads(run)


@pytest.mark.parametrize("act", ["delete", "merge"])
def test_nobody_is_given_a_face_who_has_gone_since_it_was_decided(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    name = f"Anna to {act}"
    run.run(photos)
    call(run, name, *(faces_of(run, photos / f"b/photo {number:03}.png")[0].id for number in (0, 4, 8)))
    tell(run)
    new = save(libraries.photo(700, (ANNA,)), photos / "new.png")
    gone = person(run, name)

    def people_act() -> None:
        if act == "merge":
            run.database.transact(lambda c: persons.merge(c, persons.person_named(c, "Anna Kept"), [gone]))
        else:
            run.database.transact(lambda c: persons.delete(c, gone))

    between(monkeypatch, people_act)
    run.run(photos)
    assert names_in(run, new) == [None]
    assert run.rows("SELECT id FROM face_instances WHERE person_id = :id", id=gone) == []
    assert run.rows("SELECT face_id FROM face_suggestions WHERE person_id = :id AND status = 'pending'", id=gone) == []
    check_payloads(run)


# By another network


def test_another_network_takes_over_whatever_was_said_and_becomes_the_active_one(photos: Path) -> None:
    with data_directory() as folder, running(folder) as run:
        photo = save(libraries.photo(52, (ANNA, BELA, CARL)), photos / "three.png")
        run.run(photos)
        anna, bela, carl = faces_of(run, photo)
        call(run, "Anna", anna.id)
        refuse(run, "Bela", bela.id)
        ignore(run, carl.id)
        run.database.transact(lambda connection: persons.set_cover(connection, person(run, "Anna"), anna.id))
        tell(run)
        before = run.rows(OPEN_GROUPS)
        another_network(run)
        run.run(photos)
        anna_now, bela_now, carl_now = faces_of(run, photo)
        assert (anna_now.person, bela_now.person, carl_now.ignored_at is not None) == ("Anna", None, True)
        assert refusals(run, photo) == {bela_now.id: ["Bela"]}
        assert active(run) == "another"
        assert cover(run, "Anna") == anna_now.id
        assert prototypes(run, "Anna") == [(anna_now.id, anna_now.embedding_sha256)]
        assert len(run.rows(OPEN_GROUPS)) > len(before)  # those of the other network are left as they are
        check_vectors(run)
        check_payloads(run)


OPEN_GROUPS = "SELECT id FROM face_clusters WHERE closed_at IS NULL"


def active(run: Run) -> str:
    (row,) = run.rows("SELECT name FROM models WHERE kind = 'face' AND active")
    return str(row.name)


def test_a_network_that_has_not_searched_every_photo_is_not_active(photos: Path) -> None:
    with data_directory() as folder, running(folder) as run:
        run.run(photos)
        another_network(run)
        run.run(photos / "a")
        assert active(run) == "fake"
        run.run(photos / "b")
        assert active(run) == "another"


def test_it_becomes_active_although_everybody_is_known_or_ignored(photos: Path) -> None:
    """There is nothing to group then, and clustering is where that is decided."""
    with data_directory() as folder, running(folder) as run:
        run.run(photos)
        ignore(run, *(row.id for row in run.rows("SELECT id FROM face_instances")))
        another_network(run)
        assert run.run(photos)["overallStatus"] == "completed"
        assert active(run) == "another"


def test_what_people_said_while_it_searched_is_carried_over_too(photos: Path) -> None:
    """Named, taken back, and ignored after their photos were searched, before the groups were made."""
    photo, other = photos / "b/photo 000.png", photos / "a/photo 003.png"
    with data_directory() as folder, Run(folder) as run:
        jobs = HandJobs(run)
        end(run, jobs, run.begin(photos))
        first = [*faces_of(run, photo), *faces_of(run, other)]
        call(run, "Anna", first[0].id)
        tell(run)
        another_network(run)
        session = run.begin(photos)
        jobs.work_up_to("cluster")
        old = [row.id for row in first]
        call(run, "Bela", old[1])
        ignore(run, old[2])
        run.database.transact(lambda c: changes.undo(c, run.rows("SELECT min(id) AS id FROM people_changes")[0].id))
        assert [face.person for face in faces_of(run, photo)] == ["Anna", None]  # nobody was told yet
        end(run, jobs, session)
        assert [face.person for face in faces_of(run, photo)] == [None, "Bela"]
        assert faces_of(run, other)[0].ignored_at is not None
        assert active(run) == "another"
        check_payloads(run)


def test_what_was_done_before_another_network_took_over_can_still_be_undone(photos: Path) -> None:
    """Also where nothing is said any more of the faces that it was done to."""
    photo = photos / "b/photo 000.png"
    with data_directory() as folder, running(folder) as run:
        run.run(photos)
        call(run, "Anna", *(face.id for face in faces_of(run, photo)))
        deleted = run.database.transact(lambda connection: persons.delete(connection, person(run, "Anna")))
        another_network(run)
        run.run(photos)
        assert names_in(run, photo) == [None, None]
        undone = run.database.transact(lambda connection: changes.undo(connection, deleted.id))
        assert (undone.faces, undone.skipped) == (2, 0)
        assert names_in(run, photo) == ["Anna", "Anna"]
        tell(run)
        check_payloads(run)


def end(run: Run, jobs: HandJobs, session: int) -> None:
    """Do the Jobs there are until the session has ended."""

    def status(connection: sa.Connection) -> str:
        return str(read_summary(connection, session)["overallStatus"])

    jobs.settle()
    while run.database.transact(status) not in ENDED:
        jobs.work()


# Interruptions


@pytest.mark.parametrize("seam", ["publish", "store", "committed"])
def test_a_death_on_the_way_changes_nothing_of_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seam: str
) -> None:
    """One of the two libraries is searched again without a disturbance, the other with one."""
    undisturbed = searched_again(tmp_path, monkeypatch, None)
    assert {face["person"] for face in undisturbed["faces"]} >= {"Anna", "Bela"}
    disturbed = searched_again(tmp_path, monkeypatch, seam)
    for name, rows in undisturbed.items():
        assert disturbed[name] == rows, name


def searched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seam: str | None) -> dict[str, Any]:
    photos = tmp_path / "library"
    for number in range(6):
        os.utime(save(with_a_small_face(number, (ANNA, BELA)), photos / f"{number}.png"), ns=(1_000, 1_000))
    with data_directory() as folder, Run(folder, loaders=1, detect_batch=2) as run:
        jobs = HandJobs(run)
        end(run, jobs, run.begin(photos))
        for photo in ("0.png", "1.png", "5.png"):
            for name, face in zip(("Anna", "Bela"), faces_of(run, photos / photo), strict=True):
                call(run, name, face.id)
        refuse(run, "Anna", faces_of(run, photos / "2.png")[0].id)
        tell(run)
        save(smaller(1, (ANNA, BELA)), photos / "1.png")
        libraries.write_photo(photos / "5.png", 600, STRANGERS)
        for photo in ("1.png", "5.png"):
            os.utime(photos / photo, ns=(2_000, 2_000))
        session = run.begin(photos, **LOWER)
        if seam:
            jobs.work_up_to("detect")
            monkeypatch.setattr(DetectStep, seam, dying_after(getattr(DetectStep, seam), calls=2))
            with pytest.raises(Killed):
                jobs.work()
            monkeypatch.undo()
        end(run, jobs, session)
        check_payloads(run)
        return everything(run)


def dying_after(work: Any, calls: int) -> Any:
    """`work`, which kills its worker at the end of this many calls."""
    left = [calls]

    def act(*arguments: Any) -> Any:
        result = work(*arguments)
        left[0] -= 1
        if not left[0]:
            raise Killed
        return result

    return act


def test_the_fakes_see_what_is_planted(photos: Path) -> None:
    """Of the small face nothing is known by the usual thresholds, and its patterns outlive being made smaller."""
    import numpy as np

    found = FakeFaces().detect(np.asarray(with_a_small_face(1, (ANNA, BELA))), 0.5)
    assert sorted(face.box[2] - face.box[0] for face in found) == [18.0, 72.0, 72.0]
