"""Shards over rows: cut from what is left, claimed by one worker at a time, moved on batch by batch."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from jobs.batches import Photo, _known_failure, up_to_suspect
from tests.rows import add_jobs, add_session, add_step
from trainyard import shards
from trainyard.database import Database
from trainyard.shards import NoSuchShard, Overtaken, Shard, ShardKey
from trainyard.tables import shards as shards_table
from trainyard.tables import steps, training_jobs


@pytest.fixture
def database(module_database_url: str) -> Iterator[Database]:
    database = Database(module_database_url, outage_seconds=30)
    yield database
    database.close()


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    """A transaction that is never committed."""
    with database.engine.connect() as connection:
        yield connection


def begin(connection: sa.Connection, photos: int = 100, count: int = 1, attempt: int = 1) -> int:
    """A session whose embed runs over this many shards; returns its id."""
    id = add_session(connection)
    add_step(connection, id, "embed", "running", attempt=attempt, total=photos)
    add_jobs(connection, id, "embed", photos)
    shards.cut(connection, id, "embed", attempt, count)
    return id


def key(session_id: int, index: int = 0, attempt: int = 1) -> ShardKey:
    return ShardKey(session_id, "embed", attempt, index)


def row(connection: sa.Connection, of: ShardKey) -> Any:
    return connection.execute(sa.select(shards_table).where(of.clause)).one()


def ranges(connection: sa.Connection, session_id: int, attempt: int) -> list[tuple[int, int, int, int]]:
    c = shards_table.c
    rows = connection.execute(
        sa.select(c.first, c.last, c.total, c.next)
        .where(c.session_id == session_id, c.attempt == attempt)
        .order_by(c.step, c.index)
    )
    return [tuple(found) for found in rows]


def end_jobs(connection: sa.Connection, session_id: int, positions: range, status: str = "completed") -> None:
    j = training_jobs.c
    connection.execute(
        sa.update(training_jobs)
        .where(j.session_id == session_id, j.position.between(positions.start, positions.stop - 1))
        .values(status=status)
    )


def attempts(connection: sa.Connection, session_id: int) -> dict[int, int]:
    """Workers that died while they held it, by position; those without left out."""
    j = training_jobs.c
    found = connection.execute(sa.select(j.position, j.attempts).where(j.session_id == session_id, j.attempts > 0))
    return {position: count for position, count in found}


# Cutting


def test_the_work_is_cut_into_ranges_of_nearly_equal_size(connection: sa.Connection) -> None:
    id = begin(connection, photos=10, count=3)
    assert ranges(connection, id, 1) == [(0, 3, 4, 0), (4, 6, 3, 4), (7, 9, 3, 7)]


def test_there_are_no_more_shards_than_photos(connection: sa.Connection) -> None:
    id = begin(connection, photos=2, count=50)
    assert ranges(connection, id, 1) == [(0, 0, 1, 0), (1, 1, 1, 1)]


def test_only_what_is_left_is_cut_again(connection: sa.Connection) -> None:
    id = begin(connection, photos=12, count=2)
    end_jobs(connection, id, range(4))
    end_jobs(connection, id, range(6, 8), "failed")
    assert shards.cut(connection, id, "embed", 2, 2) == 2
    assert ranges(connection, id, 2) == [(4, 8, 3, 4), (9, 11, 3, 9)]


def test_nothing_left_makes_no_shard(connection: sa.Connection) -> None:
    id = begin(connection, photos=4)
    end_jobs(connection, id, range(4))
    assert shards.cut(connection, id, "embed", 2, 5) == 0


def test_sessions_and_steps_are_cut_apart(connection: sa.Connection) -> None:
    one, other = begin(connection, photos=4), begin(connection, photos=6)
    add_jobs(connection, one, "detect", 3)
    assert shards.cut(connection, one, "detect", 1, 1) == 1
    assert ranges(connection, one, 1) == [(0, 2, 3, 0), (0, 3, 4, 0)]
    assert ranges(connection, other, 1) == [(0, 5, 6, 0)]


# Claiming


def test_a_claim_takes_the_shard_as_it_stands(connection: sa.Connection) -> None:
    id = begin(connection, photos=10)
    shard = shards.claim(connection, key(id), "worker a")
    assert shard == Shard(key(id), 1, first=0, last=9, total=10, next=0, done=0, failed=0, counts={}, finished=False)
    found = row(connection, key(id))
    assert (found.claim, found.worker) == (1, "worker a")
    assert found.claimed_at is not None


def test_a_successor_goes_on_where_the_first_committed(connection: sa.Connection) -> None:
    id = begin(connection, photos=10)
    first = shards.claim(connection, key(id), "worker a")
    claimed_at = row(connection, key(id)).claimed_at
    shards.advance(connection, first, next=4, in_flight=7, done=4, failed=1, counts={"faces": 3})
    shards.wait_for(connection, first, "StorageUnavailable", "The folder is gone.")
    second = shards.claim(connection, key(id), "worker b")
    assert (second.claim, second.next, second.done, second.failed, second.counts) == (2, 4, 4, 1, {"faces": 3})
    found = row(connection, key(id))
    assert (found.worker, found.in_flight, found.waiting_code, found.waiting_since) == ("worker b", None, None, None)
    assert found.claimed_at == claimed_at  # the attempt's time counts from its first claim


def test_a_shard_never_cut_cannot_be_claimed(connection: sa.Connection) -> None:
    id = begin(connection)
    with pytest.raises(NoSuchShard, match=f"session {id}, embed, attempt 1, shard 7"):
        shards.claim(connection, key(id, 7), "worker a")


@pytest.mark.parametrize(
    "since",
    [{"status": "pending"}, {"status": "cancelled"}, {"attempt": 2}],
    ids=["ended", "cancelled", "next-attempt"],
)
def test_a_worker_that_comes_after_its_attempt_has_ended_is_refused(
    connection: sa.Connection, since: dict[str, Any]
) -> None:
    id = begin(connection)
    connection.execute(sa.update(steps).where(steps.c.session_id == id).values(**since))
    with pytest.raises(Overtaken, match="has ended"):
        shards.claim(connection, key(id), "late")


def test_a_finished_shard_is_claimed_as_finished(connection: sa.Connection) -> None:
    id = begin(connection)
    shards.finish(connection, shards.claim(connection, key(id), "worker a"))
    assert shards.claim(connection, key(id), "worker b").finished


# Moving on


def test_a_batch_moves_the_shard_and_adds_its_counts_up(connection: sa.Connection) -> None:
    id = begin(connection, photos=10)
    shard = shards.claim(connection, key(id), "worker a")
    shard, is_news = shards.advance(connection, shard, next=4, in_flight=7, done=4, failed=1, counts={"faces": 3})
    assert is_news
    shard, _ = shards.advance(connection, shard, next=8, in_flight=None, done=4, counts={"faces": 2, "assigned": 1})
    found = row(connection, key(id))
    assert (found.next, found.in_flight, found.done, found.failed) == (8, None, 8, 1)
    assert found.counts == shard.counts == {"faces": 5, "assigned": 1}


def test_a_batch_committed_before_is_no_news_and_counts_once(connection: sa.Connection) -> None:
    id = begin(connection, photos=10)
    before = shards.claim(connection, key(id), "worker a")
    after, _ = shards.advance(connection, before, next=4, in_flight=None, done=4, counts={"faces": 3})
    assert shards.advance(connection, before, next=4, in_flight=None, done=4, counts={"faces": 3}) == (after, False)
    assert row(connection, key(id)).done == 4


def test_a_commit_whose_answer_was_lost_is_done_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server commits, and the connection breaks before it can say so."""
    id = database.transact(lambda c: begin(c, photos=10))
    before = database.transact(lambda c: shards.claim(c, key(id), "worker a"))
    news: list[bool] = []

    def batch(connection: sa.Connection) -> Shard:
        after, is_news = shards.advance(connection, before, next=4, in_flight=None, done=4)
        news.append(is_news)
        if is_news:
            end_jobs(connection, id, range(4))
        return after

    commit = database.engine.dialect.do_commit

    def commit_and_break(dbapi_connection: Any) -> None:
        monkeypatch.undo()
        commit(dbapi_connection)
        dbapi_connection.driver_connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(database.engine.dialect, "do_commit", commit_and_break)
    after = database.transact(batch)
    assert news == [True, False]
    assert (after.next, after.done) == (4, 4)
    found = database.transact(lambda c: row(c, key(id)))
    assert (found.next, found.done, found.claim) == (4, 4, 1)


def test_an_overtaken_worker_can_do_nothing_more(connection: sa.Connection) -> None:
    id = begin(connection)
    first = shards.claim(connection, key(id), "worker a")
    shards.claim(connection, key(id), "worker b")
    before = row(connection, key(id))
    for attempt in (
        lambda: shards.advance(connection, first, next=4, in_flight=None, done=4),
        lambda: shards.beat(connection, first, total=7),
        lambda: shards.wait_for(connection, first, "StorageUnavailable", "…"),
        lambda: shards.stop_waiting(connection, first),
        lambda: shards.finish(connection, first),
    ):
        with pytest.raises(Overtaken, match="shard 0"):
            attempt()
    assert row(connection, key(id)) == before


def test_an_overtaken_workers_batch_is_not_mistaken_for_one_of_its_own(connection: sa.Connection) -> None:
    """The successor has come to the very place the first wants to move to."""
    id = begin(connection, photos=10)
    first = shards.claim(connection, key(id), "worker a")
    second = shards.claim(connection, key(id), "worker b")
    shards.advance(connection, second, next=4, in_flight=None, done=4)
    with pytest.raises(Overtaken):
        shards.advance(connection, first, next=4, in_flight=None, done=4)


def test_an_overtaken_workers_results_go_with_its_transaction(database: Database) -> None:
    id = database.transact(lambda c: begin(c, photos=10))
    first = database.transact(lambda c: shards.claim(c, key(id), "worker a"))
    database.transact(lambda c: shards.claim(c, key(id), "worker b"))

    def batch(connection: sa.Connection) -> None:
        end_jobs(connection, id, range(4))
        shards.advance(connection, first, next=4, in_flight=None, done=4)

    with pytest.raises(Overtaken):
        database.transact(batch)
    assert database.transact(lambda c: shards.cut(c, id, "embed", 2, 1)) == 1
    assert database.transact(lambda c: ranges(c, id, 2)) == [(0, 9, 10, 0)]


def test_ending_an_attempt_overtakes_all_its_workers(connection: sa.Connection) -> None:
    id, other = begin(connection, photos=10, count=2), begin(connection, photos=10)
    ended = [shards.claim(connection, key(id, index), "worker") for index in (0, 1)]
    unconcerned = shards.claim(connection, key(other), "worker")
    shards.overtake(connection, id, "embed", 1)
    for shard in ended:
        with pytest.raises(Overtaken):
            shards.beat(connection, shard)
    shards.beat(connection, unconcerned)


# Waiting and finishing


def test_waiting_is_dated_from_its_beginning_and_taken_back(connection: sa.Connection) -> None:
    id = begin(connection)
    shard = shards.claim(connection, key(id), "worker a")
    shards.wait_for(connection, shard, "StorageUnavailable", "first")
    since = row(connection, key(id)).waiting_since
    shards.wait_for(connection, shard, "StorageUnavailable", "again")
    found = row(connection, key(id))
    assert (found.waiting_message, found.waiting_since) == ("again", since)
    assert since is not None
    shards.stop_waiting(connection, shard)
    found = row(connection, key(id))
    assert (found.waiting_code, found.waiting_message, found.waiting_since) == (None, None, None)


def test_an_attempt_is_the_sum_of_its_shards(connection: sa.Connection) -> None:
    id = begin(connection, photos=12, count=3)
    one, two = (shards.claim(connection, key(id, index), "worker") for index in (0, 1))
    one, _ = shards.advance(connection, one, next=4, in_flight=None, done=4, failed=1, counts={"faces": 5})
    shards.finish(connection, one)
    shards.advance(connection, two, next=6, in_flight=7, done=2, counts={"faces": 1, "assigned": 1})
    found = shards.attempt_totals(connection, id, "embed", 1)
    assert (found.shards, found.claimed, found.finished) == (3, 2, 1)
    assert (found.total, found.done, found.failed) == (12, 6, 1)
    assert found.seconds > 0
    assert shards.attempt_counts(connection, id, "embed", 1) == {"faces": 6, "assigned": 1}
    assert shards.attempt_totals(connection, id, "embed", 2) == shards.AttemptTotals(0, 0, 0, 0, 0, 0, 0.0)


# Suspects


def test_what_a_dead_worker_held_is_suspect_and_nothing_else(connection: sa.Connection) -> None:
    id = begin(connection, photos=20)
    dead = shards.claim(connection, key(id), "dead")
    end_jobs(connection, id, range(4))
    shards.advance(connection, dead, next=4, in_flight=11, done=4)
    end_jobs(connection, id, range(6, 8))
    shards.claim(connection, key(id), "successor")
    assert attempts(connection, id) == {4: 1, 5: 1, 8: 1, 9: 1, 10: 1, 11: 1}


def test_a_worker_that_held_nothing_leaves_no_suspect(connection: sa.Connection) -> None:
    id = begin(connection)
    shards.advance(connection, shards.claim(connection, key(id), "a"), next=4, in_flight=None, done=4)
    shards.claim(connection, key(id), "b")
    assert attempts(connection, id) == {}


def test_each_worker_that_dies_counts_once(connection: sa.Connection) -> None:
    id = begin(connection, photos=20)
    first = shards.claim(connection, key(id), "first")
    shards.beat(connection, first, in_flight=2)
    second = shards.claim(connection, key(id), "second")
    shards.beat(connection, second, in_flight=0)
    shards.claim(connection, key(id), "third")
    shards.claim(connection, key(id), "fourth")
    assert attempts(connection, id) == {0: 2, 1: 1, 2: 1}


def photo(position: int, attempts: int = 0) -> Photo:
    return Photo(position, position, b"/p", None, done_before=False, attempts=attempts, failed_before=None)


@pytest.mark.parametrize(
    ("attempts", "handed_out"),
    [
        ([], 0),
        ([0, 0, 0], 3),
        ([1, 0, 0], 1),  # alone, so that only it can be blamed
        ([1, 1, 0], 1),
        ([0, 0, 1, 0], 2),
        ([2], 1),
    ],
)
def test_a_suspect_is_run_alone(attempts: list[int], handed_out: int) -> None:
    photos = [photo(position, count) for position, count in enumerate(attempts)]
    assert up_to_suspect(photos) == photos[:handed_out]


def test_an_image_that_took_two_workers_down_is_failed_without_being_opened() -> None:
    assert _known_failure(photo(0, attempts=1)) is None
    outcome = _known_failure(photo(0, attempts=2))
    assert outcome is not None
    assert outcome.error == (
        "worker_crashed",
        "2 workers in turn died while they held this photo; leave it out or repair it.",
    )
    inherited = _known_failure(replace(photo(0, attempts=2), failed_before=("truncated", "It ends early.")))
    assert inherited is not None
    assert inherited.error == ("truncated", "It ends early.")
