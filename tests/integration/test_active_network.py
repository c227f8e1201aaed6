"""Which face network is the active one, and which one `auto` means."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import networks
from jobs.context import Context, Session
from jobs.engines import FaceThresholds, ModelCard
from jobs.engines.loading import card_to_json
from tests.engines import FakeEngines
from trainyard.database import Database
from trainyard.face_models import active_face_model
from trainyard.settings import Settings
from trainyard.tables import models
from trainyard.vectors import Vectors

THRESHOLDS = FaceThresholds(assign=0.5, margin=0.1, suggestion=0.4, verification=0.5, source="made up for this test")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def card(name: str, engine: str = "dlib", kind: str = "face") -> ModelCard:
    thresholds = THRESHOLDS if kind == "face" else None
    return ModelCard(kind, engine, name, name, 1, 4, f"{kind}-{name}", thresholds)


def remember(database: Database, stored: ModelCard) -> int:
    return database.transact(lambda connection: networks._row_of(connection, card_to_json(stored)))


def row(database: Database, id: int) -> Any:
    return database.transact(lambda c: c.execute(sa.select(models).where(models.c.id == id)).one())


def test_the_first_face_network_is_active_and_another_is_not(database: Database) -> None:
    clip = remember(database, card("clip", kind="clip"))
    first, second = remember(database, card("first")), remember(database, card("second"))
    assert [row(database, id).active for id in (clip, first, second)] == [True, True, False]
    assert remember(database, card("second")) == second
    active = database.transact(active_face_model)
    assert active is not None
    assert active.id == first


def test_of_two_that_come_first_at_the_same_time_one_is_active(database: Database) -> None:
    together = Barrier(4)

    def come(name: str) -> int:
        together.wait()
        return remember(database, card(name))

    with ThreadPoolExecutor(4) as threads:
        ids = list(threads.map(come, ("a", "b", "c", "a")))
    assert sum(row(database, id).active for id in set(ids)) == 1
    assert ids[0] == ids[3]


def test_thresholds_measured_anew_replace_the_old_ones(database: Database) -> None:
    id = remember(database, card("first"))
    remember(database, replace(card("first"), thresholds=replace(THRESHOLDS, assign=0.6)))
    assert row(database, id).thresholds["assign"] == 0.6


@pytest.mark.parametrize(
    ("wanted", "active", "expected"),
    [
        ("auto", None, "dlib"),  # nothing is downloaded
        ("auto", "insightface", "insightface"),
        ("auto", "dlib", "dlib"),
        ("insightface", "dlib", "insightface"),
        ("dlib", "insightface", "dlib"),
    ],
)
def test_auto_stays_with_the_network_whose_faces_people_see(
    database: Database, tmp_path: Path, wanted: str, active: str | None, expected: str
) -> None:
    if active:
        remember(database, card("first", active))
    settings = Settings(data_dir=tmp_path, device="cpu")
    vectors = Vectors.local(tmp_path / "qdrant")
    context = Context(database, vectors, settings, FakeEngines(settings), Event(), "by hand")
    session = Session(1, "/photos", None, None, {"face_engine": wanted}, {}, (), ())
    assert networks._face_engine(context, session) == expected
    vectors.close()
