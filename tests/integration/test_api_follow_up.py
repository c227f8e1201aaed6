"""What follows people's changes by itself: stores that hear of them, and one session that goes over unknown faces."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from api import follow_up
from api.follow_up import FollowUp
from tests.local_runs import wait_until
from tests.people_rows import Library
from tests.rows import add_step
from tests.served_people import ServedPeople, served_people
from trainyard import outbox
from trainyard.database import Database
from trainyard.people.faces import assign
from trainyard.people.names import create
from trainyard.settings import Settings
from trainyard.vectors import Vectors, VectorsUnavailable

COLLECTION, MODEL, DIMENSION = "face-made-up", "0" * 64, 4  # of tests.rows' network
LONG = 3_600.0


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url, pool_size=2)) as opened:
        yield opened


@pytest.fixture
def vectors(qdrant_dir: Path) -> Iterator[Vectors]:
    with closing(Vectors.local(qdrant_dir)) as opened:
        opened.ensure_collection(COLLECTION, DIMENSION, MODEL)
        yield opened


@pytest.fixture
def library(database: Database) -> Library:
    return Library.made(database.engine)


class Following:
    """A library whose faces have vectors, and what follows changes of it: looked at when the test says so."""

    def __init__(self, library: Library, database: Database, vectors: Vectors, folder: Path) -> None:
        self.library, self.database, self.vectors = library, database, vectors
        self.settings = Settings(data_dir=folder)

    def follow_up(self, quiet_seconds: float = 0.0) -> FollowUp:
        return FollowUp(self.database, self.vectors, self.settings, quiet_seconds=quiet_seconds)

    def name(self, *names: str) -> None:
        """Each a new person with a face, as people say it; the prototypes have yet to hear of it."""
        for name in names:
            face = face_with_vector(self.library, self.vectors)
            person = self.library.do(create, name)
            self.library.do(assign, [face], person)

    def sessions(self) -> list[Any]:
        """Those that only assign, hidden ones too, the oldest first."""
        asked = sa.text("SELECT * FROM training_sessions WHERE options ->> 'assign' = 'true' ORDER BY id")
        return self.library.do(lambda connection: connection.execute(asked).all())

    def sql(self, statement: str, **parameters: Any) -> None:
        self.library.do(lambda connection: connection.execute(sa.text(statement), parameters))


@pytest.fixture
def following(library: Library, database: Database, vectors: Vectors, tmp_path: Path) -> Following:
    return Following(library, database, vectors, tmp_path)


def face_with_vector(library: Library, vectors: Vectors) -> Any:
    face = library.face()
    vector = np.zeros((1, DIMENSION), np.float32)
    vector[0, library.next % DIMENSION] = 1
    vectors.upsert(COLLECTION, [face], vector, [{"asset_id": 1, "face_id": str(face)}])
    return face


def left_in_outbox(library: Library) -> int:
    return int(library.do(lambda c: c.execute(sa.text("SELECT count(*) FROM outbox")).scalar_one()))


# One session


def test_nothing_is_asked_for_until_people_have_stopped(following: Following) -> None:
    following.name("Anna")
    following.follow_up(LONG).look()
    assert left_in_outbox(following.library) == 0
    assert following.sessions() == []
    following.sql("UPDATE person_prototypes SET created_at = created_at - make_interval(secs => :s)", s=LONG)
    following.follow_up(LONG).look()
    [session] = following.sessions()
    assert (session.root_path, session.status, session.source_session_id) == ("/", "pending", None)
    assert session.options == {
        "faces": True,
        "untrained": False,
        "face_engine": "auto",
        "training": False,
        "assign": True,
        "asked_by": "changes",
    }


def test_prototypes_that_stay_as_they_are_ask_for_nothing(following: Following) -> None:
    following.follow_up().look()
    following.library.do(create, "Nobody's face")
    following.follow_up().look()
    assert following.sessions() == []


def test_many_changes_are_one_session_while_it_has_not_begun(following: Following) -> None:
    for name in ("Anna", "Bert", "Cleo"):
        following.name(name)
        following.follow_up().look()
    assert len(following.sessions()) == 1


def test_changes_after_it_has_begun_are_another_and_the_ended_one_is_hidden(following: Following) -> None:
    following.name("Anna")
    following.follow_up().look()
    [first] = following.sessions()
    following.library.do(add_step, first.id, "discover", "running", attempt=1)
    following.follow_up().look()
    assert len(following.sessions()) == 1  # nothing has changed since
    following.name("Bert")
    following.follow_up().look()
    assert [session.deleted_at for session in following.sessions()] == [None, None]  # the first still runs

    following.sql("UPDATE training_sessions SET status = 'completed' WHERE options ->> 'assign' = 'true'")
    following.name("Cleo")
    following.follow_up().look()
    assert [session.deleted_at is not None for session in following.sessions()] == [True, True, False]


def test_a_session_that_failed_is_not_asked_for_again_by_itself(following: Following) -> None:
    following.name("Anna")
    following.follow_up().look()
    following.sql("UPDATE training_sessions SET status = 'failed' WHERE options ->> 'assign' = 'true'")
    following.follow_up().look()
    assert [session.status for session in following.sessions()] == ["failed"]


def test_a_session_that_somebody_asked_for_will_do(following: Following) -> None:
    following.sql("""INSERT INTO training_sessions (root_path, options) VALUES ('/', '{"assign": true}')""")
    following.name("Anna")
    following.follow_up().look()
    assert len(following.sessions()) == 1


def test_a_retired_prototype_is_a_change_too(following: Following) -> None:
    following.name("Anna")
    following.follow_up().look()
    following.sql("UPDATE training_sessions SET status = 'completed' WHERE options ->> 'assign' = 'true'")
    following.sql("UPDATE person_prototypes SET retired_at = clock_timestamp()")
    following.follow_up().look()
    assert len(following.sessions()) == 2


def test_several_replicas_ask_for_one(following: Following) -> None:
    following.name("Anna")
    outbox.drain(following.database, following.vectors)
    replicas = 2
    ready = threading.Barrier(replicas)

    def look(_: int) -> None:
        ready.wait()
        following.follow_up().look()

    with ThreadPoolExecutor(replicas) as threads:
        for _ in range(5):
            list(threads.map(look, range(replicas)))
    assert len(following.sessions()) == 1


# Stores that hear of changes


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ServedPeople]:
    with served_people(database_url, tmp_path / "served") as served:
        served.rows.services.vectors.ensure_collection(COLLECTION, DIMENSION, MODEL)
        yield served


def prototypes(server: ServedPeople, person_id: int = 1) -> list[Any]:
    return list(server.get(f"/persons/{person_id}/prototypes")["items"])


def name(server: ServedPeople) -> None:
    face = face_with_vector(server.library, server.rows.services.vectors)
    server.done("/faces/assign", faceIds=[str(face)], name="Anna")


def unavailable(*_: Any) -> int:
    raise VectorsUnavailable("The Qdrant server is away.")


def test_a_change_is_known_to_the_prototypes_when_it_is_answered(server: ServedPeople) -> None:
    name(server)
    wait_until(lambda: prototypes(server), "prototypes")  # at once, unless the machine is slow
    assert left_in_outbox(server.library) == 0


def test_a_store_that_is_away_fails_no_change_and_hears_of_it_later(
    server: ServedPeople, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(outbox, "drain", unavailable)
        name(server)
        assert server.get("/persons")["items"][0]["faces"] == 1
        assert prototypes(server) == []
    wait_until(lambda: prototypes(server), "the store to hear of it")


def test_a_store_that_hangs_holds_up_no_change(server: ServedPeople, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(follow_up, "PATIENCE_SECONDS", 0.01)
    with monkeypatch.context() as hanging:
        hanging.setattr(outbox, "drain", lambda *_: int(not go_on.wait(120)))
        try:
            name(server)
            assert server.get("/persons")["items"][0]["faces"] == 1
        finally:
            go_on.set()
    wait_until(lambda: prototypes(server), "the store to hear of it")


def test_what_a_process_left_the_next_one_tells(
    server: ServedPeople, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(outbox, "drain", unavailable)
        name(server)
        server.rows.services.follow_up.close()
    assert left_in_outbox(server.library) == 1 + 1  # the photo and the person
    services = server.rows.services
    with closing(Database(database_url)) as database:
        following = FollowUp(database, services.vectors, services.settings, poll_seconds=LONG)
        following.start()
        wait_until(lambda: prototypes(server), "the store to hear of it")
        following.close()


def test_the_thread_ends_with_the_server(database_url: str, tmp_path: Path) -> None:
    before = threads()
    with served_people(database_url, tmp_path):
        wait_until(lambda: len(threads()) > len(before), "the thread to begin")
    assert threads() == before


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "follow-up"]
