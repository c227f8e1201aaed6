"""The lease: one controller at a time, and none that writes after its term."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event

import pytest
import sqlalchemy as sa

from controller import lease as leases
from controller import standby
from controller.apply import Applier
from controller.lease import LEASE_SECONDS, RENEW, Lease, LeaseHeld, LeaseLost, hold, release, renew, take
from controller.plan import Admit, CreateJob, EndAttempt
from tests.local_runs import wait_until
from tests.rows import add_jobs, add_session, add_step, step_row
from tests.scripted_jobs import ScriptedJobs
from trainyard import shards
from trainyard.database import Database, lock_timed_out
from trainyard.shards import Shard, ShardKey
from trainyard.tables import controller_lease, steps


@pytest.fixture
def database(module_database_url: str) -> Iterator[Database]:
    database = Database(module_database_url)
    database.transact(lambda c: c.execute(sa.delete(controller_lease)))
    yield database
    database.close()


def expire(database: Database) -> None:
    ended = sa.func.clock_timestamp() - sa.text("interval '1 ms'")
    database.transact(lambda c: c.execute(sa.update(controller_lease).values(expires_at=ended)))


def seconds_left(database: Database) -> float:
    left = sa.func.extract("epoch", controller_lease.c.expires_at - sa.func.clock_timestamp())
    return float(database.transact(lambda c: c.execute(sa.select(left)).scalar_one()))


def test_the_first_to_ask_leads_and_the_next_is_refused(database: Database) -> None:
    assert take(database, "a") == Lease("a", 1)
    with pytest.raises(LeaseHeld):
        take(database, "b")
    with pytest.raises(LeaseHeld):  # nor does a restarted process inherit its own term
        take(database, "a")


def test_a_term_that_ended_goes_to_the_next_with_a_new_number(database: Database) -> None:
    take(database, "a")
    expire(database)
    assert take(database, "b") == Lease("b", 2)


def test_who_knows_to_be_alone_takes_over_at_once(database: Database) -> None:
    take(database, "a")
    assert take(database, "a", alone=True) == Lease("a", 2)


@pytest.mark.parametrize("ended_before", [False, True], ids=["never-taken", "just-ended"])
def test_of_many_that_ask_at_once_one_leads(database: Database, ended_before: bool) -> None:
    if ended_before:
        take(database, "before")
        expire(database)
    together = Barrier(5)

    def ask(holder: str) -> Lease | None:
        together.wait()
        try:
            return take(database, holder)
        except LeaseHeld:
            return None

    with ThreadPoolExecutor(5) as threads:
        leases = [lease for lease in threads.map(ask, "abcde") if lease]
    assert len(leases) == 1
    assert leases[0].term == (2 if ended_before else 1)


def test_renewing_lengthens_the_term(database: Database) -> None:
    lease = take(database, "a")
    nearly = sa.func.clock_timestamp() + sa.text("interval '1 s'")
    database.transact(lambda c: c.execute(sa.update(controller_lease).values(expires_at=nearly)))
    renew(database, lease)
    assert 1 < seconds_left(database) <= LEASE_SECONDS


def test_a_term_that_ended_is_not_renewed_even_if_nobody_took_it(database: Database) -> None:
    lease = take(database, "a")
    expire(database)
    with pytest.raises(LeaseLost, match="lease of a, term 1, has ended"):
        renew(database, lease)


def test_a_term_that_another_took_is_neither_renewed_nor_held(database: Database) -> None:
    lost = take(database, "a")
    take(database, "a", alone=True)  # by the same name: the term alone tells them apart
    with pytest.raises(LeaseLost):
        renew(database, lost)
    with pytest.raises(LeaseLost):
        database.transact(lambda connection: hold(connection, lost))


def test_a_term_that_ended_fences_writes_even_if_nobody_took_it(database: Database) -> None:
    lease = take(database, "a")
    expire(database)
    with pytest.raises(LeaseLost):
        database.transact(lambda connection: hold(connection, lease))


def test_nobody_takes_over_in_the_middle_of_a_fenced_transaction(database: Database) -> None:
    lease = take(database, "a")
    with database.engine.begin() as writing:
        hold(writing, lease)
        with database.engine.connect() as other, pytest.raises(sa.exc.OperationalError, match="lock"):
            other.execute(sa.select(controller_lease).with_for_update(nowait=True))
    with database.engine.connect() as other:
        other.execute(sa.select(controller_lease).with_for_update(nowait=True))


def test_a_controller_that_was_overtaken_writes_nothing(database: Database) -> None:
    backend = ScriptedJobs()
    lost = Applier(database, backend, take(database, "a"))
    id = database.transact(add_session)
    take(database, "b", alone=True)
    with pytest.raises(LeaseLost):
        lost.apply(Admit(id, (("discover", "pending"),)))
    of_session = sa.select(steps).where(steps.c.session_id == id)
    assert database.transact(lambda c: c.execute(of_session).all()) == []


def test_a_controller_that_was_overtaken_makes_no_job(database: Database) -> None:
    backend = ScriptedJobs()
    lost = Applier(database, backend, take(database, "a"))
    id = database.transact(add_session)
    database.transact(lambda c: add_step(c, id, "discover", "running", attempt=1, job_token="t"))
    take(database, "b", alone=True)
    with pytest.raises(LeaseLost):
        lost.apply(CreateJob(id, "discover"))
    assert backend.observe() == []
    assert database.transact(lambda c: step_row(c, id, "discover"))["job_uid"] is None


def test_a_released_lease_is_there_for_the_next_and_its_term_is_over(database: Database) -> None:
    lease = take(database, "a")
    release(database, lease)
    with pytest.raises(LeaseLost):
        renew(database, lease)
    assert take(database, "b") == Lease("b", 2)


def test_whoever_led_before_releases_nothing_any_more(database: Database) -> None:
    before = take(database, "a")
    expire(database)
    now = take(database, "b")
    release(database, before)
    renew(database, now)


# A transaction that does not end: its process was lost, and the server has not noticed yet


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "FENCED_LOCK_MS", 20)
    monkeypatch.setattr(leases, "LEASE_LOCK_MS", 20)


@contextmanager
def locked_row(database: Database) -> Iterator[None]:
    with database.engine.connect() as lost:
        lost.execute(sa.select(controller_lease).with_for_update())
        yield


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize(
    "use",
    [renew, release, lambda database, lease: database.transact(lambda c: hold(c, lease))],
    ids=["renew", "release", "hold"],
)
def test_a_locked_lease_is_not_waited_for_without_end(
    database: Database, use: Callable[[Database, Lease], None]
) -> None:
    lease = take(database, "a")
    with locked_row(database), pytest.raises(sa.exc.OperationalError) as gave_up:
        use(database, lease)
    assert lock_timed_out(gave_up.value)
    use(database, lease)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("alone", [False, True])
def test_a_locked_lease_counts_as_held(database: Database, alone: bool) -> None:
    take(database, "a")
    expire(database)
    with locked_row(database), pytest.raises(LeaseHeld, match="A transaction that does not end locks the lease"):
        take(database, "b", alone=alone)
    assert take(database, "b", alone=alone) == Lease("b", 2)


def claim_first(connection: sa.Connection) -> Shard:
    """The first of two shards of a session whose embed has just begun."""
    id = add_session(connection, status="running")
    add_step(connection, id, "embed", "running", total=40, attempt=1, job_token="t", job_uid="mine")
    add_jobs(connection, id, "embed", 40)
    shards.cut(connection, id, "embed", 1, 2)
    return shards.claim(connection, ShardKey(id, "embed", 1, 0), "worker")


@pytest.mark.usefixtures("short_waits")
def test_a_worker_whose_transaction_never_ends_keeps_nobody_from_leading(database: Database) -> None:
    """Its node lost its power as it committed: its shard's row stays locked until the server notices."""
    shard = database.transact(claim_first)
    end = EndAttempt(shard.key.session_id, "embed")
    with database.engine.connect() as lost:
        shards.advance(lost, shard, next=20, in_flight=None, done=20)
        for holder in ("a", "its successor"):
            leader = Applier(database, ScriptedJobs(), take(database, holder))
            with pytest.raises(sa.exc.OperationalError) as gave_up:
                leader.apply(end)
            assert lock_timed_out(gave_up.value)
            renew(database, leader.lease)
            expire(database)
    Applier(database, ScriptedJobs(), take(database, "the last")).apply(end)
    step = database.transact(lambda c: step_row(c, shard.key.session_id, "embed"))
    assert (step["status"], step["done"]) == ("pending", 0)


@pytest.mark.parametrize("frozen_in", ["a fenced write", "a renewal"])
def test_a_leader_frozen_in_a_transaction_keeps_no_successor_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch, frozen_in: str
) -> None:
    lease = take(database, "frozen")
    monkeypatch.setattr("controller.lease.FROZEN_MS", 100)
    with database.engine.connect() as connection:
        if frozen_in == "a fenced write":
            hold(connection, lease)
        else:
            bounds = {"lock_ms": "1000", "idle_ms": "100"}
            named = {"holder": lease.holder, "term": lease.term, "seconds": -1.0, **bounds}
            assert connection.execute(RENEW, named).rowcount == 1
        successor = wait_until(lambda: _taken(database), "the server to give the frozen one up")
        assert successor == Lease("successor", 2)
        with pytest.raises(sa.exc.DBAPIError):  # what it goes on with when it thaws
            connection.execute(sa.text("SELECT 1"))
        connection.invalidate()


def _taken(database: Database) -> Lease | None:
    """The successor's lease, once nobody keeps its row."""
    try:
        with database.engine.begin() as connection:
            connection.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
            ended = sa.func.clock_timestamp() - sa.text("interval '1 ms'")
            connection.execute(sa.update(controller_lease).values(expires_at=ended))
        return take(database, "successor")
    except (LeaseHeld, sa.exc.OperationalError):
        return None


def test_a_bound_ends_with_its_transaction(database: Database) -> None:
    lease = take(database, "a")
    with database.engine.connect() as connection:
        with connection.begin():
            hold(connection, lease)
            assert connection.execute(sa.text("SHOW lock_timeout")).scalar_one() == "5s"
        assert connection.execute(sa.text("SHOW lock_timeout")).scalar_one() == "0"


def test_another_refusal_is_no_lock_that_timed_out(database: Database) -> None:
    with pytest.raises(sa.exc.ProgrammingError) as refused:
        database.transact(lambda c: c.execute(sa.text("SELECT * FROM nothing")))
    assert not lock_timed_out(refused.value)


@pytest.mark.usefixtures("short_waits")
def test_who_ends_well_while_the_lease_is_locked_leaves_it_to_end(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.engine.connect() as lost, standby.leading(database, "a", Event()):
        lost.execute(sa.select(controller_lease).with_for_update())
    assert "the lease is left to end by itself" in caplog.text
    with pytest.raises(LeaseHeld):
        take(database, "b")
