"""Erasure: rows, vectors and thumbnails of what is forgotten are gone, everything else and every file is as it was.

Real stores and photos; the networks are fakes (tests/engines.py). The erasure that is killed is a real process.
"""

import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa

from cli.stores import open_stores
from tests import libraries
from tests.command_line import Ask, trainyard
from tests.local_runs import Run, running, wait_until
from tests.natural_keys import check_vectors
from tests.people_libraries import PHOTOS, Library, copied, faces_in, library, name_person, stores_of
from tests.served import Served, hold, served
from trainyard import photo_erasure
from trainyard.active_sessions import SessionActive
from trainyard.collection_erasure import erase_faces
from trainyard.erasure import Erased, erase_person
from trainyard.people import faces, persons
from trainyard.people.changes import list_changes
from trainyard.photo_erasure import erase_photos, photos_below
from trainyard.tables import metadata

__all__ = ["trainyard"]

IN_A = PHOTOS // 2  # photos of the folder `a`; those of numbers that are odd
KINDS = ("photos", "faces", "persons", "vectors", "thumbnails")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with library(tmp_path_factory.mktemp("library")) as made:
        yield made


@pytest.fixture
def here(original: Library, tmp_path: Path) -> Iterator[Library]:
    with copied(original, tmp_path) as copy:
        yield copy


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def thumbnails(here: Library) -> set[str]:
    return {file.name for file in (here.data_dir / "thumbnails").rglob("*.jpg")}


def look_at_everything(here: Library) -> None:
    """Have the API make each photo's and each face's thumbnail."""
    with served(here.data_dir, here.photos) as server:
        for row in server.run.rows("SELECT id FROM image_assets"):
            assert server.client.get(f"/api/v1/images/{row.id}/thumbnail").status_code == 200
        for row in server.run.rows("SELECT id FROM face_instances"):
            assert server.client.get(f"/api/v1/faces/{row.id}/thumbnail").status_code == 200


def forgotten(ask: Ask, here: Library, *arguments: object) -> Erased:
    answer = ask("forget", *arguments, "--yes", "--json", "--data-dir", here.data_dir)
    assert answer.code == 0, answer.err
    return Erased(**json.loads(answer.out))


def count(run: Run, table: str) -> int:
    return int(run.rows(f"SELECT count(*) AS n FROM {table}")[0].n)


def sizes_of_groups(run: Run) -> list[tuple[int, int]]:
    """Of each open group, what its row says and what there is."""
    return [
        (row.size, row.live)
        for row in run.rows("""
            SELECT c.size, count(f.id) AS live FROM face_clusters c
            LEFT JOIN face_instances f ON f.cluster_id = c.id AND f.person_id IS NULL
            WHERE c.closed_at IS NULL GROUP BY c.id ORDER BY c.id
        """)
    ]


# Photos


def test_a_folder_that_is_forgotten_leaves_nothing_behind_but_its_files(here: Library, trainyard: Ask) -> None:
    look_at_everything(here)
    before = contents(here.photos)
    names_in_a = {hashlib.sha256(content).hexdigest() for file, content in before.items() if file.parent.name == "a"}
    of_faces = [name for name in thumbnails(here) if "-face-" in name]
    erased = forgotten(trainyard, here, here.photos / "a")
    faces_in_a = sum(2 if number % 3 == 0 else 1 for number in range(1, PHOTOS, 2))
    assert erased == Erased(
        photos=IN_A, faces=faces_in_a, persons=0, vectors=IN_A + faces_in_a, thumbnails=IN_A + faces_in_a
    )
    assert contents(here.photos) == before
    assert {name[:64] for name in thumbnails(here)}.isdisjoint(names_in_a)
    assert len(thumbnails(here)) == PHOTOS + len(of_faces) - erased.thumbnails
    with running(here.data_dir) as run:
        for table in ("training_evidence", "face_scans", "face_instances", "training_jobs"):
            assert (
                run.rows(f"SELECT FROM {table} t WHERE NOT EXISTS (SELECT FROM image_assets WHERE id = asset_id)") == []
            )
        assert [row.path for row in run.rows("SELECT path FROM image_assets WHERE path_text LIKE '%/a/%'")] == []
        assert all(said == live > 0 for said, live in sizes_of_groups(run))
        check_vectors(run)
        again = run.run(here.photos)
        assert (again["images"]["processed"], again["images"]["unchanged"]) == (IN_A, PHOTOS - IN_A)
        check_vectors(run)


def test_a_photo_whose_file_is_gone_is_forgotten_by_its_path(here: Library, trainyard: Ask) -> None:
    photo = here.photos / "b/photo 002.png"
    photo.unlink()
    assert forgotten(trainyard, here, photo) == Erased(photos=1, faces=1, vectors=2)
    assert forgotten(trainyard, here, photo) == Erased()


def test_names_are_taken_whole_and_as_bytes(here: Library, trainyard: Ask) -> None:
    odd = here.photos / "a\udcff"
    libraries.write_photo(odd / "one.png", 900, (1,))
    libraries.write_photo(here.photos / "ab/two.png", 901, (1,))
    with running(here.data_dir) as run:
        run.run(here.photos)
    assert forgotten(trainyard, here, odd).photos == 1
    assert forgotten(trainyard, here, here.photos / "a").photos == IN_A
    assert forgotten(trainyard, here, f"{here.photos}/ab/").photos == 1


def test_what_another_photo_still_shows_keeps_its_thumbnail(here: Library, trainyard: Ask) -> None:
    twin = here.photos / "b/twin of 1.png"
    shutil.copy(here.photos / "a/photo 001.png", twin)
    with running(here.data_dir) as run:
        run.run(here.photos)
    look_at_everything(here)
    name = hashlib.sha256(twin.read_bytes()).hexdigest()
    forgotten(trainyard, here, here.photos / "a")
    assert f"{name}-320.jpg" in thumbnails(here)
    assert forgotten(trainyard, here, twin).thumbnails == 2
    assert f"{name}-320.jpg" not in thumbnails(here)


def test_prototypes_covers_and_undo_records_of_a_photo_go_with_it(here: Library, trainyard: Ask) -> None:
    with running(here.data_dir) as run:
        anna = name_person(run, "Anna", 1)
        first = run.rows("SELECT face_id FROM person_prototypes ORDER BY id")[0].face_id
        run.database.transact(lambda connection: persons.set_cover(connection, anna, first))
        with_photo = (
            "SELECT path_text FROM image_assets WHERE id = (SELECT asset_id FROM face_instances WHERE id = :id)"
        )
        path = run.rows(with_photo, id=first)[0].path_text
    forgotten(trainyard, here, path)
    with running(here.data_dir) as run:
        assert run.rows("SELECT cover_face_id FROM persons")[0].cover_face_id is None
        assert run.rows("SELECT FROM person_prototypes WHERE face_id = :id", id=first) == []
        assert run.rows("SELECT FROM person_prototypes WHERE retired_at IS NULL") != []
        assert run.rows("SELECT FROM people_change_faces WHERE face_id = :id", id=first) == []
        assert count(run, "outbox") == 0


# A person


def test_a_person_is_forgotten_with_all_faces_and_not_found_again(here: Library, trainyard: Ask) -> None:
    look_at_everything(here)
    with running(here.data_dir) as run:
        anna, bob = name_person(run, "Anna", 1), name_person(run, "Bob", 2)
        of_anna = faces_in(run, 1)
        asset_of_anna = run.rows("SELECT asset_id FROM face_instances WHERE id = :id", id=of_anna[0])[0].asset_id
    answer = trainyard("forget", "--person", anna, "--yes", "--data-dir", here.data_dir)
    assert answer.code == 0, answer.err
    counts = f"0 photos, {len(of_anna)} faces, 1 person, {len(of_anna)} vectors and {len(of_anna)} thumbnails removed."
    assert answer.out.startswith(counts)
    with running(here.data_dir) as run:
        assert [row.name for row in run.rows("SELECT name FROM persons")] == ["Bob"]
        assert faces_in(run, 2) != []
        assert run.rows("SELECT FROM face_instances WHERE id = ANY(:ids)", ids=of_anna) == []
        assert run.rows("SELECT FROM person_prototypes WHERE person_id = :id", id=anna) == []
        assert run.rows("SELECT FROM people_changes WHERE person_id = :id", id=anna) == []
        assert [change.person_id for change in run.database.transact(lambda c: list_changes(c, 10))] == [bob]
        check_vectors(run)
        payloads = dict(point for page in run.vectors.payload_pages("images-fake") for point in page).values()
        assert all(anna not in payload["person_ids"] for payload in payloads if "person_ids" in payload)
        scans = "SELECT faces FROM face_scans WHERE asset_id = :id"
        rows = "SELECT id FROM face_instances WHERE asset_id = :id"
        assert run.rows(scans, id=asset_of_anna)[0].faces == len(run.rows(rows, id=asset_of_anna))
        again = run.run(here.photos)
        assert (again["images"]["unchanged"], again["facesDetected"]) == (PHOTOS, 0)
        assert run.rows("SELECT FROM face_instances WHERE id = ANY(:ids)", ids=of_anna) == []
    assert trainyard("forget", "--person", anna, "--yes", "--data-dir", here.data_dir).code == 2


def test_a_person_who_was_deleted_or_renamed_before_can_be_forgotten_with_what_tells_of_it(
    here: Library, trainyard: Ask
) -> None:
    with running(here.data_dir) as run:
        anna, bob = name_person(run, "Anna", 1), name_person(run, "Bob", 2)
        run.database.transact(lambda connection: persons.rename(connection, anna, "Annabel"))
        run.database.transact(lambda connection: persons.merge(connection, bob, [anna]))
    assert forgotten(trainyard, here, "--person", anna) == Erased(persons=1)
    with running(here.data_dir) as run:
        assert [row.name for row in run.rows("SELECT name FROM persons")] == ["Bob"]
        told = [row.before for row in run.rows("SELECT before::text FROM people_changes")]
        assert [words for words in told if "Anna" in words] == []


# All faces, and everything


def test_all_faces_go_and_are_found_again(here: Library, trainyard: Ask) -> None:
    look_at_everything(here)
    with running(here.data_dir) as run:
        name_person(run, "Anna", 1)
        found = count(run, "face_instances")
        groups = count(run, "face_clusters")
    erased = forgotten(trainyard, here, "--faces")
    assert erased == Erased(faces=found, persons=1, vectors=found, thumbnails=found)
    assert len(thumbnails(here)) == PHOTOS
    with running(here.data_dir) as run:
        assert run.vectors.collections() == ["images-fake"]
        tables = ("face_instances", "face_scans", "persons", "person_prototypes", "face_clusters", "people_changes")
        assert [count(run, table) for table in (*tables, "outbox")] == [0] * (len(tables) + 1)
        payloads = dict(point for page in run.vectors.payload_pages("images-fake") for point in page).values()
        assert all(not payload.get("person_ids") for payload in payloads)
        again = run.run(here.photos)
        assert (again["images"]["unchanged"], again["facesDetected"], again["clustersCreated"]) == (
            PHOTOS,
            found,
            groups,
        )
        check_vectors(run)
    assert forgotten(trainyard, here, "--faces").faces == found


def test_everything_goes_but_the_installations_id(here: Library, trainyard: Ask) -> None:
    look_at_everything(here)
    with running(here.data_dir) as run:
        name_person(run, "Anna", 1)
        identity = run.rows("SELECT id FROM installation")
        last = run.rows("SELECT max(id) AS id FROM image_assets")[0].id
    assert forgotten(trainyard, here, "--all").photos == PHOTOS
    assert thumbnails(here) == set()
    with running(here.data_dir) as run:
        assert run.rows("SELECT id FROM installation") == identity
        assert run.vectors.collections() == []
        rest = metadata.tables.keys() - {"installation", "controller_lease"}
        assert {table: count(run, table) for table in rest} == dict.fromkeys(rest, 0)
        assert run.run(here.photos)["images"]["processed"] == PHOTOS
        assert run.rows("SELECT min(id) AS id FROM image_assets")[0].id > last  # no id comes to mean another photo
        check_vectors(run)


# Kills, and sessions that work meanwhile


def _erase_until_killed(data_dir: Path, folder: Path, reached: Any) -> None:
    """A process that erases, and stands still between vectors and rows of the second page."""
    pages = []

    def stand_still(connection: sa.Connection, asset_ids: list[int]) -> tuple[int, int]:
        pages.append(asset_ids)
        if len(pages) == 2:
            reached.set()
            Event().wait()
        return delete_photos(connection, asset_ids)

    delete_photos = photo_erasure.delete_photos
    photo_erasure.__dict__["delete_photos"] = stand_still
    photo_erasure.__dict__["PHOTOS_PER_COMMIT"] = 5
    with open_stores(data_dir) as stores:
        erase_photos(stores, photos_below(bytes(folder)))


def test_an_erasure_that_is_killed_is_finished_by_the_same_command(here: Library, trainyard: Ask) -> None:
    context = multiprocessing.get_context("spawn")
    reached = context.Event()
    process = context.Process(target=_erase_until_killed, args=(here.data_dir, here.photos / "a", reached))
    process.start()
    assert reached.wait(120)
    process.kill()
    process.join()
    erased = forgotten(trainyard, here, here.photos / "a")
    assert erased.photos == IN_A - 5
    assert erased.vectors == erased.photos - 5 + erased.faces - sum(2 if n % 3 == 0 else 1 for n in range(11, 21, 2))
    with running(here.data_dir) as run:
        assert count(run, "image_assets") == PHOTOS - IN_A
        check_vectors(run)


def test_a_session_at_work_there_is_named_and_a_paused_one_goes_on_with_the_rest(here: Library) -> None:
    go_on = Event()
    for number in range(8):
        libraries.write_photo(here.photos / f"c/new {number}.png", 500 + number, (1,))
    with running(here.data_dir) as run:
        run.engines.fake_clip.on_encode = hold(go_on)
        session = run.begin(here.photos)
        running_now = "SELECT 1 FROM steps WHERE session_id = :id AND step = 'embed' AND status = 'running'"
        run.wait_for(lambda c: c.execute(sa.text(running_now), {"id": session}).first(), "the embedding to begin")
        with pytest.raises(SessionActive, match=rf"Session {session} .* is running.*pause"):
            erase_photos(stores_of(run), photos_below(bytes(here.photos / "c")))
        erase_photos(stores_of(run), photos_below(b"/elsewhere"))
        run.ask(session, "pause")
        go_on.set()
        paused = "SELECT 1 FROM training_sessions WHERE id = :id AND status = 'paused'"
        run.wait_for(lambda c: c.execute(sa.text(paused), {"id": session}).first(), "the session to pause")
        (before,) = run.rows("SELECT done, total FROM steps WHERE session_id = :id AND step = 'detect'", id=session)
        assert erase_photos(stores_of(run), photos_below(bytes(here.photos / "c/new 7.png"))).photos == 1
        (after,) = run.rows("SELECT done, total FROM steps WHERE session_id = :id AND step = 'detect'", id=session)
        assert (after.done, after.total) == (before.done, before.total - 1)
        run.ask(session, "resume")
        assert run.ended(session)["overallStatus"] == "completed"
        assert run.rows("SELECT FROM image_assets WHERE path_text LIKE '%/new 7.png'") == []
        check_vectors(run)


def test_a_paused_session_goes_on_to_look_for_faces_where_all_were_forgotten(here: Library) -> None:
    for number in range(8):
        libraries.write_photo(here.photos / f"c/new {number}.png", 500 + number, (1,))
    with running(here.data_dir) as run:

        def stopping() -> bool:
            return any(job.state == "stopping" for job in run.jobs.observe())

        engine = run.engines.fake_faces
        engine.on_detect = lambda: engine.seen < 4 or wait_until(stopping, "the worker to be stopped")
        session = run.begin(here.photos)
        run.wait_for(lambda c: engine.seen >= 4, "some photos to be searched")
        run.ask(session, "pause")
        paused = "SELECT 1 FROM training_sessions WHERE id = :id AND status = 'paused'"
        run.wait_for(lambda c: c.execute(sa.text(paused), {"id": session}).first(), "the session to pause")
        engine.on_detect = lambda: None
        assert erase_faces(stores_of(run)).faces >= 32
        run.ask(session, "resume")
        assert run.ended(session)["overallStatus"] == "completed"
        check_vectors(run)


def test_a_session_that_is_retried_looks_for_faces_where_all_were_forgotten(here: Library) -> None:
    photo = here.photos / "c/late.png"
    photo.parent.mkdir()
    photo.touch()
    with running(here.data_dir) as run:
        session = run.begin(here.photos)
        assert run.ended(session)["images"]["failed"] == 1
        libraries.write_photo(photo, 500, (1,))
        assert erase_faces(stores_of(run)).faces > 0
        run.ask(session, "retry")
        run.controller.look.set()
        run.wait_for(lambda c: c.execute(sa.text("SELECT 1 FROM face_instances")).first(), "its face to be found")
        assert run.ended(session)["overallStatus"] == "completed"
        check_vectors(run)


def test_a_session_that_begins_between_vectors_and_rows_stops_the_erasure(
    here: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(here.data_dir) as run:
        run.controller.stop()
        remove = photo_erasure.thumbnail_files.remove_of_photos

        def begin_meanwhile(*arguments: Any) -> int:
            run.begin(here.photos)
            return remove(*arguments)

        monkeypatch.setattr(photo_erasure.thumbnail_files, "remove_of_photos", begin_meanwhile)
        with pytest.raises(SessionActive, match="is pending"):
            erase_photos(stores_of(run), photos_below(bytes(here.photos / "a")))
        assert count(run, "image_assets") == PHOTOS


def test_a_face_that_a_person_is_given_meanwhile_goes_with_them(here: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(here.data_dir) as run:
        anna = name_person(run, "Anna", 1)
        late = faces_in(run, 2)[0]
        seen: list[None] = []
        remove = photo_erasure.thumbnail_files.remove_of_faces

        def assign_meanwhile(*arguments: Any) -> int:
            if not seen:
                run.database.transact(lambda connection: faces.assign(connection, [late], anna))
            seen.append(None)
            return remove(*arguments)

        monkeypatch.setattr(photo_erasure.thumbnail_files, "remove_of_faces", assign_meanwhile)
        erase_person(stores_of(run), anna)
        assert run.rows("SELECT FROM face_instances WHERE id = :id", id=late) == []
        check_vectors(run)


# The command line


def test_it_is_asked_for_one_thing_and_asks_back(here: Library, trainyard: Ask) -> None:
    given = ("--data-dir", here.data_dir)
    assert trainyard("forget", *given).code == 2
    assert trainyard("forget", here.photos, "--all", "--yes", *given).code == 2
    assert trainyard("forget", "--person", 3_000_000_000, "--yes", *given).code == 2
    refused = trainyard("forget", here.photos, *given)
    assert (refused.code, f"{PHOTOS} photos at or below {here.photos}" in refused.err, "--yes" in refused.err) == (
        2, True, True
    )  # fmt: skip
    nothing = trainyard("forget", here.photos / "nowhere", *given)
    assert (nothing.code, "No photo is known" in nothing.err) == (0, True)
    assert nothing.out.startswith("0 photos, 0 faces, 0 persons, 0 vectors and 0 thumbnails removed.")


def test_a_data_directory_in_use_is_left_alone(here: Library, trainyard: Ask) -> None:
    with running(here.data_dir):
        answer = trainyard("forget", "--all", "--yes", "--data-dir", here.data_dir)
    assert (answer.code, "is held by process" in answer.err) == (2, True)
    nowhere = trainyard("forget", "--all", "--yes")
    assert (nowhere.code, "There is no data directory" in nowhere.err) == (2, True)


# Over HTTP


def erased_by(server: Served, address: str) -> dict[str, int]:
    answer = server.client.delete(address)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_an_image_and_all_faces_are_erased_over_http(here: Library) -> None:
    with served(here.data_dir, here.photos) as server:
        (row,) = server.run.rows("SELECT id FROM image_assets WHERE path_text LIKE '%photo 002.png'")
        server.client.get(f"/api/v1/images/{row.id}/thumbnail")
        assert erased_by(server, f"/api/v1/images/{row.id}") == dict(zip(KINDS, (1, 1, 0, 2, 1), strict=True))
        again = server.client.delete(f"/api/v1/images/{row.id}")
        assert (again.status_code, again.json()["code"]) == (404, "NoSuchImage")
        found = count(server.run, "face_instances")
        assert erased_by(server, "/api/v1/faces") == dict(zip(KINDS, (0, found, 0, found, 0), strict=True))
        server.ended(server.create(here.photos))
        assert count(server.run, "face_instances") == found + 1


def test_a_person_is_erased_over_http(here: Library) -> None:
    with served(here.data_dir, here.photos) as server:
        anna = name_person(server.run, "Anna", 1)
        found = len(faces_in(server.run, 1))
        address = f"/api/v1/persons/{anna}?erase=true"
        assert erased_by(server, address) == dict(zip(KINDS, (0, found, 1, found, 0), strict=True))
        again = server.client.delete(address)
        assert (again.status_code, again.json()["code"]) == (404, "NoSuchPerson")


def test_over_http_a_session_at_work_is_named(here: Library) -> None:
    go_on = Event()
    libraries.write_photo(here.photos / "new.png", 500, (1,))
    with served(here.data_dir, here.photos) as server:
        server.run.engines.fake_clip.on_encode = hold(go_on)
        session = server.create(here.photos)
        (row,) = server.run.rows("SELECT min(id) AS id FROM image_assets")
        for address in (f"/api/v1/images/{row.id}", "/api/v1/faces"):
            answer = server.client.delete(address)
            assert (answer.status_code, answer.json()["code"]) == (409, "SessionActive")
            assert f"Session {session}" in answer.json()["detail"]
        go_on.set()
        server.ended(session)
