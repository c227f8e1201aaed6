"""Repair: every kind of drift between files, rows, vectors and thumbnails is told, mended, and not found again.

Real stores and photos; the networks are fakes (tests/engines.py). Drift is made by hand, as a lost disk, an old back-up
or a defect would make it.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import sqlalchemy as sa

from tests import libraries
from tests.command_line import Ask, trainyard
from tests.e2e.stores.qdrant import stand_in
from tests.local_runs import Run, running
from tests.natural_keys import check_vectors
from tests.people_libraries import PHOTOS, Library, copied, faces_in, library, name_person, stores_of
from tests.points import ids_in
from tests.served import hold
from trainyard import repair_findings
from trainyard.active_sessions import SessionActive
from trainyard.people import persons
from trainyard.repair import find_drift
from trainyard.repair_findings import Finding, Repair

__all__ = ["trainyard"]

NOTHING = "Rows, vectors and thumbnails agree; there is nothing to mend.\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with library(tmp_path_factory.mktemp("library")) as made:
        with running(made.data_dir) as run:
            name_person(run, "Anna", 1)
            name_person(run, "Bob", 2, most=3)
        yield made


@pytest.fixture
def here(original: Library, tmp_path: Path) -> Iterator[Library]:
    with copied(original, tmp_path) as copy:
        yield copy


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that even these few rows and points take several."""
    for module in ("repair_findings", "repair_vectors", "repair_files"):
        monkeypatch.setattr(f"trainyard.{module}.PER_LOOK", 7)
    monkeypatch.setattr(repair_findings.parts, "__defaults__", (7,))


def found(run: Run, *, mend: bool) -> list[Finding]:
    return list(find_drift(Repair(stores_of(run, alone=True), mend)))


def mended(run: Run) -> dict[str, int]:
    """What was found, and mended; a check before says the same, and one afterwards finds nothing."""
    told = found(run, mend=False)
    assert [finding for finding in told if finding.done] != []
    assert found(run, mend=True) == told
    assert found(run, mend=True) == [finding for finding in told if finding.done is None]
    return {finding.what: finding.count for finding in told}


def change(run: Run, statement: str, **parameters: Any) -> None:
    run.database.transact(lambda connection: connection.execute(sa.text(statement), parameters))


# Points and rows


def payloads(run: Run) -> dict[str, dict[UUID, dict[str, Any]]]:
    """By collection and point, without the fields that are null."""
    names = ("images-fake", "faces-fake")
    points = {name: [point for page in run.vectors.payload_pages(name) for point in page] for name in names}
    return {
        name: {
            id: {field: value for field, value in payload.items() if value is not None} for id, payload in points[name]
        }
        for name in names
    }


def test_nothing_is_found_where_all_is_well(here: Library, trainyard: Ask) -> None:
    for arguments in (("--check",), ()):
        answer = trainyard("repair", *arguments, "--data-dir", here.data_dir)
        assert (answer.code, answer.out) == (0, NOTHING), answer.err


def test_points_without_rows_are_deleted(here: Library) -> None:
    with running(here.data_dir) as run:
        for collection, dimension in (("images-fake", 512), ("faces-fake", 128)):
            vectors = np.eye(dimension, dtype=np.float32)[:9]
            run.vectors.upsert(collection, [uuid4() for _ in range(9)], vectors, [{"asset_id": 1}] * 8 + [{}])
        assert mended(run) == {"points of faces-fake without a row": 9, "points of images-fake without a row": 9}
        check_vectors(run)


def test_lost_points_are_forgotten_and_made_anew_with_what_people_said(here: Library) -> None:
    with running(here.data_dir) as run:
        points = ids_in(run.vectors, "images-fake")
        run.vectors.delete("images-fake", points[:5])
        of_anna = faces_in(run, 1)
        run.vectors.delete("faces-fake", of_anna)
        photos = run.rows("SELECT count(DISTINCT asset_id) AS n FROM face_instances WHERE id = ANY(:ids)", ids=of_anna)
        assert mended(run) == {
            "photos whose points in images-fake are lost": 5,
            "photos whose faces' points in faces-fake are lost": photos[0].n,
        }
        again = run.run(here.photos)
        assert again["images"]["unchanged"] == PHOTOS - 5
        check_vectors(run)
        named = (
            "SELECT DISTINCT p.name FROM face_instances f JOIN persons p ON p.id = f.person_id WHERE f.id = ANY(:ids)"
        )
        assert [row.name for row in run.rows(named, ids=of_anna)] == ["Anna"]
        assert found(run, mend=True) == []


def test_vectors_that_are_not_those_that_were_made_are_made_anew(here: Library) -> None:
    with running(here.data_dir) as run:
        for collection, dimension in (("images-fake", 512), ("faces-fake", 128)):
            id, payload = list(payloads(run)[collection].items())[3]
            run.vectors.upsert(collection, [id], np.eye(dimension, dtype=np.float32)[:1], [payload])
        what = "points in {} with another vector than was made"
        assert mended(run) == {what.format("faces-fake"): 1, what.format("images-fake"): 1}
        run.run(here.photos)
        check_vectors(run)


def test_a_lost_collection_and_a_lost_folder_of_vectors_are_refilled(here: Library, trainyard: Ask) -> None:
    with running(here.data_dir) as run:
        run.vectors.delete_collection("images-fake")
        assert mended(run) == {"photos whose points in images-fake are lost": PHOTOS}
    shutil.rmtree(here.data_dir / "qdrant")
    assert trainyard("repair", "--check", "--data-dir", here.data_dir).code == 1
    assert trainyard("repair", "--data-dir", here.data_dir).code == 0
    with running(here.data_dir) as run:
        assert run.run(here.photos)["images"]["processed"] == PHOTOS
        check_vectors(run)
        assert found(run, mend=True) == []


def test_a_collection_of_another_networks_points_is_told_and_left(here: Library) -> None:
    with running(here.data_dir) as run:
        run.vectors.delete_collection("faces-fake")
        run.vectors.ensure_collection("faces-fake", 3, "another")
        run.vectors.upsert("faces-fake", [uuid4()], np.eye(3, dtype=np.float32)[:1], [{}])
        told = mended(run)
        (another,) = (what for what in told if "another network's" in what)
        assert (told[another], run.vectors.count("faces-fake")) == (1, 1)


def test_payloads_that_disagree_with_rows_are_rewritten(here: Library) -> None:
    with running(here.data_dir) as run:
        before = payloads(run)
        images, faces = (list(before[name]) for name in ("images-fake", "faces-fake"))
        run.vectors.set_payload("images-fake", images[:1], {"path": "/of/before.png"})
        run.vectors.set_payload("images-fake", images[1:4], {"person_ids": [99]})
        run.vectors.set_payload("images-fake", images[4:5], {"category_id": 9, "taken_at": "2001-01-01T00:00:00+00:00"})
        run.vectors.set_payload("faces-fake", faces[:1], {"person_id": 99})
        run.vectors.set_payload("faces-fake", faces[1:2], {"face_id": "another"})
        assert mended(run) == {
            "points of faces-fake that name another photo or face": 1,
            "photos of which points of images-fake say something else than rows": 5,
            "photos of which points of faces-fake say something else than rows": 1,
        }
        assert payloads(run) == before


# Rows and rows

GROUPS = "SELECT id FROM face_clusters WHERE closed_at IS NULL ORDER BY id"
ANOTHER_GROUP = """
    INSERT INTO face_clusters (model_id, session_id, size, closed_at)
    SELECT model_id, session_id, 4, {closed} FROM face_clusters ORDER BY id LIMIT 1 RETURNING id
"""


def test_groups_are_mended(here: Library) -> None:
    with running(here.data_dir) as run:
        (live, *_) = run.rows(GROUPS)
        change(run, "UPDATE face_clusters SET representative_face_id = :gone WHERE id = :id", gone=uuid4(), id=live.id)
        empty = run.rows(ANOTHER_GROUP.format(closed="NULL"))[0].id
        closed = run.rows(ANOTHER_GROUP.format(closed="now()"))[0].id
        of_anna, unknown = faces_in(run, 1)[0], faces_in(run, 3)[0]
        change(run, "UPDATE face_instances SET cluster_id = :id WHERE id = :face", id=live.id, face=of_anna)
        change(run, "UPDATE face_instances SET cluster_id = :id WHERE id = :face", id=closed, face=unknown)
        assert mended(run) == {
            "faces in a group that are known or ignored, or whose group is closed": 2,
            "groups without faces": 1,
            "groups shown by a face that is gone": 1,
        }
        assert run.rows("SELECT closed_at FROM face_clusters WHERE id = :id", id=empty)[0].closed_at is not None
        (shown,) = run.rows("SELECT representative_face_id AS face FROM face_clusters WHERE id = :id", id=live.id)
        assert run.rows("SELECT cluster_id FROM face_instances WHERE id = :id", id=shown.face)[0].cluster_id == live.id


def test_suggestions_covers_and_faces_of_the_deleted_are_mended(here: Library) -> None:
    with running(here.data_dir) as run:
        anna, bob = (row.id for row in run.rows("SELECT id FROM persons ORDER BY id"))
        of_anna, of_bob = faces_in(run, 1), faces_in(run, 2)[:3]
        suggest = "INSERT INTO face_suggestions (face_id, person_id, similarity) VALUES (:face, :person, 0.8)"
        change(run, suggest, face=of_anna[0], person=bob)
        change(run, "UPDATE persons SET cover_face_id = :face WHERE id = :id", face=of_bob[0], id=anna)
        change(run, "UPDATE persons SET deleted_at = now() WHERE id = :id", id=bob)
        told = mended(run)
        assert told.pop("faces of persons who were deleted") == len(of_bob)
        assert told.pop("suggestions for faces that are known or ignored") == 1
        assert told.pop("persons shown by a face that is not theirs") == 1
        assert told.pop("persons whose prototypes are not of their faces") == 1
        assert told.keys() <= {"photos of which points of faces-fake say something else than rows"}
        standing = run.rows("SELECT DISTINCT person_id FROM person_prototypes WHERE retired_at IS NULL")
        assert [row.person_id for row in standing] == [anna]
        assert run.run(here.photos)["overallStatus"] == "completed"
        groups = run.rows("SELECT cluster_id FROM face_instances WHERE id = ANY(:ids)", ids=of_bob)
        assert {row.cluster_id for row in groups} != {None}


@pytest.mark.parametrize("how", ["lost", "of another face", "of other bytes"])
def test_prototypes_are_chosen_anew(here: Library, how: str) -> None:
    statement = {
        "lost": "DELETE FROM person_prototypes WHERE person_id = :anna",
        "of another face": "UPDATE person_prototypes SET face_id = :face WHERE person_id = :anna",
        "of other bytes": "UPDATE person_prototypes SET embedding = '\\x00000000' WHERE person_id = :anna",
    }[how]
    with running(here.data_dir) as run:
        standing = "SELECT person_id, face_id, embedding FROM person_prototypes WHERE retired_at IS NULL ORDER BY 1, 2"
        before = run.rows(standing)
        (anna, *_) = (row.id for row in run.rows("SELECT id FROM persons ORDER BY id"))
        parameters = {"anna": anna} | ({"face": faces_in(run, 3)[0]} if how == "of another face" else {})
        change(run, statement, **parameters)
        assert mended(run) == {"persons whose prototypes are not of their faces": 1}
        assert run.rows(standing) == before


def test_what_the_stores_had_not_been_told_is_told(here: Library) -> None:
    with running(here.data_dir) as run:
        (anna, *_) = (row.id for row in run.rows("SELECT id FROM persons ORDER BY id"))
        run.database.transact(lambda connection: persons.delete(connection, anna))
        told = mended(run)
        assert list(told) == ["changes that vectors and prototypes had not been told of"]
        assert all(payload.get("person_id") != anna for payload in payloads(run)["faces-fake"].values())


# Files


def test_thumbnails_of_no_photo_are_deleted(here: Library) -> None:
    with running(here.data_dir) as run:
        (row, *_) = run.rows("SELECT content_sha256 FROM image_assets")
        for name in (row.content_sha256.hex(), "ab" * 32):
            for view in ("320", "face-0123456789abcdef-160"):
                file = here.data_dir / "thumbnails" / name[:2] / f"{name}-{view}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
        (here.data_dir / "thumbnails/ab/notes.txt").touch()
        assert mended(run) == {"pictures that have thumbnails and are no photo's any more": 1}
        name = row.content_sha256.hex()
        left = {file.name for file in (here.data_dir / "thumbnails").rglob("*.*")}
        assert left == {"notes.txt", f"{name}-320.jpg", f"{name}-face-0123456789abcdef-160.jpg"}


def test_files_that_are_gone_or_changed_are_told_and_left_to_a_session(here: Library, trainyard: Ask) -> None:
    (here.photos / "a/photo 001.png").unlink()
    libraries.write_photo(here.photos / "a/photo 003.png", 777, (1,))
    answer = trainyard("repair", "--check", "--json", "--data-dir", here.data_dir)
    by_session = "(a session of their folder takes note of it)"
    assert (answer.code, json.loads(answer.out)) == (0, [
        {"what": f"photos whose files are gone {by_session}", "count": 1, "done": None},
        {"what": f"photos whose files have changed {by_session}", "count": 1, "done": None},
    ])  # fmt: skip
    with running(here.data_dir) as run:
        run.run(here.photos)
        assert found(run, mend=True) == []
        libraries.write_photo(here.photos / "a/photo 001.png", 1, (1,))
        back = Finding(1, f"photos that were missing, and are there again {by_session}", None)
        assert found(run, mend=True) == [back]


def test_a_folder_that_is_away_is_not_taken_for_lost(here: Library) -> None:
    away = here.photos.rename(here.photos.with_name("away"))
    try:
        with running(here.data_dir) as run:
            what = f"photos not looked at, as their folder is not here: {here.photos.resolve()}"
            assert found(run, mend=True) == [Finding(PHOTOS, what, None)]
    finally:
        away.rename(here.photos)


# The command line, and sessions that work meanwhile


def test_a_check_exits_1_and_changes_nothing_and_a_repair_says_what_it_did(here: Library, trainyard: Ask) -> None:
    with running(here.data_dir) as run:
        run.vectors.upsert("images-fake", [uuid4()], np.eye(512, dtype=np.float32)[:1], [{"asset_id": 1}])
    for _ in range(2):
        answer = trainyard("repair", "--check", "--data-dir", here.data_dir)
        assert answer.code == 1
        assert answer.out == "        1  points of images-fake without a row\n`trainyard repair` mends this.\n"
    answer = trainyard("repair", "--data-dir", here.data_dir)
    assert (answer.code, answer.out) == (
        0,
        "        1  points of images-fake without a row: deleted\nThat is mended.\n",
    )
    assert trainyard("repair", "--check", "--data-dir", here.data_dir).code == 0


def test_points_of_a_session_at_work_are_no_drift(here: Library) -> None:
    go_on = Event()
    libraries.write_photo(here.photos / "new.png", 500, (1,))
    with running(here.data_dir) as run:
        run.engines.fake_clip.on_encode = hold(go_on)
        session = run.begin(here.photos)
        for mend in (True, False):
            with pytest.raises(SessionActive, match=f"Session {session} "):
                list(find_drift(Repair(stores_of(run), mend)))
        go_on.set()
        run.ended(session)
        assert found(run, mend=True) == []


def test_a_session_that_begins_meanwhile_keeps_its_points(here: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(here.data_dir) as run:
        orphan = uuid4()
        run.vectors.upsert("images-fake", [orphan], np.eye(512, dtype=np.float32)[:1], [{"asset_id": 1}])
        run.controller.stop()

        def begin(what: str, done: int, total: int) -> None:
            if what == "vectors of images-fake" and done == total:
                run.begin(here.photos)

        with pytest.raises(SessionActive, match="is pending"):
            list(find_drift(Repair(stores_of(run), True, begin)))
        assert orphan in ids_in(run.vectors, "images-fake")


def test_servers_are_repaired_where_settings_name_both(
    trainyard: Ask, module_database_url: str, tmp_path: Path
) -> None:
    with stand_in("127.0.0.1", tmp_path, "a key", port=0) as server:
        qdrant = {"TRAINYARD_QDRANT_URL": server.qdrant.url, "TRAINYARD_QDRANT_API_KEY": "a key"}
        alone = trainyard("repair", "--check", **qdrant)
        assert (alone.code, "name both PostgreSQL and Qdrant" in alone.err) == (2, True)
        answer = trainyard("repair", "--check", TRAINYARD_DATABASE_URL=module_database_url, **qdrant)
        assert (answer.code, answer.out) == (0, NOTHING), answer.err
