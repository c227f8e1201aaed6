"""`trainyard sessions` from a second process while `run` holds the data directory, and runs that are interrupted.

Real processes of the real command line; the networks are fakes (tests/engines.py).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from local.postgres import EmbeddedPostgres
from tests import libraries
from tests.local_runs import data_directory, wait_until
from tests.processes import Trainyard, trainyard

PHOTOS = 24
CAME_BY_ITSELF: LiteralString = """
    INSERT INTO training_sessions (root_path, status, options)
    VALUES ('/', 'completed', jsonb_build_object('assign', true, 'asked_by', %s::text)) RETURNING id
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with data_directory() as folder:
        yield folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return libraries.write_photos(tmp_path / "photos", PHOTOS)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While it stands, a run that was given it embeds nothing."""
    gate = tmp_path / "gate"
    gate.touch()
    return gate


def sessions(data_dir: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of `trainyard sessions …`."""
    with trainyard("sessions", *arguments, "--data-dir", data_dir) as process:
        return process.wait(), process.output + process.errors


def await_row(data_dir: Path, statement: LiteralString, value: str) -> None:
    """Wait by the rows: a command that came before `run` had the data directory would take it."""

    wait_until(lambda: first_row(data_dir, statement, value), f"a row of {statement} for {value}")


def first_row(data_dir: Path, statement: LiteralString, value: str) -> tuple[Any, ...] | None:
    """None, too, while no server runs there."""
    url = EmbeddedPostgres.url_of_running(data_dir)
    if url is None:
        return None
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return connection.execute(statement, [value]).fetchone()


def await_embedding(data_dir: Path, run: Trainyard) -> None:
    """Wait until this very run has begun to embed."""
    await_row(data_dir, "SELECT 1 FROM shards WHERE step = 'embed' AND worker LIKE %s", f"%/{run.pid}/%")


def await_status(data_dir: Path, status: str) -> None:
    await_row(data_dir, "SELECT 1 FROM training_sessions WHERE status = %s", status)


def summary_of(process: Trainyard) -> dict[str, Any]:
    return dict(json.loads(process.output))


def test_a_session_is_watched_paused_and_resumed_while_run_holds_the_data_directory(
    data_dir: Path, photos: Path, gate: Path
) -> None:
    with trainyard("run", photos, "--data-dir", data_dir, "--json", gate=gate) as run:
        await_embedding(data_dir, run)
        with trainyard("run", photos, "--data-dir", data_dir) as second:
            assert second.wait() == 2
            assert f"is held by process {run.pid}" in second.errors
        for_people = sessions(data_dir, "list")
        assert (for_people[0], "running" in for_people[1]) == (0, True)
        code, output = sessions(data_dir, "list", "--json")
        assert (code, [row["sessionId"] for row in json.loads(output)]) == (0, [1])
        assert first_row(data_dir, CAME_BY_ITSELF, "changes")  # which nobody means who names none
        code, output = sessions(data_dir, "show", "--json")
        assert (code, json.loads(output)["images"]["total"]) == (0, PHOTOS)
        assert sessions(data_dir, "failures", "1", "--json") == (0, "[]\n")
        assert sessions(data_dir, "retry")[0] == 1
        assert sessions(data_dir, "pause")[0] == 0
        gate.unlink()
        await_status(data_dir, "paused")
        assert run.exit_code is None
        assert sessions(data_dir, "resume")[0] == 0
        assert run.wait() == 0, run.errors
        assert summary_of(run)["images"]["processed"] == PHOTOS


def test_a_cancelled_session_ends_its_run(data_dir: Path, photos: Path, gate: Path) -> None:
    with trainyard("run", photos, "--data-dir", data_dir, "--json", gate=gate) as run:
        await_embedding(data_dir, run)
        assert sessions(data_dir, "cancel", "1")[0] == 0
        gate.unlink()
        assert run.wait() == 1
        assert summary_of(run)["overallStatus"] == "cancelled"
    assert sessions(data_dir, "resume", "1")[0] == 1
    assert sessions(data_dir, "show", "7")[0] == 2


def test_a_run_interrupted_or_killed_is_taken_up_by_the_same_command(data_dir: Path, photos: Path, gate: Path) -> None:
    command = ("run", photos, "--data-dir", data_dir, "--json")
    with trainyard(*command, gate=gate) as killed:
        await_embedding(data_dir, killed)
        killed.kill()
    with trainyard(*command, gate=gate) as interrupted:
        await_embedding(data_dir, interrupted)
        interrupted.interrupt()
        wait_until(lambda: "Stopping at the batch" in interrupted.errors, "the interrupt to be noticed")
        gate.unlink()
        assert interrupted.wait() == 130
        assert summary_of(interrupted)["overallStatus"] == "paused"
    with trainyard(*command) as last:
        assert last.wait() == 0, last.errors
    assert [summary_of(run)["sessionId"] for run in (interrupted, last)] == [1, 1]
    assert summary_of(last)["images"] == {
        "total": PHOTOS, "processed": PHOTOS, "failed": 0, "unchanged": 0, "skipped": 0
    }  # fmt: skip


def test_a_retry_takes_what_failed(data_dir: Path, photos: Path) -> None:
    broken = photos / "a/broken.png"
    broken.write_bytes(b"")
    with trainyard("run", photos, "--data-dir", data_dir, "--json") as first:
        assert first.wait() == 0
    assert [failure["path"] for failure in summary_of(first)["failures"]] == [str(broken.resolve())]
    libraries.write_photo(broken, 800, (1,))
    assert sessions(data_dir, "retry", "1")[0] == 0
    with trainyard("run", photos, "--data-dir", data_dir, "--json") as again:
        assert again.wait() == 0
    assert sessions(data_dir, "failures", "1", "--json") == (0, "[]\n")
