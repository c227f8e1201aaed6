"""Shards: cutting what is left of a step into ranges, claiming one, and moving it on under that claim."""

from dataclasses import dataclass, fields, replace
from typing import Any

import sqlalchemy as sa

from trainyard.tables import shards as shards_table
from trainyard.tables import steps as steps_table
from trainyard.tables import training_jobs

FRESH_SECONDS = 120.0  # of a worker's word that it waits


class Overtaken(Exception):
    """Another worker has claimed the shard since, or its attempt has ended; this one must stop."""


class NoSuchShard(Exception):
    """The shard asked for was never cut."""


@dataclass(frozen=True)
class ShardKey:
    session_id: int
    step: str
    attempt: int
    index: int

    def __str__(self) -> str:
        return f"session {self.session_id}, {self.step}, attempt {self.attempt}, shard {self.index}"

    @property
    def clause(self) -> sa.ColumnElement[bool]:
        c = shards_table.c
        return sa.and_(
            c.session_id == self.session_id,
            c.step == self.step,
            c.attempt == self.attempt,
            c.index == self.index,
        )


@dataclass(frozen=True)
class Shard:
    """A claimed shard as its worker knows it."""

    key: ShardKey
    claim: int
    first: int
    last: int
    total: int
    next: int
    done: int
    failed: int
    counts: dict[str, int]
    finished: bool


def cut(connection: sa.Connection, session_id: int, step: str, attempt: int, count: int) -> int:
    """Cut the photos the step still has to do into at most `count` shards, 0…n−1; returns n.

    Reads only the pending rows, through the index over what is unfinished.
    """
    result = connection.execute(
        sa.text("""
            INSERT INTO shards (session_id, step, attempt, index, first, last, total, next)
            SELECT :session_id, :step, :attempt, part - 1, min(position), max(position), count(*), min(position)
            FROM (
                SELECT position, ntile(:count) OVER (ORDER BY position) AS part
                FROM training_jobs
                WHERE session_id = :session_id AND step = :step AND status = 'pending'
            ) pending
            GROUP BY part
        """),
        {"session_id": session_id, "step": step, "attempt": attempt, "count": count},
    )
    return result.rowcount


def cut_whole(connection: sa.Connection, session_id: int, step: str, attempt: int) -> int:
    """The single shard of a step that is one worker; its total is what its worker finds out."""
    connection.execute(
        sa.insert(shards_table).values(
            session_id=session_id, step=step, attempt=attempt, index=0, first=0, last=0, total=0, next=0
        )
    )
    return 1


def claim(connection: sa.Connection, key: ShardKey, worker: str) -> Shard:
    """Take the shard; whoever held it before is overtaken.

    Photos a dead worker held are marked as suspects: they are then run one at a time. Raises NoSuchShard, and
    Overtaken when the attempt has ended.
    """
    before = connection.execute(sa.select(shards_table).where(key.clause).with_for_update()).one_or_none()
    if before is None:
        raise NoSuchShard(f"There is no shard for {key}.")
    _check_attempt(connection, key)
    if before.in_flight is not None:
        blame(connection, key.session_id, key.step, before.next, before.in_flight)
    now = sa.func.clock_timestamp()
    connection.execute(
        sa.update(shards_table)
        .where(key.clause)
        .values(
            claim=before.claim + 1,
            worker=worker,
            in_flight=None,
            claimed_at=sa.func.coalesce(shards_table.c.claimed_at, now),
            committed_at=now,
            waiting_code=None,
            waiting_message=None,
            waiting_since=None,
        )
    )
    return Shard(
        key=key,
        claim=before.claim + 1,
        first=before.first,
        last=before.last,
        total=before.total,
        next=before.next,
        done=before.done,
        failed=before.failed,
        counts=dict(before.counts),
        finished=before.finished_at is not None,
    )


def _check_attempt(connection: sa.Connection, key: ShardKey) -> None:
    """A worker that comes late must not work on an attempt whose shards are added up already.

    The shard's row is locked by now: `overtake` comes either before this look or after the claim.
    """
    steps = steps_table.c
    running = connection.execute(
        sa.select(steps.attempt).where(
            steps.session_id == key.session_id, steps.step == key.step, steps.status == "running"
        )
    ).scalar_one_or_none()
    if running != key.attempt:
        raise Overtaken(f"The attempt of {key} has ended.")


def overtake(connection: sa.Connection, session_id: int, step: str, attempt: int) -> None:
    """Raise every claim of an attempt that ends: whoever still works on it stops at its next commit."""
    c = shards_table.c
    connection.execute(
        sa.update(shards_table)
        .where(c.session_id == session_id, c.step == step, c.attempt == attempt)
        .values(claim=c.claim + 1)
    )


def blame(connection: sa.Connection, session_id: int, step: str, first: int, last: int) -> None:
    """Note on the pending photos of these positions that a worker died while it held them."""
    jobs = training_jobs.c
    connection.execute(
        sa.update(training_jobs)
        .where(
            jobs.session_id == session_id,
            jobs.step == step,
            jobs.position.between(first, last),
            jobs.status == "pending",
        )
        .values(attempts=jobs.attempts + 1)
    )


def advance(
    connection: sa.Connection,
    shard: Shard,
    *,
    next: int,
    in_flight: int | None,
    done: int = 0,
    failed: int = 0,
    counts: dict[str, int] | None = None,
) -> tuple[Shard, bool]:
    """Move the shard on as part of a batch's transaction; returns it as it is then, and whether that is news.

    It is none when this very move was committed already and its answer lost: the caller must write nothing else.
    Raises Overtaken when another worker has the shard.
    """
    after = replace(
        shard,
        next=next,
        done=shard.done + done,
        failed=shard.failed + failed,
        counts=add_counts(shard.counts, counts or {}),
    )
    moved = _update(
        connection,
        shard,
        shards_table.c.next == shard.next,
        next=next,
        in_flight=in_flight,
        done=after.done,
        failed=after.failed,
        counts=after.counts,
    )
    if moved:
        return after, True
    c = shards_table.c
    row = connection.execute(sa.select(c.claim, c.next, c.counts).where(shard.key.clause)).one_or_none()
    if row is not None and row.claim == shard.claim and row.next == next and next != shard.next:
        return replace(after, counts=dict(row.counts)), False
    raise Overtaken(f"Another worker has taken over {shard.key}.")


def beat(connection: sa.Connection, shard: Shard, **columns: Any) -> None:
    """Show life (and what else is given) in the shard's row. Raises Overtaken."""
    if not _update(connection, shard, sa.true(), **columns):
        raise Overtaken(f"Another worker has taken over {shard.key}.")


def wait_for(connection: sa.Connection, shard: Shard, code: str, message: str) -> None:
    """Say in the shard's row what its worker waits for: such a worker is not silent."""
    since = sa.func.coalesce(shards_table.c.waiting_since, sa.func.clock_timestamp())
    beat(connection, shard, waiting_code=code, waiting_message=message, waiting_since=since)


def stop_waiting(connection: sa.Connection, shard: Shard) -> None:
    beat(connection, shard, waiting_code=None, waiting_message=None, waiting_since=None)


def is_finished(connection: sa.Connection, shard: Shard) -> bool:
    """Whether the shard is finished under this claim: what a commit whose answer was lost must ask first."""
    c = shards_table.c
    finished = sa.select(c.finished_at).where(shard.key.clause, c.claim == shard.claim)
    return connection.execute(finished).scalar_one_or_none() is not None


def finish(connection: sa.Connection, shard: Shard) -> None:
    """Record that nothing of the shard is left. Raises Overtaken."""
    beat(connection, shard, in_flight=None, finished_at=sa.func.clock_timestamp())


def _update(connection: sa.Connection, shard: Shard, condition: sa.ColumnElement[bool], **columns: Any) -> bool:
    result = connection.execute(
        sa.update(shards_table)
        .where(shard.key.clause, shards_table.c.claim == shard.claim, condition)
        .values(committed_at=sa.func.clock_timestamp(), **columns)
    )
    return result.rowcount == 1


def add_counts(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in {*left, *right}}


@dataclass(frozen=True)
class AttemptTotals:
    """The shards of one attempt, added up."""

    shards: int
    claimed: int
    finished: int
    total: int
    done: int
    failed: int
    seconds: float  # from the first claim to the last commit
    worker_seconds: float = 0.0  # each shard's, from its claim to its last commit, added up


TOTALS = """
    count(*) AS shards, count(*) FILTER (WHERE claim > 0) AS claimed,
    count(finished_at) AS finished, coalesce(sum(shards.total), 0)::bigint AS total,
    coalesce(sum(shards.done), 0)::bigint AS done, coalesce(sum(shards.failed), 0)::bigint AS failed,
    coalesce(extract(epoch FROM max(committed_at) - min(claimed_at)), 0)::float8 AS seconds,
    coalesce(sum(greatest(extract(epoch FROM committed_at - claimed_at), 0)), 0)::float8 AS worker_seconds
"""


def attempt_totals(connection: sa.Connection, session_id: int, step: str, attempt: int) -> AttemptTotals:
    row = connection.execute(
        sa.text(f"""
            SELECT {TOTALS}
            FROM shards WHERE session_id = :session_id AND step = :step AND attempt = :attempt
        """),
        {"session_id": session_id, "step": step, "attempt": attempt},
    ).one()
    return AttemptTotals(**row._mapping)


@dataclass(frozen=True)
class RunningAttempt:
    """What the shards of an attempt that runs say: added up, what one of them waits for, and since when all are still.

    `silent_seconds` is since a worker of an unfinished shard last committed, or since the attempt began if none ever
    did; where all are finished, since one last showed life, as it may have much to tell yet. Who waits says so again
    every second: what was said longer ago was said by one that is gone.
    """

    totals: AttemptTotals
    waiting: tuple[str, str] | None
    silent_seconds: float


def running_attempts(connection: sa.Connection, session_ids: list[int]) -> dict[tuple[int, str], RunningAttempt]:
    """By session and step, for every step of these sessions that runs, in one query."""
    rows = connection.execute(
        sa.text(f"""
            SELECT session_id, step, {TOTALS},
                   (array_agg(shards.waiting_code ORDER BY shards.waiting_since, index)
                       FILTER (WHERE waits))[1] AS code,
                   (array_agg(shards.waiting_message ORDER BY shards.waiting_since, index)
                       FILTER (WHERE waits))[1] AS message,
                   coalesce(extract(epoch FROM clock_timestamp() - coalesce(
                       max(committed_at) FILTER (WHERE finished_at IS NULL),
                       CASE WHEN bool_and(finished_at IS NOT NULL) THEN max(committed_at) END,
                       max(attempt_started_at))), 0)::float8
                       AS silent
            FROM steps JOIN shards USING (session_id, step, attempt),
                LATERAL (SELECT shards.waiting_code IS NOT NULL
                    AND committed_at > clock_timestamp() - make_interval(secs => :fresh_seconds) AS waits) w
            WHERE status = 'running' AND session_id = ANY(:ids)
            GROUP BY session_id, step
        """),
        {"ids": session_ids, "fresh_seconds": FRESH_SECONDS},
    )
    return {(row.session_id, row.step): _running_attempt(row) for row in rows}


def _running_attempt(row: sa.Row[Any]) -> RunningAttempt:
    totals = AttemptTotals(**{each.name: getattr(row, each.name) for each in fields(AttemptTotals)})
    return RunningAttempt(totals, (row.code, row.message) if row.code else None, row.silent)


def attempt_counts(connection: sa.Connection, session_id: int, step: str, attempt: int) -> dict[str, int]:
    rows = connection.execute(
        sa.text("""
            SELECT key, sum(value::bigint)::bigint AS value
            FROM shards, jsonb_each_text(counts)
            WHERE session_id = :session_id AND step = :step AND attempt = :attempt GROUP BY key
        """),
        {"session_id": session_id, "step": step, "attempt": attempt},
    )
    return {row.key: row.value for row in rows}
