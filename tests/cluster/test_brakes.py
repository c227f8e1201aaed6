"""Pause, resume, cancel and delete at every step: nothing stays at work, and nothing done is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.cluster_runs import ClusterRun
from tests.libraries import write_photos
from tests.local_runs import wait_until
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
