"""The schema: what migrations lead to, that they may be called by anybody at any time, and the view in it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tests.conftest import execute, url_of
from tests.rows import add_model, add_photos, add_session, add_step
from trainyard.database import MIGRATION_LOCK, SchemaMismatch, _alembic_config, check_schema, migrate
from trainyard.tables import face_scans, installation, metadata, shards

REPOSITORY = Path(__file__).parents[2]
MIGRATE = "import sys; from trainyard.database import migrate; migrate(sys.argv[1])"

# What Alembic does not compare: checks, predicates of indexes, identities, and what survives a crash.
CATALOGUE = """
    SELECT 'column' AS kind, table_name || '.' || column_name AS name,
           concat_ws(' ', data_type, is_nullable, column_default, is_identity, identity_generation) AS definition
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'constraint', conname, conrelid::regclass || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'table', relname, relpersistence::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    ORDER BY 1, 2
"""
NOT_OF_THE_TABLES = ("alembic_version", "face_detection_sessions")


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """URL of a database with nothing in it."""
    name = f"test_{uuid4().hex}"
    execute(postgres_url, "CREATE DATABASE {}", name)
    yield url_of(postgres_url, name)
    execute(postgres_url, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def connection(module_database_url: str) -> Iterator[sa.Connection]:
    """A transaction that is never committed, so that the tests share one database."""
    engine = sa.create_engine(module_database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def catalogue(url: str) -> list[tuple[str, str, str]]:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        rows = connection.execute(sa.text(CATALOGUE)).all()
    return [(row.kind, row.name, row.definition) for row in rows if not row.name.startswith(NOT_OF_THE_TABLES)]


def test_migrations_lead_to_the_tables(connection: sa.Connection) -> None:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True, "compare_type": True})
    assert compare_metadata(context, metadata) == []


def test_migrations_lead_to_the_tables_to_the_last_constraint(module_database_url: str, empty_url: str) -> None:
    metadata.create_all(sa.create_engine(empty_url, poolclass=sa.NullPool))
    migrated, described = catalogue(module_database_url), catalogue(empty_url)
    assert migrated == described
    assert len({name for kind, name, _ in migrated if kind == "table"}) == len(metadata.tables)


def test_migrating_again_changes_nothing(module_database_url: str, connection: sa.Connection) -> None:
    before = connection.execute(sa.select(installation)).one()
    migrate(module_database_url)
    assert connection.execute(sa.select(installation)).one() == before
    check_schema(connection)


def test_two_processes_migrate_at_once(empty_url: str) -> None:
    """Both are held at the lock until both are there, so that neither can be early."""
    engine = sa.create_engine(empty_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(MIGRATION_LOCK)))
        command = [sys.executable, "-c", MIGRATE, empty_url]
        both = [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE) for _ in range(2)]
        while waiting_at_the_lock(connection) < 2:
            assert all(process.poll() is None for process in both)
            time.sleep(0.02)
    for process in both:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint.decode()
    with engine.connect() as connection:
        check_schema(connection)
        assert connection.execute(sa.select(sa.func.count()).select_from(installation)).scalar_one() == 1


def waiting_at_the_lock(connection: sa.Connection) -> int:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (" \
        "SELECT oid FROM pg_database WHERE datname = current_database())"  # fmt: skip
    return int(connection.execute(sa.text(waiting)).scalar_one())


def test_of_several_face_networks_the_one_that_was_used_last_stays_active(empty_url: str) -> None:
    """Which may be the older one, gone back to. Before 0007 all of them were active."""
    engine, config = sa.create_engine(empty_url, poolclass=sa.NullPool), _alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        one = add_model(connection, "face")
        copied = """
            INSERT INTO models (kind, engine, name, weights_sha256, preprocess_version, dimension, collection, trained)
            SELECT kind, engine, 'other', weights_sha256, preprocess_version, dimension, collection, trained
            FROM models RETURNING id
        """
        other = connection.execute(sa.text(copied)).scalar_one()
        photos, content = add_photos(connection, 2), b"content"
        for photo, model in zip(photos, (other, one), strict=True):
            scan = {"asset_id": photo, "content_sha256": content, "model_id": model, "faces": 1}
            scan |= {"min_confidence": 0.5, "min_face_size_px": 20, "session_id": add_session(connection)}
            connection.execute(sa.insert(face_scans).values(scan))
    migrate(empty_url)
    with engine.connect() as connection:
        active = connection.execute(sa.text("SELECT id FROM models WHERE kind = 'face' AND active"))
        assert [row.id for row in active] == [one]


def test_a_database_without_a_schema_is_told_with_what_to_do(empty_url: str) -> None:
    engine = sa.create_engine(empty_url, poolclass=sa.NullPool)
    told = r"version none, .* needs 0007. Run `trainyard migrate`"
    with engine.connect() as connection, pytest.raises(SchemaMismatch, match=told):
        check_schema(connection)


def test_a_newer_schema_is_taken_as_it_is(connection: sa.Connection) -> None:
    connection.execute(sa.text("UPDATE alembic_version SET version_num = 'of a later version'"))
    check_schema(connection)


# The view of face sessions


def face_sessions(connection: sa.Connection) -> dict[int, Any]:
    rows = connection.execute(sa.text("SELECT * FROM face_detection_sessions"))
    return {row.id: row._mapping for row in rows}


def test_a_session_with_faces_is_its_own_face_session(connection: sa.Connection) -> None:
    id = add_session(connection, options={"min_confidence": 0.7, "min_face_size_px": 32})
    add_step(connection, id, "embed", "completed")
    add_step(
        connection, id, "detect", "completed", total=40, done=40,
        counts={"faces": 12, "assigned": 5, "suggestions": 3},
    )  # fmt: skip
    add_step(connection, id, "cluster", "completed", counts={"clusters": 2})
    seen = dict(face_sessions(connection)[id])
    times = {name: seen.pop(name) for name in ("created_at", "started_at", "completed_at")}
    assert times["created_at"] is not None
    assert seen == {
        "id": id,
        "training_session_id": id,
        "status": "completed",
        "min_confidence": 0.7,
        "min_face_size": 32,
        "total_images": 40,
        "processed_images": 40,
        "current_asset_index": 40,
        "faces_detected": 12,
        "faces_assigned_to_persons": 5,
        "suggestions_created": 3,
        "clusters_created": 2,
    }


def test_a_running_face_session_counts_its_attempt_and_no_other(connection: sa.Connection) -> None:
    id = add_session(connection)
    add_step(connection, id, "detect", "running", attempt=2, total=100, done=30, counts={"faces": 10, "assigned": 1})
    place = {"session_id": id, "step": "detect", "first": 0, "last": 9, "next": 5, "total": 10}
    for attempt, index, faces in ((1, 0, 1000), (2, 0, 7), (2, 1, 4)):
        counts = {"faces": faces, "suggestions": 2}
        connection.execute(sa.insert(shards).values(**place, attempt=attempt, index=index, done=10, counts=counts))
    seen = face_sessions(connection)[id]
    assert (seen["processed_images"], seen["faces_detected"]) == (50, 21)
    assert (seen["faces_assigned_to_persons"], seen["suggestions_created"]) == (1, 4)
    assert (seen["min_confidence"], seen["min_face_size"]) == (0.5, 20)


STANDALONE = {"faces": True, "training": False}


def test_a_standalone_face_session_points_at_the_session_it_was_asked_for(connection: sa.Connection) -> None:
    source = add_session(connection, options={"faces": False})
    standalone = add_session(connection, source_session_id=source, options=STANDALONE)
    of_all_photos = add_session(connection, root_path="/", options=STANDALONE)
    for step in ("discover", "embed", "cluster"):
        add_step(connection, standalone, step, "skipped")
    add_step(connection, standalone, "assign", "running", total=9)
    seen = face_sessions(connection)
    pointing = {id: row["training_session_id"] for id, row in seen.items()}
    assert pointing == {standalone: source, of_all_photos: None}


@pytest.mark.parametrize("options", [{}, STANDALONE], ids=["ordinary", "standalone"])
def test_a_face_session_is_one_before_it_has_steps(connection: sa.Connection, options: dict[str, Any]) -> None:
    id = add_session(connection, options=options)
    without_faces = add_session(connection, options={"faces": False})
    seen = face_sessions(connection)
    assert without_faces not in seen
    row = seen[id]
    assert (row["status"], row["total_images"], row["processed_images"], row["faces_detected"]) == ("pending", 0, 0, 0)
    assert (row["clusters_created"], row["started_at"], row["completed_at"]) == (0, None, None)


def test_a_standalone_face_session_shows_the_sessions_status_and_times(connection: sa.Connection) -> None:
    """Also when there was nothing to find, or when it failed before its faces began."""
    ended = sa.func.now()
    nothing = add_session(connection, options=STANDALONE, status="completed", started_at=ended, completed_at=ended)
    for step in ("embed", "detect", "cluster"):
        add_step(connection, nothing, step, "skipped")
    failed = add_session(connection, options=STANDALONE, status="failed", completed_at=ended)
    add_step(connection, failed, "discover", "failed")
    add_step(connection, failed, "detect")
    seen = face_sessions(connection)
    assert {id: row["status"] for id, row in seen.items()} == {nothing: "completed", failed: "failed"}
    assert seen[nothing]["started_at"] is not None
    assert all(row["completed_at"] is not None for row in seen.values())


@pytest.mark.parametrize(
    ("session", "detect", "shown"),
    [
        ("running", "pending", "pending"),
        ("running", "running", "running"),
        ("running", "completed", "completed"),  # clustering runs
        ("paused", "pending", "paused"),
        ("failed", "pending", "failed"),  # nobody need wait for faces that will not be looked for
        ("failed", "completed", "completed"),  # clustering failed
        ("cancelled", "cancelled", "cancelled"),
        ("completed", "skipped", "skipped"),
    ],
)
def test_an_ordinary_sessions_face_session_shows_what_becomes_of_its_faces(
    connection: sa.Connection, session: str, detect: str, shown: str
) -> None:
    id = add_session(connection, status=session)
    add_step(connection, id, "detect", detect)
    assert face_sessions(connection)[id]["status"] == shown


def test_sessions_without_faces_and_deleted_ones_are_no_face_sessions(connection: sa.Connection) -> None:
    without = add_session(connection, options={"faces": False})
    deleted = add_session(connection, deleted_at=sa.func.now())
    add_session(connection, options=STANDALONE, deleted_at=sa.func.now())
    add_step(connection, without, "detect", "skipped")
    add_step(connection, deleted, "detect", "completed")
    assert face_sessions(connection) == {}


def test_evidence_of_an_older_version_knows_the_category_its_point_was_given(empty_url: str) -> None:
    engine = sa.create_engine(empty_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(sa.text("INSERT INTO categories (name) VALUES ('Holiday')"))
        model, photos = add_model(connection, "clip"), add_photos(connection, 2)
        for photo, category_id in zip(photos, (1, None), strict=True):
            session = add_session(connection, category_id=category_id)
            connection.execute(
                sa.text("""
                    INSERT INTO training_evidence
                        (asset_id, content_sha256, model_id, embedding_sha256, trained, session_id, seconds)
                    VALUES (:photo, 'c', :model, 'e', false, :session, 0)
                """),
                {"photo": photo, "model": model, "session": session},
            )
    migrate(empty_url)
    with engine.connect() as connection:
        known = connection.execute(sa.text("SELECT asset_id, category_id FROM training_evidence ORDER BY asset_id"))
        assert known.all() == [(photos[0], 1), (photos[1], None)]
