"""Reading the progress of ten million images in a thousand shards."""

import json
import time
from datetime import UTC, datetime

import sqlalchemy as sa

from tests.bench.results import Row, at_most, percentile
from tests.bench.stage import postgres_server, workplace
from trainyard.database import Database, migrate
from trainyard.progress import READ, read_progress
from trainyard.tables import shards, steps, training_sessions

IMAGES = 10_000_000
SHARDS = 1_000
READS = 500
MOST_MILLISECONDS = 5.0
NOW = datetime.now(UTC)
READ_TABLES = {"training_sessions", "steps", "shards"}  # of the session its own row


def measure() -> list[Row]:
    with workplace() as folder, postgres_server(folder) as url:
        migrate(url)
        database = Database(url)
        session_id = database.transact(_session)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("ANALYZE"))
        rows = [_timing(database, session_id), _tables(database, session_id)]
        database.close()
        return rows


def _session(connection: sa.Connection) -> int:
    """A session half way through its detection, every step with a thousand shards behind it or under way."""
    session_id = int(
        connection.execute(
            sa.insert(training_sessions)
            .values(
                root_path="/photos",
                status="running",
                total=IMAGES,
                weights={"training": 30.0, "faceDetection": 65.0, "clustering": 5.0},
            )
            .returning(training_sessions.c.id)
        ).scalar_one()
    )
    statuses = {"discover": "completed", "embed": "completed", "detect": "running", "cluster": "pending"}
    for step, status in statuses.items():
        done = IMAGES if status == "completed" else 0
        total = None if step == "cluster" else IMAGES
        row = {"session_id": session_id, "step": step, "status": status, "attempt": 1, "total": total, "done": done}
        connection.execute(sa.insert(steps).values(**row))
    for step in ("embed", "detect"):
        connection.execute(sa.insert(shards), [_shard(session_id, step, index) for index in range(SHARDS)])
    return session_id


def _shard(session_id: int, step: str, index: int) -> dict[str, object]:
    size = IMAGES // SHARDS
    first = index * size
    return {
        "session_id": session_id,
        "step": step,
        "attempt": 1,
        "index": index,
        "first": first,
        "last": first + size - 1,
        "total": size,
        "next": first + size // 2,
        "done": size // 2,
        "failed": index % 3,
        "claim": 1,
        "worker": f"worker-{index % 64}",
        "counts": {"faces": size, "unchanged": 0, "assigned": 0, "suggestions": 0, "inherited": 0},
        "claimed_at": NOW,
        "committed_at": NOW,
    }


def _timing(database: Database, session_id: int) -> Row:
    milliseconds = []
    for _ in range(READS):
        begun = time.perf_counter()
        progress = database.transact(lambda connection: read_progress(connection, session_id))
        milliseconds.append((time.perf_counter() - begun) * 1e3)
    assert progress.phases["faceDetection"].current == IMAGES // 2
    note = f"p50 {percentile(milliseconds, 50):.2f} ms, {READS} reads, as a client sees them (transaction included)"
    return at_most(
        f"progress of {IMAGES:,} images in {SHARDS:,} shards, p99",
        percentile(milliseconds, 99),
        MOST_MILLISECONDS,
        " ms",
        note,
        p50=percentile(milliseconds, 50),
    )


def _tables(database: Database, session_id: int) -> Row:
    """What EXPLAIN says the read touches."""
    explain = sa.text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {READ.text}")
    answer = database.transact(lambda c: c.execute(explain, {"ids": [session_id]}).scalar_one())
    plan = json.loads(answer)[0] if isinstance(answer, str) else answer[0]
    touched = relations(plan["Plan"])
    note = f"{plan['Execution Time']:.2f} ms in the server, {plan['Plan']['Shared Hit Blocks']} blocks"
    met = touched <= READ_TABLES
    return Row("progress reads", ", ".join(sorted(touched)), "steps and shards only", met, note, {"plan": plan})


def relations(node: dict[str, object]) -> set[str]:
    """Names of all tables in a plan of EXPLAIN (FORMAT JSON)."""
    own = {str(node["Relation Name"])} if "Relation Name" in node else set()
    children = node.get("Plans", [])
    assert isinstance(children, list)
    return own.union(*(relations(child) for child in children))
