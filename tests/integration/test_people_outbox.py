"""Qdrant and prototypes follow people's changes: on a real database and Qdrant's own local engine."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from jobs.assignment import read_prototypes
from tests.faces import unit
from tests.people_rows import Library, forget_all
from tests.rows import add_model, add_step
from trainyard.database import Database
from trainyard.outbox import drain, enqueue_persons, enqueue_photos
from trainyard.people import changes, faces, persons, prototypes
from trainyard.people.prototypes import refresh_in
from trainyard.tables import image_assets, person_prototypes, training_evidence
from trainyard.vectors import Payload, Vectors, VectorsUnavailable, image_point

REPOSITORY = Path(__file__).parents[2]
MODEL = "0" * 64  # the weights of tests.rows' networks
FACES, IMAGES = "face-made-up", "clip-made-up"
DIMENSION = 4
TAKEN = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)

DIE_WHILE_DRAINING = """
import os, signal, sys; from pathlib import Path
from trainyard.database import Database; from trainyard.outbox import drain; from trainyard.vectors import Vectors
told = Vectors.set_payload
def tell_and_die(*arguments):
    told(*arguments)
    if arguments[1] == "face-made-up":
        os.kill(os.getpid(), signal.SIGKILL)
Vectors.set_payload = tell_and_die
drain(Database(sys.argv[1]), Vectors.local(Path(sys.argv[2])))
"""


class Stores:
    """A library whose faces and photos have points in Qdrant."""

    def __init__(self, database: Database, vectors: Vectors) -> None:
        self.database, self.vectors = database, vectors
        self.library = Library.made(database.engine)
        self.clip = self.library.do(add_model, "clip")
        vectors.ensure_collection(FACES, DIMENSION, MODEL)
        vectors.ensure_collection(IMAGES, DIMENSION, MODEL)

    def refresh(self, person_id: int) -> bool:
        return self.database.transact(lambda connection: refresh_in(connection, self.vectors, person_id))

    def photo(self, number: int) -> UUID:
        """The photo's point, as embed leaves it; returns its id."""
        asset_id, content = self.library.photos[number], b"content %d" % number
        point = image_point(asset_id, content, MODEL)
        evidence = {
            "asset_id": asset_id,
            "content_sha256": content,
            "model_id": self.clip,
            "embedding_sha256": b"",
            "trained": False,
            "session_id": self.library.session,
            "seconds": 0.1,
        }
        taken = sa.update(image_assets).where(image_assets.c.id == asset_id).values(taken_at=TAKEN)
        self.library.do(lambda c: (c.execute(sa.insert(training_evidence).values(evidence)), c.execute(taken)))
        payload = {"path": f"/photos/{number:06d}.jpg", "created_at": "then", "asset_id": asset_id, "category_id": None}
        self.vectors.upsert(IMAGES, [point], np.eye(DIMENSION, dtype=np.float32)[:1], [payload])
        return point

    def face(self, vector: NDArray[np.float32] | None = None, **columns: Any) -> UUID:
        """A face with its point, as detect leaves it; returns its id."""
        id = self.library.face(**columns)
        row = self.library.row(id)
        payload = {"face_id": str(id), "asset_id": row.asset_id, "person_id": row.person_id}
        there = np.eye(DIMENSION, dtype=np.float32)[0] if vector is None else vector
        self.vectors.upsert(FACES, [id], there[np.newaxis], [payload])
        return id

    def payload(self, point: UUID, collection: str = FACES) -> dict[str, Any]:
        """What the point says; to Qdrant null and nothing are the same."""
        return {id: payload for page in self.vectors.payload_pages(collection) for id, payload in page}[point]

    def drain(self, limit: int = 500) -> int:
        return drain(self.database, self.vectors, limit)

    def left(self) -> list[tuple[int | None, int | None]]:
        rows = self.library.do(lambda c: c.execute(sa.text("SELECT asset_id, person_id FROM outbox ORDER BY id")).all())
        return [(row.asset_id, row.person_id) for row in rows]

    def prototypes(self, person_id: int, *, standing: bool = True) -> list[sa.Row[Any]]:
        p = person_prototypes.c
        query = sa.select(person_prototypes).where(p.person_id == person_id).order_by(p.id)
        if standing:
            query = query.where(p.retired_at.is_(None))
        return self.library.do(lambda c: list(c.execute(query).all()))

    def faces_of(self, person_id: int) -> set[UUID]:
        return {row.face_id for row in self.prototypes(person_id)}


@pytest.fixture(scope="module")
def database(module_database_url: str) -> Iterator[Database]:
    database = Database(module_database_url)
    yield database
    database.close()


@pytest.fixture
def vectors(qdrant_dir: Path) -> Iterator[Vectors]:
    vectors = Vectors.local(qdrant_dir)
    yield vectors
    vectors.close()


@pytest.fixture
def stores(database: Database, vectors: Vectors) -> Iterator[Stores]:
    yield Stores(database, vectors)
    forget_all(database.engine)


def looks(count: int) -> NDArray[np.float32]:
    """So many faces, no two alike."""
    return unit(np.eye(DIMENSION, dtype=np.float32)[:count])


# Payloads


def test_points_follow_the_rows(stores: Stores) -> None:
    library, photo = stores.library, stores.photo(0)
    anna, bea = library.person("Anna"), library.person("Bea")
    first, second = stores.face(photo=0), stores.face(photo=0, ordinal=1)
    library.do(faces.assign, [first], bea)
    library.do(faces.assign, [second], anna)
    assert stores.drain() > 0
    assert stores.left() == []
    assert [stores.payload(id)["person_id"] for id in (first, second)] == [bea, anna]
    assert stores.payload(photo, IMAGES) == {
        "path": "/photos/000000.jpg",
        "created_at": "then",
        "asset_id": library.photos[0],
        "taken_at": "2024-05-01T12:00:00+00:00",
        "person_ids": [anna, bea],
    }
    library.do(faces.unassign, [second])
    stores.drain()
    assert stores.payload(second) == {"face_id": str(second), "asset_id": library.photos[0]}
    assert stores.payload(photo, IMAGES)["person_ids"] == [bea]


def test_points_follow_an_undo(stores: Stores) -> None:
    library, photo = stores.library, stores.photo(0)
    anna, face = library.person("Anna"), stores.face(photo=0)
    change = library.do(faces.assign, [face], anna)
    stores.drain()
    library.do(changes.undo, change.id)
    stores.drain()
    assert "person_id" not in stores.payload(face)
    assert stores.payload(photo, IMAGES)["person_ids"] == []
    assert stores.prototypes(anna) == []


def test_the_category_and_time_of_photos_follow_too(stores: Stores) -> None:
    library, photo = stores.library, stores.photo(0)
    change = """
        WITH new AS (INSERT INTO categories (name) VALUES ('Garden') RETURNING id)
        UPDATE image_assets SET category_id = new.id, taken_at = NULL FROM new
        WHERE image_assets.id = :id RETURNING new.id
    """
    category = library.do(lambda c: c.scalar(sa.text(change), {"id": library.photos[0]}))
    library.do(enqueue_photos, [library.photos[0]])
    assert stores.drain() == 1
    payload = stores.payload(photo, IMAGES)
    assert (payload["category_id"], payload.get("taken_at"), payload["person_ids"]) == (category, None, [])


def test_persons_of_a_photo_are_those_of_the_active_networks_faces(stores: Stores) -> None:
    library, photo = stores.library, stores.photo(0)
    anna, bea = library.person("Anna"), library.person("Bea")
    other = library.do(
        lambda c: c.execute(
            sa.text("""
                INSERT INTO models
                    (kind, engine, name, weights_sha256, preprocess_version, dimension, collection, trained, active)
                VALUES ('face', 'none', 'another', :sha, 1, 4, 'faces-another', false, false) RETURNING id
            """),
            {"sha": "1" * 64},
        ).scalar_one()
    )
    library.face(photo=0, model_id=other, person_id=bea, assigned_by="person")
    stores.face(photo=0, person_id=anna, assigned_by="engine")
    library.do(enqueue_photos, [library.photos[0]])
    stores.drain()
    assert stores.payload(photo, IMAGES)["person_ids"] == [anna]


def test_missing_collections_points_and_photos_are_passed_over(stores: Stores) -> None:
    library = stores.library
    face, lost = stores.face(photo=0), library.face(photo=1)
    anna = library.person("Anna")
    library.do(faces.assign, [face, lost], anna)
    library.do(enqueue_photos, [10**9])
    stores.vectors.delete_collection(IMAGES)
    stores.drain()
    assert stores.left() == []
    assert stores.payload(face)["person_id"] == anna
    assert stores.vectors.collections() == [FACES]


def test_another_networks_points_are_left_alone(stores: Stores) -> None:
    library, face = stores.library, stores.face(photo=0)
    stores.vectors.delete_collection(FACES)
    stores.vectors.ensure_collection(FACES, DIMENSION, "1" * 64)
    stores.vectors.upsert(FACES, [face], looks(1), [{"person_id": "another's"}])
    anna = library.person("Anna")
    library.do(faces.assign, [face], anna)
    stores.drain()
    assert stores.left() == []
    assert stores.payload(face) == {"person_id": "another's"}
    assert stores.prototypes(anna) == []


def test_a_change_of_a_row_while_its_point_is_told_reaches_the_point(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A category is told by its session itself, right after it is committed: before or after this drain's own words."""
    library, photo = stores.library, stores.photo(0)
    library.do(lambda c: c.execute(sa.text("INSERT INTO categories (name) VALUES ('Garden')")))
    library.do(enqueue_photos, [library.photos[0]])

    def follow_category(stores: Stores) -> None:
        library.do(lambda c: c.execute(sa.text("UPDATE image_assets SET category_id = (SELECT id FROM categories)")))
        told(stores.vectors, IMAGES, [photo], {"category_id": "told by the session"})

    told = before_the_first_telling(monkeypatch, lambda: follow_category(stores))
    stores.drain()
    assert stores.payload(photo, IMAGES)["category_id"] == library.do(
        lambda c: c.scalar(sa.text("SELECT id FROM categories"))
    )


# Interrupted, and beside others


def test_entries_stay_while_the_engine_is_away(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    library, face = stores.library, stores.face(photo=0)
    anna = library.person("Anna")
    library.do(faces.assign, [face], anna)
    before = stores.left()

    def away(*arguments: object) -> None:
        raise VectorsUnavailable("The Qdrant server is away.")

    with monkeypatch.context() as patch:
        patch.setattr(Vectors, "set_payload", away)
        with pytest.raises(VectorsUnavailable):
            stores.drain()
    assert stores.left() == before
    assert stores.prototypes(anna) == []
    stores.drain()
    assert (stores.left(), stores.payload(face)["person_id"], stores.faces_of(anna)) == ([], anna, {face})


def test_killed_between_the_points_and_the_rows_it_is_done_again(
    database: Database, qdrant_dir: Path, module_database_url: str
) -> None:
    vectors = Vectors.local(qdrant_dir)
    stores = Stores(database, vectors)
    photo, face = stores.photo(0), stores.face(photo=0)
    anna = stores.library.person("Anna")
    stores.library.do(faces.assign, [face], anna)
    before = stores.left()
    vectors.close()
    command = [sys.executable, "-c", DIE_WHILE_DRAINING, module_database_url, str(qdrant_dir)]
    assert subprocess.run(command, cwd=REPOSITORY).returncode == -signal.SIGKILL
    assert stores.left() == before
    stores.vectors = Vectors.local(qdrant_dir)
    assert stores.payload(face)["person_id"] == anna  # told, and not noted
    assert stores.drain() == len(before)
    assert stores.left() == []
    assert (stores.payload(photo, IMAGES)["person_ids"], stores.faces_of(anna)) == ([anna], {face})
    stores.vectors.close()
    forget_all(database.engine)


def test_what_is_changed_during_a_drain_is_told_by_the_next(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    library, face = stores.library, stores.face(photo=0)
    anna, bea = library.person("Anna"), library.person("Bea")
    library.do(faces.assign, [face], anna)
    before_the_first_telling(monkeypatch, lambda: library.do(faces.assign, [face], bea))
    stores.drain()
    assert stores.left() == [(None, anna), (None, bea), (library.photos[0], None)]
    stores.drain()
    assert stores.left() == []
    assert stores.payload(face)["person_id"] == bea
    assert (stores.faces_of(anna), stores.faces_of(bea)) == (set(), {face})


def test_only_one_drains_at_a_time(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    library, face = stores.library, stores.face(photo=0)
    library.do(faces.assign, [face], library.person("Anna"))
    second: list[int] = []
    before_the_first_telling(monkeypatch, lambda: second.append(stores.drain()))
    assert stores.drain() == 2
    assert second == [0]
    assert stores.drain() == 0


def test_a_drain_takes_so_many_the_oldest_first(stores: Stores) -> None:
    stores.library.do(lambda c: [enqueue_photos(c, [id]) for id in stores.library.photos[:5]])
    assert stores.drain(limit=2) == 2
    assert [asset_id for asset_id, _ in stores.left()] == stores.library.photos[2:5]
    assert [stores.drain(limit=2) for _ in range(3)] == [2, 1, 0]


def test_persons_do_not_wait_for_the_photos_before_them(stores: Stores) -> None:
    stores.library.do(enqueue_photos, stores.library.photos)
    stores.library.do(enqueue_persons, [1, 2])
    assert stores.drain(limit=3) == 3
    assert {person_id for _, person_id in stores.left()} == {None}


def test_a_group_of_many_faces_is_told_in_one_call(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    library = stores.library
    anna, ids = library.person("Anna"), [stores.face() for _ in range(30)]
    library.do(faces.assign, ids, anna)
    calls: list[int] = []
    told = Vectors.set_payload

    def counted(self: Vectors, collection: str, ids: list[UUID], payload: Payload) -> None:
        calls.append(len(ids))
        told(self, collection, ids, payload)

    monkeypatch.setattr(Vectors, "set_payload", counted)
    stores.drain()
    assert calls == [30]


# Prototypes


def test_prototypes_are_of_faces_that_people_named(stores: Stores) -> None:
    library, (one, two, three, four) = stores.library, looks(4)
    anna = library.person("Anna")
    named, found, ignored = (
        stores.face(one),
        stores.face(two, person_id=anna, assigned_by="engine"),
        stores.face(three, person_id=anna, assigned_by="person", ignored_at=sa.func.now()),
    )
    library.do(faces.assign, [named], anna)
    stores.drain()
    assert stores.faces_of(anna) == {named}
    library.do(faces.assign, [found], anna)  # confirmed
    library.do(faces.ignore, [ignored], ignored=False)
    stores.drain()
    assert stores.faces_of(anna) == {named, found, ignored}
    row = stores.prototypes(anna)[0]
    assert np.frombuffer(row.embedding, "<f4").tolist() == one.tolist()
    late = stores.face(four, person_id=anna, assigned_by="engine")
    assert stores.refresh(anna) is False
    assert late not in stores.faces_of(anna)


def test_prototypes_that_stay_keep_their_rows_and_others_retire(stores: Stores) -> None:
    library = stores.library
    anna, ids = library.person("Anna"), [stores.face(look) for look in looks(3)]
    library.do(faces.assign, ids[:2], anna)
    stores.drain()
    first = {row.face_id: row for row in stores.prototypes(anna)}
    library.do(faces.assign, ids[2:], anna)
    library.do(faces.unassign, ids[:1])
    stores.drain()
    later = {row.face_id: row for row in stores.prototypes(anna)}
    assert later.keys() == {ids[1], ids[2]}
    assert later[ids[1]] == first[ids[1]]
    retired = [row for row in stores.prototypes(anna, standing=False) if row.retired_at]
    assert [(row.face_id, row.created_at <= row.retired_at) for row in retired] == [(ids[0], True)]


def test_a_session_assigns_by_the_prototypes_that_stood_when_it_began(stores: Stores) -> None:
    library, (one, two, *_) = stores.library, looks(2)
    anna = library.person("Anna")
    first, second = stores.face(one), stores.face(two)
    library.do(faces.assign, [first], anna)
    stores.drain()
    library.do(lambda c: add_step(c, library.session, "assign", "running", started_at=sa.func.clock_timestamp()))
    library.do(faces.unassign, [first])
    library.do(faces.assign, [second], anna)
    stores.drain()
    stood = library.do(read_prototypes, library.session, library.model, DIMENSION)
    assert stood.embeddings.tolist() == [one.tolist()]
    assert stood.person_ids.tolist() == [anna]


def test_merged_and_deleted_persons_have_no_prototypes_until_that_is_undone(stores: Stores) -> None:
    library, (one, two, *_) = stores.library, looks(2)
    anna, bea = library.person("Anna"), library.person("Bea")
    hers, beas = stores.face(one), stores.face(two)
    library.do(faces.assign, [hers], anna)
    library.do(faces.assign, [beas], bea)
    merged = library.do(persons.merge, anna, [bea])
    stores.drain()
    assert (stores.faces_of(anna), stores.faces_of(bea)) == ({hers, beas}, set())
    library.do(changes.undo, merged.id)
    deleted = library.do(persons.delete, anna)
    stores.drain()
    assert (stores.faces_of(anna), stores.faces_of(bea)) == (set(), {beas})
    library.do(changes.undo, deleted.id)
    stores.drain()
    assert stores.faces_of(anna) == {hers}


def test_a_person_has_prototypes_of_every_network(stores: Stores) -> None:
    library, face = stores.library, stores.face(photo=0)
    anna = library.person("Anna")
    other = library.do(
        lambda c: c.execute(
            sa.text("""
                INSERT INTO models
                    (kind, engine, name, weights_sha256, preprocess_version, dimension, collection, trained, active)
                VALUES ('face', 'none', 'another', :sha, 1, 3, 'faces-another', false, false) RETURNING id
            """),
            {"sha": "1" * 64},
        ).scalar_one()
    )
    elsewhere = library.face(photo=0, model_id=other, person_id=anna, assigned_by="person")
    library.do(faces.assign, [face], anna)
    stores.drain()
    assert stores.faces_of(anna) == {face}  # the other network's collection is not there
    stores.vectors.ensure_collection("faces-another", 3, "1" * 64)
    stores.vectors.upsert("faces-another", [elsewhere], np.eye(3, dtype=np.float32)[:1], [{}])
    assert stores.refresh(anna) is True
    assert {(row.model_id, row.face_id) for row in stores.prototypes(anna)} == {
        (library.model, face),
        (other, elsewhere),
    }


def test_a_prototype_outlives_its_point(stores: Stores) -> None:
    """A damaged vector folder is deleted and filled again: until then the engine still knows who is who."""
    library, (one, two, *_) = stores.library, looks(2)
    anna, ids = library.person("Anna"), [stores.face(one), stores.face(two)]
    library.do(faces.assign, ids, anna)
    stores.drain()
    before = stores.prototypes(anna)
    stores.vectors.delete(FACES, ids[:1])
    assert stores.refresh(anna) is False
    stores.vectors.delete_collection(FACES)
    assert stores.refresh(anna) is False
    assert stores.prototypes(anna) == before


def test_how_alike_is_alike_enough_is_the_networks_own(stores: Stores) -> None:
    library = stores.library
    thresholds = {"assign": 0.95, "margin": 0.01, "suggestion": 0.9, "verification": 0.95, "source": "made up"}
    statement = sa.text("UPDATE models SET thresholds = CAST(:thresholds AS jsonb) WHERE id = :id")
    library.do(lambda c: c.execute(statement, {"thresholds": json.dumps(thresholds), "id": library.model}))
    alike = unit(np.array([[1, 0, 0, 0], [0.95, 0.31, 0, 0]], np.float32))  # a cosine of 0.95: two people, to dlib
    anna, ids = library.person("Anna"), [stores.face(vector) for vector in alike]
    library.do(faces.assign, ids, anna)
    stores.drain()
    assert stores.faces_of(anna) == set(ids)


def test_two_refreshes_at_once_store_each_prototype_once(stores: Stores) -> None:
    library = stores.library
    anna, ids = library.person("Anna"), [stores.face(look) for look in looks(4)]
    library.do(faces.assign, ids, anna)
    with ThreadPoolExecutor(4) as pool:
        changed = list(pool.map(lambda _: stores.refresh(anna), range(4)))
    assert sorted(changed) == [False, False, False, True]
    assert len(stores.prototypes(anna, standing=False)) == 4


def test_of_very_many_faces_the_best_are_looked_at(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    library, (one, two, *_) = stores.library, looks(2)
    anna = library.person("Anna")
    good, _ = stores.face(one, quality=0.9), stores.face(two, quality=0.5)
    monkeypatch.setattr(prototypes, "MOST_FACES", 1)
    library.do(
        lambda c: c.execute(sa.text("UPDATE face_instances SET person_id = :p, assigned_by = 'person'"), {"p": anna})
    )
    library.do(enqueue_persons, [anna])
    stores.drain()
    assert stores.faces_of(anna) == {good}


def before_the_first_telling(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]
) -> Callable[[Vectors, str, list[UUID], Payload], None]:
    """Have something done at the moment when rows have been read and points are about to be told."""
    told = Vectors.set_payload
    done: list[bool] = []

    def tell(self: Vectors, collection: str, ids: list[UUID], payload: Payload) -> None:
        if not done:
            done.append(True)
            work()
        told(self, collection, ids, payload)

    monkeypatch.setattr(Vectors, "set_payload", tell)
    return told
