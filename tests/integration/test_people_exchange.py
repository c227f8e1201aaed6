"""People as a file: what is exported of one data directory is said in another one, made anew of the same photos.

Real stores and photos; the networks are fakes (tests/engines.py).
"""

import errno
import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import sqlalchemy as sa

from tests import libraries
from tests.command_line import Ask, trainyard
from tests.local_runs import data_directory, running
from tests.people_libraries import PHOTOS, Library, copied, faces_in, library, name_person, tell
from tests.served import served
from trainyard.database import Database
from trainyard.people import clusters, exchange, faces, persons
from trainyard.people.exchange_import import Imported, import_faces

__all__ = ["trainyard"]

# What is said of each face, under keys of the photos themselves.
SAID = """
    SELECT encode(f.content_sha256, 'hex') AS photo, f.box_left, f.box_top, p.name AS person, f.assigned_by,
           f.ignored_at IS NOT NULL AS ignored, coalesce(q.cover_face_id = f.id, false) AS cover,
           ARRAY(SELECT r.name FROM face_suggestions s JOIN persons r ON r.id = s.person_id
                 WHERE s.face_id = f.id AND s.status = 'rejected' ORDER BY r.name) AS refused,
           c.dismissed_at IS NOT NULL AS dismissed
    FROM face_instances f LEFT JOIN persons p ON p.id = f.person_id LEFT JOIN persons q ON q.cover_face_id = f.id
    LEFT JOIN face_clusters c ON c.id = f.cluster_id AND c.closed_at IS NULL
    ORDER BY f.content_sha256, f.box_left, f.box_top
"""
GROUP = "SELECT cluster_id FROM face_instances WHERE id = :id"
BY_ENGINE = """
    UPDATE face_instances SET person_id = :bob, assigned_by = 'engine', similarity = 0.93, cluster_id = NULL
    WHERE id = ANY(:ids)
"""
STANDING = """
    SELECT p.name, t.embedding FROM person_prototypes t JOIN persons p ON p.id = t.person_id
    WHERE t.retired_at IS NULL ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Anna is named by people, Bob in part by the engine; one face is ignored, one is not Bob, one group dismissed."""
    with library(tmp_path_factory.mktemp("library")) as made:
        with running(made.data_dir) as run:
            anna, bob = name_person(run, "Anna", 1), name_person(run, "Bob", 2, most=4)
            nobody, of_anna, of_bob, others = (faces_in(run, person) for person in range(4))
            with run.database.engine.begin() as connection:
                faces.ignore(connection, others[:1])
                faces.assign(connection, others[1:2], bob)
                faces.unassign(connection, others[1:2])
                persons.set_cover(connection, anna, of_anna[2])
                persons.create(connection, "Çiğdem, whom no photo shows")
                connection.execute(sa.text(BY_ENGINE), {"bob": bob, "ids": of_bob[4:]})
                group = connection.execute(sa.text(GROUP), {"id": nobody[0]}).scalar_one()
                clusters.dismiss(connection, group)
            tell(run)
        yield made


@pytest.fixture
def here(original: Library, tmp_path: Path) -> Iterator[Library]:
    with copied(original, tmp_path) as copy:
        yield copy


@pytest.fixture
def anew(original: Library) -> Iterator[Library]:
    """Another data directory, in which the same photos were run and nobody was named."""
    with data_directory() as data_dir:
        with running(data_dir) as run:
            run.run(original.photos)
        yield Library(data_dir, original.photos)


@pytest.fixture
def file(original: Library, tmp_path: Path, trainyard: Ask) -> Path:
    file = tmp_path / "people.json"
    answer = trainyard("people", "export", file, "--data-dir", original.data_dir)
    assert (answer.code, answer.out) == (0, ""), answer.err
    return file


def imported(ask: Ask, into: Library, file: Path) -> Imported:
    answer = ask("people", "import", file, "--json", "--data-dir", into.data_dir)
    assert answer.code == 0, answer.err
    return Imported(**json.loads(answer.out))


def said(library: Library) -> tuple[Any, ...]:
    with running(library.data_dir) as run:
        names = run.rows("SELECT name FROM persons WHERE deleted_at IS NULL ORDER BY name")
        return names, run.rows(SAID), run.rows(STANDING)


def records(file: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in json.loads(file.read_text()) if record["kind"] == kind]


def test_people_survive_a_data_directory_that_is_lost(here: Library, file: Path, trainyard: Ask) -> None:
    before = said(here)
    shutil.rmtree(here.data_dir)
    here.data_dir.mkdir()
    here.data_dir.chmod(0o711)
    with running(here.data_dir) as run:
        assert run.run(here.photos)["images"]["processed"] == PHOTOS
    first = imported(trainyard, here, file)
    assert first == Imported(persons_new=3, faces_changed=len(records(file, "face")), groups_dismissed=1)
    assert said(here) == before
    again = imported(trainyard, here, file)
    assert again == Imported(persons_known=3, faces_as_they_were=first.faces_changed, groups_as_they_were=1)
    assert said(here) == before
    with running(here.data_dir) as run:  # the vectors and prototypes know, too
        named = {row.id: row.person_id for row in run.rows("SELECT id, person_id FROM face_instances")}
        points = dict(point for page in run.vectors.payload_pages("faces-fake") for point in page)
        assert {id: payload.get("person_id") for id, payload in points.items()} == named
        assert run.rows("SELECT FROM outbox") == []


def test_the_file_names_people_photos_and_shares_of_them(original: Library, file: Path) -> None:
    header, *rest = json.loads(file.read_text())
    assert (header["kind"], header["version"], header["network"]) == ("trainyard-people", 1, "fake")
    assert [record["name"] for record in records(file, "person")] == ["Anna", "Bob", "Çiğdem, whom no photo shows"]
    of_faces = records(file, "face")
    assert {(face.get("person"), face.get("by")) for face in of_faces} == {
        ("Anna", "person"), ("Bob", "person"), ("Bob", "engine"), (None, None)
    }  # fmt: skip
    assert [face.get("ignored") for face in of_faces].count(True) == 1
    assert [face["rejected"] for face in of_faces if "rejected" in face] == [["Bob"]]
    width, height = libraries.WIDTH_PX, libraries.HEIGHT_PX
    first = [round(12 / width, 6), round(20 / height, 6), round(84 / width, 6), round(92 / height, 6)]
    assert first in [face["box"] for face in of_faces]
    assert len(rest) == 3 + len(of_faces) + 1
    assert file.stat().st_mode & 0o077 == 0  # it names people


def test_an_export_that_cannot_be_written_says_so_and_leaves_nothing(
    original: Library, tmp_path: Path, trainyard: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(database: Database, out: TextIO) -> int:
        out.write("[")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exchange, "export_people", fill_the_disk)
    given, file = ("--data-dir", original.data_dir), tmp_path / "people.json"
    full = trainyard("people", "export", file, *given)
    assert (full.code, f"{file} cannot be written: No space left on device." in full.err) == (2, True)
    folder = trainyard("people", "export", tmp_path, *given)
    assert (folder.code, f"{tmp_path} cannot be written: Is a directory." in folder.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_persons_are_listed_with_the_ids_that_commands_take(original: Library, trainyard: Ask) -> None:
    listed = trainyard("people", "list", "--json", "--data-dir", original.data_dir)
    assert [(row["name"], row["faces"] > 0) for row in json.loads(listed.out)] == [
        ("Anna", True), ("Bob", True), ("Çiğdem, whom no photo shows", False)
    ]  # fmt: skip
    table = trainyard("people", "list", "--data-dir", original.data_dir).out
    assert [line.split()[0] for line in table.splitlines()[1:]] == [
        str(row["personId"]) for row in json.loads(listed.out)
    ]


def test_what_people_said_here_stands_and_names_are_merged_ignoring_case(
    anew: Library, file: Path, trainyard: Ask
) -> None:
    with running(anew.data_dir) as run:
        zoe = name_person(run, "Zoe", 1, most=2)
        anna = name_person(run, "ANNA", 3, most=1)
        of_zoe = faces_in(run, 1)[:2]
        expected_of_anna = len(faces_in(run, 1)) - 2
    counts = imported(trainyard, anew, file)
    assert (counts.persons_new, counts.persons_known, counts.faces_kept) == (2, 1, 3)  # the ignored one is ANNA's here
    faces_of = "SELECT id FROM face_instances WHERE person_id = :id"
    with running(anew.data_dir) as run:
        assert {row.id for row in run.rows(faces_of, id=zoe)} == set(of_zoe)
        assert len(run.rows(faces_of, id=anna)) == expected_of_anna + 1


def test_faces_are_found_where_another_network_sees_them_a_little_otherwise(
    anew: Library, file: Path, trainyard: Ask
) -> None:
    with running(anew.data_dir) as run:
        shift = "UPDATE face_instances SET box_left = box_left + :px, box_right = box_right + :px"
        run.database.transact(lambda connection: connection.execute(sa.text(shift), {"px": 20.0}))
    assert imported(trainyard, anew, file).faces_changed == len(records(file, "face"))
    with running(anew.data_dir) as run:
        run.database.transact(lambda connection: connection.execute(sa.text(shift), {"px": 60.0}))
    assert imported(trainyard, anew, file).faces_not_found == len(records(file, "face"))


def test_copies_of_a_photo_are_all_given_its_people_and_other_photos_are_told(
    original: Library, file: Path, trainyard: Ask, tmp_path: Path
) -> None:
    some = tmp_path / "some"
    some.mkdir()
    for number in (1, 2):  # of 24; Anna is in the first
        for name in ("one", "two"):
            folder = "a" if number % 2 else "b"
            shutil.copy(original.photos / f"{folder}/photo {number:03}.png", some / f"{name} {number}.png")
    with data_directory() as data_dir:
        with running(data_dir) as run:
            run.run(some)
        answer = trainyard("people", "import", file, "--data-dir", data_dir)
        lost = len(records(file, "face")) - 2
        assert f"No face was found for {lost}: {lost} are in photos that are not known here, and 0 where" in answer.out
        with running(data_dir) as run:
            shown = run.rows("SELECT p.name FROM face_instances f JOIN persons p ON p.id = f.person_id ORDER BY 1")
            assert [row.name for row in shown] == ["Anna", "Anna", "Bob", "Bob"]


def test_a_bad_file_changes_nothing(anew: Library, file: Path, trainyard: Ask) -> None:
    whole = file.read_text().splitlines()
    file.write_text("\n".join(whole[:9]))
    answer = trainyard("people", "import", file, "--data-dir", anew.data_dir)
    assert (answer.code, f"{file}, line 9: " in answer.err) == (2, True)
    missing = trainyard("people", "import", file.with_name("nothing.json"), "--data-dir", anew.data_dir)
    assert (missing.code, "cannot be read" in missing.err) == (2, True)
    with running(anew.data_dir) as run:
        assert run.rows("SELECT FROM persons") == []


def test_it_works_on_pipes_and_while_the_data_directory_is_served(
    here: Library, anew: Library, trainyard: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(here.data_dir, here.photos):
        exported = trainyard("people", "export", "-", "--data-dir", here.data_dir)
    assert exported.code == 0, exported.err
    with served(anew.data_dir, anew.photos) as server:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(exported.out.encode())))
        answer = trainyard("people", "import", "-", "--data-dir", anew.data_dir)
        assert answer.out.startswith("Persons: 3 new, 0 known by their name.\n"), answer.err
        server.run.wait_for(
            lambda connection: connection.execute(sa.text("SELECT count(*) FROM outbox")).scalar_one() == 0,
            "the server to tell the vectors",
        )
        found = server.client.get("/api/v1/persons").json()["items"]
        assert {person["name"] for person in found} == {"Anna", "Bob", "Çiğdem, whom no photo shows"}
    assert said(anew) == said(here)


def test_an_import_that_is_stopped_is_finished_by_another(
    anew: Library, file: Path, trainyard: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        pass

    def stop(connection: sa.Connection, work: Any, found: list[Any]) -> None:
        import_faces(connection, work, found)
        if work.counts.faces_changed > 10:
            raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(exchange, "import_faces", stop)
        patched.setattr(exchange, "RECORDS_PER_COMMIT", 4)
        with running(anew.data_dir) as run, file.open() as source, pytest.raises(Stopped):
            exchange.import_people(run.database, source, "file")
    rest = imported(trainyard, anew, file)
    assert (rest.persons_known > 0, rest.faces_as_they_were > 0, rest.faces_changed > 0) == (True, True, True)
    assert rest.faces_as_they_were + rest.faces_changed == len(records(file, "face"))


@pytest.mark.parametrize("kind", ["delete", "merge"])
def test_whoever_is_deleted_or_merged_during_an_import_is_given_no_faces(
    anew: Library, file: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The rest of the faces go to whoever is called so by then, who is made."""
    monkeypatch.setattr(exchange, "RECORDS_PER_COMMIT", 4)
    shown = "SELECT FROM face_instances f JOIN persons p ON p.id = f.person_id WHERE p.name = 'Anna' AND p.id = :id"
    gone: list[int] = []
    with running(anew.data_dir) as run, file.open() as source:

        def take_away(records: int) -> None:
            named = run.rows("SELECT id FROM persons WHERE name = 'Anna'")
            if gone or not named or not run.rows(shown, id=named[0].id):
                return
            gone.append(named[0].id)
            with run.database.engine.begin() as connection:
                if kind == "delete":
                    persons.delete(connection, gone[0])
                else:
                    persons.merge(connection, persons.person_named(connection, "Annabel"), gone)

        counts = exchange.import_people(run.database, source, "file", take_away)
        assert gone
        assert (counts.persons_new, counts.persons_known) == (4, 0)
        assert run.rows("SELECT FROM face_instances WHERE person_id = :id", id=gone[0]) == []
        (anna,) = run.rows("SELECT id FROM persons WHERE name = 'Anna' AND deleted_at IS NULL")
        assert run.rows(shown, id=anna.id)
