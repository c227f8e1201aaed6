"""How many SQL statements a batch costs, and a look at progress: fixed, so that none creeps in unseen."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests import libraries
from tests.hand_jobs import HandJobs
from tests.local_runs import BATCHES, Run, data_directory
from trainyard.database import Database
from trainyard.progress import read_progress

# Handing out: the photos, and their name in the shard's row. Committing: the shard, evidence of earlier content,
# the new evidence, the photos' facts, the jobs.
EMBED_BATCH = 2 + 5
# Handing out: the same. Before the vectors: faces that are not found again, and what is known of all. Committing: the
# shard, what is known, and again once the persons, the faces, and persons named meanwhile are locked; the new faces,
# suggestions that are none any more, scans of earlier content, the new scans, the photos' facts, the jobs.
DETECT_BATCH = 2 + 2 + 12


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with data_directory() as folder, Run(folder) as run:
        yield run


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is sent to the database meanwhile."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(database.engine, "before_cursor_execute", note)


def sent_by_step(run: Run, folder: Path, batches: int, step: str) -> list[str]:
    photos = libraries.write_photos(folder, batches * BATCHES[f"{step}_batch"])
    run.begin(photos)
    jobs = HandJobs(run)
    jobs.work_up_to(step)
    with statements(run.database) as sent:
        jobs.work()
    while jobs.waiting():
        jobs.work()
    return sent


@pytest.mark.parametrize(("step", "per_batch"), [("embed", EMBED_BATCH), ("detect", DETECT_BATCH)])
def test_a_batch_costs_a_fixed_number_of_statements(run: Run, tmp_path: Path, step: str, per_batch: int) -> None:
    few = sent_by_step(run, tmp_path / "few", 2, step)
    many = sent_by_step(run, tmp_path / "many", 5, step)
    assert len(many) - len(few) == 3 * per_batch, "\n".join(many)


def test_a_look_at_progress_is_one_statement_over_sessions_steps_and_shards(run: Run, tmp_path: Path) -> None:
    session = run.begin(libraries.write_photos(tmp_path, 3))
    HandJobs(run).work_up_to("detect")
    with statements(run.database) as sent:
        run.database.transact(lambda connection: read_progress(connection, session))
    assert len(sent) == 1
    assert not any(table in sent[0] for table in ("training_jobs", "image_assets", "face_instances"))
