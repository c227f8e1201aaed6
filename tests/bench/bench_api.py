"""The API over HTTP: what a read of progress costs beside an empty answer, and events sent to 500 clients."""

import asyncio
import random
import statistics
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from api.stream import READ_SECONDS
from tests.bench.api_process import ApiProcess, api_process
from tests.bench.results import Row, interleaved, median_ratio, percentile
from tests.bench.stage import postgres_server, workplace
from tests.conftest import TEMPLATE, execute, url_of
from tests.rows import add_jobs, add_session, add_step
from trainyard.database import Database
from trainyard.shards import cut
from trainyard.tables import training_sessions

CLIENTS = 8
SECONDS = 2.0  # a way's turn
IMAGES = 1_000
LISTENERS = 500
CHANGES = 8
SEED = 7
LATEST_PHASE = 0.8  # of the reading period: a commit after that might miss the next reading


def measure() -> list[Row]:
    with workplace() as folder, postgres_server(folder) as server_url:
        execute(server_url, "CREATE DATABASE {} TEMPLATE {}", "bench_api", TEMPLATE)
        url = url_of(server_url, "bench_api")
        with closing(Database(url)) as database, api_process(url, folder / "api") as api:
            session_id = database.transact(_session)
            return [_reads(api, session_id), *_events(api, database, session_id)]


def _session(connection: sa.Connection) -> int:
    """A session that waits in the midst of its training: without an estimate, which would change by itself."""
    waits = {"waiting_code": "Change0", "waiting_message": "For the bench."}
    weights = {"training": 30.0, "faceDetection": 65.0, "clustering": 5.0}
    session_id = add_session(connection, status="running", total=IMAGES, weights=weights, **waits)
    add_step(connection, session_id, "discover", "completed", done=IMAGES, attempt=1)
    add_step(connection, session_id, "embed", "running", total=IMAGES, attempt=1)
    add_step(connection, session_id, "detect", total=IMAGES)
    add_step(connection, session_id, "cluster")
    add_jobs(connection, session_id, "embed", IMAGES)
    cut(connection, session_id, "embed", 1, 2)
    return session_id


# Reads


def _reads(api: ApiProcess, session_id: int) -> Row:
    milliseconds: dict[str, list[float]] = {"progress": [], "livez": []}

    def way(name: str, path: str) -> float:
        found = asyncio.run(_ask_for(SECONDS, api.url, path))
        milliseconds[name] += found
        return len(found) / SECONDS

    rates = interleaved(
        {
            "progress": lambda: way("progress", f"/api/v1/training/sessions/{session_id}/progress-unified"),
            "livez": lambda: way("livez", "/livez"),
        }
    )
    progress, livez = statistics.median(rates["progress"]), statistics.median(rates["livez"])
    p99 = {name: percentile(values, 99) for name, values in milliseconds.items()}
    share = median_ratio(rates["progress"], rates["livez"])
    note = f"/livez {livez:,.0f}/s, p99 {p99['livez']:.1f} ms: {share:.0%} of what the framework alone does"
    figures: Mapping[str, Any] = {"rates": rates, "p99_milliseconds": p99, "ratio": share}
    measured = f"{progress:,.0f}/s, p99 {p99['progress']:.1f} ms"
    return Row(f"progress-unified over HTTP, {CLIENTS} clients", measured, note=note, figures=figures)


async def _ask_for(seconds: float, url: str, path: str) -> list[float]:
    """Milliseconds of every answer that clients, each on a connection it keeps, had within these seconds."""
    until = time.perf_counter() + seconds
    found = await asyncio.gather(*(_client(url, path, until) for _ in range(CLIENTS)))
    return [milliseconds for of_client in found for milliseconds in of_client]


async def _client(url: str, path: str, until: float) -> list[float]:
    reader, writer = await _request(url, path)
    milliseconds, begun = [], time.perf_counter()
    while (now := time.perf_counter()) < until:
        if milliseconds:
            begun = now
            writer.write(_bytes(url, path))
        head = await _head(reader)
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
        milliseconds.append((time.perf_counter() - begun) * 1e3)
    writer.close()
    return milliseconds


async def _request(url: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(_bytes(url, path))
    return reader, writer


def _bytes(url: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode()


async def _head(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return head


# Events


@dataclass
class Received:
    """When each listener had each change, by change; `complete` is set when all had the one waited for."""

    moments: list[list[float]]
    complete: asyncio.Event

    def note(self, change: int) -> None:
        self.moments[change].append(time.perf_counter())
        if len(self.moments[change]) == LISTENERS:
            self.complete.set()


def _events(api: ApiProcess, database: Database, session_id: int) -> list[Row]:
    received = Received([[] for _ in range(CHANGES + 1)], asyncio.Event())
    commits, seconds, statements = asyncio.run(_fan_out(api, database, session_id, received))
    changes = list(zip(commits, received.moments[1:], strict=True))
    spread = [(max(moments) - min(moments)) * 1e3 for _, moments in changes]
    # As if each commit had come just after a reading, whose moment is that of the first receipt of the change before.
    beyond = [
        (moment - min(before) - READ_SECONDS) * 1e3
        for before, moments in pairwise(received.moments[1:])
        for moment in moments
    ]
    delays = [(moment - commit) * 1e3 for commit, moments in changes for moment in moments]
    everyone = sum(len(moments) == LISTENERS for _, moments in changes)
    note = (
        f"{everyone} of {CHANGES} changes came to all; from the first client to the last "
        f"{statistics.median(spread):.0f} ms; from commit to receipt p50 {percentile(delays, 50):.0f} ms"
    )
    figures = {"beyond_milliseconds": percentile(beyond, 99), "spread_milliseconds": spread, "everyone": everyone}
    return [
        Row(
            f"events to {LISTENERS} clients, p99 beyond the reading period",
            f"{percentile(beyond, 99):.0f} ms",
            note=note,
            figures=figures,
        ),
        Row(
            "queries meanwhile",
            f"{statements / seconds:.2f}/s",
            note=f"{statements} in {seconds:.1f} s",
            figures={"statements": statements, "seconds": seconds},
        ),
    ]


async def _fan_out(
    api: ApiProcess, database: Database, session_id: int, received: Received
) -> tuple[list[float], float, int]:
    """The moments of the commits, and the seconds and statements they took all together."""
    path = f"/api/v1/training/sessions/{session_id}/events"
    listeners = [asyncio.create_task(_listen(api.url, path, received)) for _ in range(LISTENERS)]
    await _complete(received, listeners)
    begun, statements, commits = time.perf_counter(), api.statements(), []
    phases = random.Random(SEED)
    for change in range(1, CHANGES + 1):
        await asyncio.sleep(phases.uniform(0, LATEST_PHASE * READ_SECONDS))
        commits.append(await asyncio.to_thread(_change, database, session_id, change))
        await _complete(received, listeners)
    seconds, statements = time.perf_counter() - begun, api.statements() - statements
    for listener in listeners:
        listener.cancel()
    return commits, seconds, statements


async def _complete(received: Received, listeners: list["asyncio.Task[None]"]) -> None:
    """Every listener has had the latest change; one that failed says so here."""
    waiting = asyncio.create_task(received.complete.wait())
    done, _ = await asyncio.wait({waiting, *listeners}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    for task in done - {waiting}:
        task.result()
    assert waiting in done, "not every listener had the change"
    received.complete.clear()


async def _listen(url: str, path: str, received: Received) -> None:
    reader, _ = await _request(url, path)
    await _head(reader)
    while line := await reader.readline():
        if line.startswith(b"data: "):
            received.note(int(line.partition(b'"code":"Change')[2].partition(b'"')[0]))


def _change(database: Database, session_id: int, change: int) -> float:
    changed = sa.update(training_sessions).where(training_sessions.c.id == session_id)
    database.transact(lambda c: c.execute(changed.values(waiting_code=f"Change{change}")))
    return time.perf_counter()
