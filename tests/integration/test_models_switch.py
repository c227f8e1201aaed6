"""Another face network in the place of the one whose faces people have named: `trainyard models switch`.

Real stores and photos; both networks are fakes (tests/two_engines.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from cli.models_switch import wish_of
from tests import libraries
from tests.command_line import Answer, Ask, trainyard
from tests.e2e.stores.qdrant import stand_in
from tests.local_runs import Run, data_directory, wait_until
from tests.people_libraries import PHOTOS, Library, copied, faces_in, name_person, stores_of, tell
from tests.rows import add_model
from tests.served import hold
from tests.two_engines import TwoEngines
from trainyard import thumbnail_files
from trainyard.collection_erasure import NetworkShown, erase_network
from trainyard.face_models import activate, active_face_model
from trainyard.people import faces, persons
from trainyard.people.changes import undo
from trainyard.people.renumbering import follow_to_network
from trainyard.repair import find_drift
from trainyard.repair_findings import Repair
from trainyard.sessions import create
from trainyard.thumbnail_files import face_digest

__all__ = ["trainyard"]

# What is said of each face, under keys of the photos themselves; the second network's boxes are 5 px further.
SAID = """
    SELECT a.path_text, round((f.box_left - :shift) / 8) AS place, p.name, f.assigned_by,
           f.ignored_at IS NOT NULL AS ignored, coalesce(c.cover_face_id = f.id, false) AS cover,
           ARRAY(SELECT r.name FROM face_suggestions s JOIN persons r ON r.id = s.person_id
                 WHERE s.face_id = f.id AND s.status = 'rejected' ORDER BY r.name) AS refused
    FROM face_instances f JOIN image_assets a ON a.id = f.asset_id JOIN models m ON m.id = f.model_id
    LEFT JOIN persons p ON p.id = f.person_id LEFT JOIN persons c ON c.cover_face_id = f.id
    WHERE m.engine = :engine ORDER BY a.path, place
"""


@contextmanager
def installation(data_dir: Path, **settings: Any) -> Iterator[Run]:
    run = Run(data_dir, **settings)
    run.engines = TwoEngines(run.settings)
    with run:
        run.start()
        yield run


@pytest.fixture(autouse=True)
def _two_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only place where the command line makes its networks."""
    monkeypatch.setattr("local.installation.Engines", TwoEngines)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Searched by the first network: Anna and Bob are named, one face is ignored, one is not Bob."""
    photos = libraries.write_photos(tmp_path_factory.mktemp("library") / "photos", PHOTOS)
    with data_directory() as data_dir:
        with installation(data_dir) as run:
            run.run(photos, face_engine="insightface")
            anna, bob = name_person(run, "Anna", 1), name_person(run, "Bob", 2, most=4)
            others = faces_in(run, 3)
            with run.database.engine.begin() as connection:
                faces.ignore(connection, others[:1])
                faces.assign(connection, others[1:2], bob)
                faces.unassign(connection, others[1:2])
                persons.set_cover(connection, anna, faces_in(run, 1)[2])
            tell(run)
        yield Library(data_dir, photos)


@pytest.fixture
def here(original: Library, tmp_path: Path) -> Iterator[Library]:
    with copied(original, tmp_path) as copy:
        yield copy


def said(run: Run, engine: str) -> list[Any]:
    return run.rows(SAID, engine=engine, shift=0.0 if engine == "insightface" else 5.0)


def by_people(rows: list[Any]) -> list[Any]:
    """What no network may change."""
    return [row for row in rows if row.assigned_by == "person" or row.ignored or row.refused]


def switched(ask: Ask, here: Library, engine: str = "dlib") -> Answer:
    return ask("models", "switch", engine, "--data-dir", here.data_dir, TRAINYARD_DETECT_BATCH="4")


def shown(run: Run) -> str:
    model = run.database.transact(active_face_model)
    assert model is not None
    return str(model.engine)


def test_people_refusals_and_ignored_faces_are_carried_over_to_the_other_network(here: Library, trainyard: Ask) -> None:
    with installation(here.data_dir) as run:
        before = said(run, "insightface")
    answer = switched(trainyard, here)
    assert answer.code == 0, answer.err
    assert "The faces of dlib are shown now" in answer.out
    assert f"`trainyard models forget faces` removes {len(before)}" in answer.out
    with installation(here.data_dir) as run:
        assert shown(run) == "dlib"
        after = said(run, "dlib")
        assert by_people(after) == by_people(before)
        assert len(by_people(after)) > 10
        assert [(row.path_text, row.place) for row in after] == [(row.path_text, row.place) for row in before]
        assert run.rows("SELECT FROM person_prototypes t JOIN models m ON m.id = t.model_id WHERE m.engine = 'dlib'")
        assert run.vectors.count("faces-dlib") == run.vectors.count("faces") == len(before)
        named = run.rows("SELECT id, person_id FROM face_instances f WHERE person_id IS NOT NULL")
        points = dict(p for name in ("faces", "faces-dlib") for page in run.vectors.payload_pages(name) for p in page)
        assert {row.id: points[row.id]["person_id"] for row in named} == {row.id: row.person_id for row in named}
        assert list(find_drift(Repair(stores_of(run, alone=True), mend=False))) == []
        # A new photo goes to the network that is shown, and the engine knows her there.
        libraries.write_photo(here.photos / "new.png", 400, (1,))
        run.run(here.photos, face_engine="auto")
        (new,) = run.rows("""
            SELECT p.name, m.engine FROM face_instances f JOIN image_assets a ON a.id = f.asset_id
            JOIN models m ON m.id = f.model_id LEFT JOIN persons p ON p.id = f.person_id
            WHERE a.path_text LIKE '%/new.png'
        """)
        assert (new.name, new.engine) == ("Anna", "dlib")


def test_until_the_end_the_faces_of_before_are_shown_and_named(here: Library) -> None:
    named, merged = Event(), Event()
    with installation(here.data_dir, loaders=1) as run:  # one stream: what is held first would wait for the others
        assert isinstance(run.engines, TwoEngines)
        other = run.engines.other_faces
        other.on_detect = lambda: hold(named if other.seen < PHOTOS // 2 else merged)(None)
        session, _ = run.database.transact(lambda connection: create(connection, wish_of("dlib")))
        run.wait_for(lambda c: c.execute(sa.text("SELECT 1 FROM models WHERE engine = 'dlib'")).first(), "it to begin")
        zoe = name_person(run, "Zoe", 3, most=None)  # the first of hers is ignored, and stays so
        anna, bob = (run.rows("SELECT id FROM persons WHERE name = :name", name=name)[0].id for name in ("Anna", "Bob"))
        before = said(run, "insightface")
        named.set()
        run.wait_for(lambda c: c.execute(sa.text(FOUND_ALREADY), {"id": bob}).first(), "Bob to be found anew")
        merge = run.database.transact(lambda connection: persons.merge(connection, anna, [bob]))
        meanwhile = said(run, "insightface")
        assert shown(run) == "insightface"
        merged.set()
        assert run.ended(session)["overallStatus"] == "completed"
        assert shown(run) == "dlib"
        assert by_people(said(run, "dlib")) == by_people(meanwhile) != by_people(before)
        assert [row.name for row in said(run, "dlib")].count("Zoe") > 1
        assert run.rows("SELECT FROM face_instances WHERE person_id = :id", id=zoe)
        assert run.database.transact(lambda connection: undo(connection, merge.id)).skipped == 0
        assert by_people(said(run, "dlib")) == by_people(before)


FOUND_ALREADY = """
    SELECT 1 FROM face_instances f JOIN models m ON m.id = f.model_id WHERE m.engine = 'dlib' AND f.person_id = :id
"""


def test_a_switch_carries_over_more_faces_than_a_statement_has_parameters(database_url: str) -> None:
    taken = {UUID(int=number): UUID(int=number + MANY) for number in range(MANY)}
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO people_changes (kind, before) VALUES ('merge', '{}')"))
        connection.execute(sa.text(CHANGED), {"ids": [UUID(int=number) for number in (1, MANY + 1, MANY - 1)]})
        follow_to_network(connection, taken)
        after = connection.scalars(sa.text("SELECT face_id FROM people_change_faces ORDER BY 1")).all()
    engine.dispose()
    assert after == [UUID(int=MANY + 1), UUID(int=MANY + MANY - 1)]


MANY = 70_000
CHANGED = "INSERT INTO people_change_faces (change_id, face_id) SELECT 1, unnest(CAST(:ids AS uuid[]))"


def test_a_switch_that_was_stopped_is_taken_up_by_the_same_command(here: Library, trainyard: Ask) -> None:
    # One stream: of several, that of the first batch could be the one that waits, and its rows are written first.
    with installation(here.data_dir, loaders=1) as run:
        assert isinstance(run.engines, TwoEngines)
        other = run.engines.other_faces

        def stopping() -> bool:
            return any(job.state == "stopping" for job in run.jobs.observe())

        other.on_detect = lambda: other.seen < PHOTOS // 3 or wait_until(stopping, "the worker to be stopped")
        run.database.transact(lambda connection: create(connection, wish_of("dlib")))
        run.wait_for(lambda c: c.execute(sa.text(SOME_SEARCHED)).first(), "some photos to be searched")
    answer = switched(trainyard, here)
    assert (answer.code, "taken up where it stopped" in answer.out) == (0, True), answer.err
    with installation(here.data_dir) as run:
        assert shown(run) == "dlib"
        assert [row.id for row in run.rows("SELECT id FROM training_sessions ORDER BY id")] == [1, 2]


SOME_SEARCHED = """
    SELECT 1 FROM face_scans s JOIN models m ON m.id = s.model_id WHERE m.engine = 'dlib'
"""


def test_it_switches_where_every_face_is_named_and_back_again(here: Library, trainyard: Ask) -> None:
    with installation(here.data_dir) as run:
        for person, name in enumerate(("Zoe", "Anna", "Bob", "Cem")):
            name_person(run, name, person)
        before = said(run, "insightface")
    assert switched(trainyard, here).code == 0
    again = switched(trainyard, here, "dlib")
    assert (again.code, "there is nothing to do" in again.out) == (0, True)
    with installation(here.data_dir) as run:
        assert shown(run) == "dlib"
        assert by_people(said(run, "dlib")) == by_people(before)


def test_a_photo_that_cannot_be_searched_keeps_the_old_faces_shown(here: Library, trainyard: Ask) -> None:
    photo = here.photos / "a/photo 001.png"
    content = photo.read_bytes()
    photo.write_bytes(b"")
    answer = switched(trainyard, here)
    assert answer.code == 1
    assert (
        "The faces of insightface's buffalo_l are still those that are shown: dlib has yet to search 1 photo"
        in answer.out
    )
    photo.write_bytes(content)
    assert switched(trainyard, here).code == 0


def test_without_weights_it_says_how_to_get_them(here: Library, trainyard: Ask) -> None:
    with installation(here.data_dir) as run:
        session, _ = run.database.transact(lambda connection: create(connection, wish_of("dlib")))
        run.ended(session)
    answer = switched(trainyard, here, "insightface")
    assert (answer.code, "trainyard models download insightface" in answer.err) == (2, True)


def test_without_faces_or_a_data_directory_there_is_nothing_to_switch(trainyard: Ask) -> None:
    assert trainyard("models", "switch", "dlib").code == 2
    with data_directory() as data_dir:
        answer = trainyard("models", "switch", "dlib", "--data-dir", data_dir)
        assert (answer.code, "No photo was searched for faces yet" in answer.out) == (0, True)


def test_what_is_served_is_only_asked_and_done_there(here: Library, trainyard: Ask) -> None:
    with installation(here.data_dir) as run:
        answer = switched(trainyard, here)
        assert (answer.code, "Session 2 finds the faces of all photos with dlib" in answer.out) == (0, True), answer.err
        assert run.ended(2)["overallStatus"] == "completed"
        assert shown(run) == "dlib"


def test_servers_are_only_asked(trainyard: Ask, module_database_url: str, tmp_path: Path) -> None:
    with stand_in("127.0.0.1", tmp_path, "a key", port=0) as server:
        stores = {
            "TRAINYARD_DATABASE_URL": module_database_url,
            "TRAINYARD_QDRANT_URL": server.qdrant.url,
            "TRAINYARD_QDRANT_API_KEY": "a key",
        }
        engine = sa.create_engine(module_database_url)
        with engine.begin() as connection:
            add_model(connection, "face")
        answer = trainyard("models", "switch", "dlib", **stores)
        assert (answer.code, answer.out.startswith("Session 1 finds the faces")) == (0, True), answer.err
        with engine.begin() as connection:
            (row,) = connection.execute(sa.text("SELECT root_path, options FROM training_sessions"))
        engine.dispose()
    assert (row.root_path, row.options) == ("/", {"faces": True, "training": False, "face_engine": "dlib"})


def look_at_a_face(run: Run, engine: str) -> Path:
    """Its thumbnail, as the API would keep it."""
    face = run.rows(OF_ENGINE, engine=engine)[0]
    digest = face_digest((face.box_left, face.box_top, face.box_right, face.box_bottom))
    content = face.content_sha256.hex()
    file = run.settings.thumbnails_path / content[:2] / f"{content}-face-{digest}-160.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


OF_ENGINE = "SELECT f.* FROM face_instances f JOIN models m ON m.id = f.model_id WHERE m.engine = :engine ORDER BY f.id"


def test_the_faces_of_before_are_forgotten_by_their_collection(here: Library, trainyard: Ask) -> None:
    given = ("--yes", "--data-dir", here.data_dir)
    refused = trainyard("models", "forget", "faces", *given)
    assert (refused.code, "holds the faces that are shown" in refused.err) == (2, True)
    assert switched(trainyard, here).code == 0
    assert trainyard("models", "forget", "faces", "--data-dir", here.data_dir).code == 2  # nobody is there to ask
    with installation(here.data_dir) as run:
        before = said(run, "dlib")
        looked_at = [look_at_a_face(run, engine) for engine in ("insightface", "dlib")]
    answer = trainyard("models", "forget", "faces", *given)
    found = len(before)
    assert answer.out == f"0 photos, {found} faces, 0 persons, {found} vectors and 1 thumbnail removed.\n"
    assert [file.exists() for file in looked_at] == [False, True]
    with installation(here.data_dir) as run:
        assert run.vectors.collections() == ["faces-dlib", "images-fake"]
        assert said(run, "insightface") == []
        assert said(run, "dlib") == before
        assert list(find_drift(Repair(stores_of(run, alone=True), mend=False))) == []
    other = trainyard("models", "forget", "faces-of-nobody", *given)
    assert (other.code, "is no collection of faces that are not shown (faces)" in other.err) == (2, True)


def test_faces_that_another_session_shows_again_meanwhile_are_not_forgotten(
    here: Library, trainyard: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert switched(trainyard, here).code == 0
    with installation(here.data_dir) as run:
        ids = {row.engine: row.id for row in run.rows("SELECT id, engine FROM models WHERE kind = 'face'")}
        before, points = said(run, "insightface"), run.vectors.count("faces")

        def show(engine: str) -> None:
            run.database.transact(lambda connection: activate(connection, ids[engine]))

        show("insightface")
        with pytest.raises(NetworkShown, match="faces holds the faces that are shown"):
            erase_network(stores_of(run), ids["insightface"])
        assert run.vectors.count("faces") == points
        show("dlib")

        def folders(_: Path) -> list[Path]:
            show("insightface")
            return []

        with monkeypatch.context() as patched:
            patched.setattr(thumbnail_files, "folders", folders)
            with pytest.raises(NetworkShown):
                erase_network(stores_of(run), ids["insightface"])
        assert (shown(run), said(run, "insightface")) == ("insightface", before)
