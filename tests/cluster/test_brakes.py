"""Pause, resume, cancel and delete at every step: nothing stays at work, and nothing done is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.cluster.cluster_runs import ClusterRun
from tests.libraries import write_photos
from tests.local_runs import wait_until
from trainyard.outbox import drain
from trainyard.people import faces, persons
from trainyard.steps import STEPS

STEPS_RUN = [step for step in STEPS if step != "assign"]  # which has sessions of its own


def test_a_session_is_paused_and_resumed_at_every_step(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 16)
    let_go = {step: run.pods.hold(step) for step in STEPS_RUN}
    with run.controller(parallelism=2):
        session_id = run.begin(photos)
        for step in STEPS_RUN:
            run.claimed(session_id, step)
            assert run.ask(session_id, "pause").status == 202
            run.until(session_id, "paused")
            run.at_rest()
            let_go[step]()
            assert run.ask(session_id, "resume").status == 202
        assert run.ended(session_id)["overallStatus"] == "completed"
        run.completed(f"session-{session_id}")
    assert {step: run.step(session_id, step).attempt for step in STEPS_RUN} == dict.fromkeys(STEPS_RUN, 2)
    assert run.engines.fake_clip.seen == 16


def test_a_session_that_only_assigns_is_paused_and_resumed(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 16)
    with run.controller(parallelism=2):
        run.ended(run.begin(photos))
        name_one_face(run)
        let_go = run.pods.hold("assign")
        session_id = run.begin(photos, training=False, assign=True)
        run.claimed(session_id, "assign")
        assert run.ask(session_id, "pause").status == 202
        run.until(session_id, "paused")
        run.at_rest()
        let_go()
        assert run.ask(session_id, "resume").status == 202
        ended = run.ended(session_id)
        run.completed(f"session-{session_id}")
    assert (ended["overallStatus"], run.step(session_id, "assign").attempt) == ("completed", 2)
    assert ended["facesAssignedToPersons"] == len(run.rows("SELECT 1 FROM face_instances WHERE assigned_by = 'engine'"))
    assert ended["facesAssignedToPersons"] > 0


def name_one_face(run: ClusterRun) -> None:
    def work(connection: sa.Connection) -> None:
        face = connection.scalars(sa.text("SELECT id FROM face_instances ORDER BY quality DESC, id LIMIT 1")).one()
        faces.assign(connection, [face], persons.create(connection, "Anna"))

    run.database.transact(work)
    while drain(run.database, run.vectors):
        pass


@pytest.mark.parametrize("ending", ["cancel", "delete"])
def test_a_session_is_ended_at_every_step(run: ClusterRun, tmp_path: Path, ending: str) -> None:
    """Each at another step, beside one another."""
    ends: dict[str, Callable[[int, str], object]] = {
        "cancel": lambda session_id, name: run.ask(session_id, "cancel"),
        "delete": lambda session_id, name: run.kubectl("delete", "trainingsession", name, "--wait=false"),
    }
    held: dict[str, tuple[int, str]] = {}
    with run.controller():
        for step in STEPS_RUN:
            session_id = run.begin(write_photos(tmp_path / step, 8))
            run.pods.hold(step, session_id)
            held[step] = (session_id, f"session-{session_id}")
        for step, (session_id, name) in held.items():
            run.claimed(session_id, step)
            ends[ending](session_id, name)
            run.until(session_id, "cancelled")
        run.at_rest()
        if ending == "cancel":
            for _, name in held.values():
                wait_until(lambda name=name: run.status(name)["overallStatus"] == "cancelled", f"{name} to say so")
        else:
            wait_until(lambda: run.resources() == [], "the resources to go")
            wait_until(lambda: run.jobs() == [], "their Jobs to go with them")
    assert run.rows("SELECT DISTINCT status FROM training_sessions") == [("cancelled",)]
