"""A pooler in front of PostgreSQL that lends connections a transaction at a time: `doctor` says what that costs."""

import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from cli import doctor_databases
from cli.doctor_databases import database_findings
from cli.findings import Finding
from tests.pooler import Order, pooled
from trainyard.database import Database, check_schema
from trainyard.settings import Settings


def found(url: str, folder: Path) -> Finding:
    """What doctor finds of the PostgreSQL of this URL."""
    findings = database_findings(Settings(database_url=url, data_dir=folder / "data"))
    (finding,) = (finding for finding in findings if finding.subject == "PostgreSQL")
    return finding


@pytest.mark.parametrize("order", ["last used first", "in turn"])
def test_a_pooler_that_lends_a_transaction_at_a_time_is_noted(database_url: str, tmp_path: Path, order: Order) -> None:
    with pooled(database_url, "transaction", order) as url:
        finding = found(url, tmp_path)

    assert finding.mark == "note"
    assert "schema up to date" in finding.text
    assert "every few seconds" in finding.text
    assert "session mode" in finding.text


def test_a_pooler_whose_connections_others_have_used_is_noted_too(database_url: str, tmp_path: Path) -> None:
    with pooled(database_url, "transaction", "in turn") as url:
        database = Database(url)
        all_in = threading.Barrier(4, timeout=30)

        def use(connection: sa.Connection) -> None:
            connection.execute(sa.text("SELECT 1"))
            all_in.wait()

        users = [threading.Thread(target=database.transact, args=(use,)) for _ in range(4)]
        for user in users:
            user.start()
        for user in users:
            user.join()

        assert found(url, tmp_path).mark == "note"
        database.close()


def test_a_server_of_ones_own_is_not_noted(database_url: str, tmp_path: Path) -> None:
    assert found(database_url, tmp_path).mark == "ok"


def test_a_pooler_in_session_mode_is_not_noted(database_url: str, tmp_path: Path) -> None:
    with pooled(database_url, "session") as url:
        assert found(url, tmp_path).mark == "ok"


def test_a_look_that_is_not_answered_is_given_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def wait(url: str) -> bool:
        return answered.wait(60)

    monkeypatch.setattr(doctor_databases, "_is_lent", wait)
    monkeypatch.setattr(doctor_databases, "POOLER_SECONDS", 0.0)
    assert found(database_url, tmp_path).mark == "ok"
    answered.set()


def test_transactions_are_whole_behind_such_a_pooler(database_url: str) -> None:
    """Of the pooler of these tests: two clients' transactions side by side never meet."""
    with pooled(database_url, "transaction") as url, closing(Database(url)) as database:
        database.transact(check_schema)
        with database.engine.begin() as one, database.engine.begin() as other:
            one.execute(sa.text("INSERT INTO categories (name) VALUES ('one')"))
            assert other.execute(sa.text("SELECT count(*) FROM categories")).scalar_one() == 0
            other.execute(sa.text("INSERT INTO categories (name) VALUES ('other')"))
        names = database.transact(
            lambda c: c.execute(sa.text("SELECT name FROM categories ORDER BY 1")).scalars().all()
        )
    assert list(names) == ["one", "other"]
