"""Statuses: what a phase and a session show, which requests are accepted, and where a step may never go."""

import pytest

from trainyard.lifecycle import (
    ACTIVE,
    ENDED,
    SETTLED,
    TRANSITIONS,
    answer,
    answer_of_resource,
    overall_status,
    phase_status,
    phase_statuses,
)
from trainyard.steps import PHASE_OF_STEP, PHASES, SHARDED_STEPS, STEPS, steps_of_session

STATUSES = ("pending", "running", "paused", "completed", "failed", "cancelled", "skipped")

# Every cell of the table of requests: (status, what is requested, failed images) → HTTP status and code by verb.
OK, ACCEPTED, ENDED_ALREADY = (200, "NothingToDo"), (202, "Accepted"), (409, "SessionEnded")
NOT_YET, NOTHING = (409, "NotEnded"), (409, "NothingToRetry")
REQUESTS = {
    ("pending", "run", 0): (ACCEPTED, OK, ACCEPTED, NOT_YET),
    ("running", "run", 0): (ACCEPTED, OK, ACCEPTED, NOT_YET),
    ("running", "run", 3): (ACCEPTED, OK, ACCEPTED, NOT_YET),
    ("paused", "pause", 0): (OK, ACCEPTED, ACCEPTED, NOT_YET),
    ("paused", "pause", 3): (OK, ACCEPTED, ACCEPTED, NOT_YET),
    ("failed", "run", 0): (ENDED_ALREADY, ENDED_ALREADY, ENDED_ALREADY, ACCEPTED),
    ("failed", "pause", 3): (ENDED_ALREADY, ENDED_ALREADY, ENDED_ALREADY, ACCEPTED),
    ("completed", "run", 3): (ENDED_ALREADY, ENDED_ALREADY, ENDED_ALREADY, ACCEPTED),
    ("completed", "run", 0): (ENDED_ALREADY, ENDED_ALREADY, ENDED_ALREADY, NOTHING),
    ("cancelled", "cancel", 0): (ENDED_ALREADY, ENDED_ALREADY, (200, "AlreadyCancelled"), NOT_YET),
    ("cancelled", "cancel", 3): (ENDED_ALREADY, ENDED_ALREADY, (200, "AlreadyCancelled"), NOT_YET),
    # Asked for already, not yet done:
    ("running", "pause", 0): (OK, ACCEPTED, ACCEPTED, NOT_YET),
    ("pending", "pause", 0): (OK, ACCEPTED, ACCEPTED, NOT_YET),
    ("paused", "run", 0): (ACCEPTED, OK, ACCEPTED, NOT_YET),
    ("running", "cancel", 0): (ENDED_ALREADY, ENDED_ALREADY, (200, "AlreadyCancelled"), NOT_YET),
    ("pending", "cancel", 0): (ENDED_ALREADY, ENDED_ALREADY, (200, "AlreadyCancelled"), NOT_YET),
    ("paused", "cancel", 0): (ENDED_ALREADY, ENDED_ALREADY, (200, "AlreadyCancelled"), NOT_YET),
}
CELLS = [
    (*situation, verb, *cell)
    for situation, cells in REQUESTS.items()
    for verb, cell in zip(("pause", "resume", "cancel", "retry"), cells, strict=True)
]


@pytest.mark.parametrize(("status", "requested", "failed", "verb", "http_status", "code"), CELLS)
def test_every_cell_of_the_table_of_requests(
    status: str, requested: str, failed: int, verb: str, http_status: int, code: str
) -> None:
    result = answer(status, requested, failed_images=failed, verb=verb)
    assert (result.status, result.code) == (http_status, code)
    assert result.message.endswith(".")


def test_a_refused_request_says_what_the_session_is() -> None:
    assert answer("completed", "run", failed_images=0, verb="pause").message == (
        "The session is completed; it cannot pause any more."
    )
    assert "being cancelled" in answer("running", "cancel", failed_images=0, verb="resume").message


@pytest.mark.parametrize(
    ("status", "requested", "verb", "message"),
    [
        ("paused", "pause", "pause", "The session is paused already."),
        ("running", "pause", "pause", "A pause has been asked for already; it takes effect at the next batch."),
        ("pending", "pause", "pause", "A pause has been asked for already; it takes effect at the next batch."),
        ("paused", "run", "resume", "The session has been asked to go on already, and is about to."),
        ("running", "run", "resume", "The session is running; there is nothing to resume."),
        ("pending", "run", "resume", "The session is pending; there is nothing to resume."),
        ("running", "cancel", "cancel", "The session is being cancelled already."),
    ],
)
def test_a_request_made_twice_is_told_what_became_of_the_first(
    status: str, requested: str, verb: str, message: str
) -> None:
    assert answer(status, requested, failed_images=0, verb=verb).message == message


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
def test_a_resource_that_stands_and_suspends_nothing_rules_nothing_out(verb: str) -> None:
    assert answer_of_resource(verb, "archive", gone=False, suspended=False, paused=True) is None


def test_nothing_is_retried_once_the_resource_is_gone() -> None:
    refused = answer_of_resource("retry", "archive", gone=True, suspended=False, paused=False)
    assert refused is not None
    assert (refused.status, refused.code) == (409, "ResourceGone")
    assert "archive" in refused.message
    assert answer_of_resource("cancel", "archive", gone=True, suspended=False, paused=False) is None


def test_a_resume_against_the_resource_says_how_to_lift_its_brake() -> None:
    refused = answer_of_resource("resume", "archive", gone=False, suspended=True, paused=False)
    assert refused is not None
    assert (refused.status, refused.code) == (409, "SuspendedByResource")
    lift = """kubectl patch trainingsession archive --type=merge --patch='{"spec":{"suspend":false}}'"""
    assert refused.message == f"Its resource archive holds the session by spec.suspend. Run `{lift}`."
    both = answer_of_resource("resume", "archive", gone=False, suspended=True, paused=True)
    assert both is not None
    assert both.message.endswith("`, then resume again.")


@pytest.mark.parametrize("verb", ["pause", "cancel", "retry"])
def test_a_suspended_session_can_be_asked_for_anything_else(verb: str) -> None:
    assert answer_of_resource(verb, "archive", gone=False, suspended=True, paused=False) is None


@pytest.mark.parametrize(
    ("statuses", "phase"),
    [
        (["pending", "pending"], "pending"),
        (["running", "pending"], "running"),
        (["completed", "pending"], "running"),  # between two steps of one phase
        (["completed", "running"], "running"),
        (["completed", "completed"], "completed"),
        (["completed", "skipped"], "completed"),
        (["skipped", "skipped"], "skipped"),
        (["skipped", "pending"], "pending"),
        (["paused", "pending"], "paused"),
        (["completed", "paused"], "paused"),
        (["failed", "pending"], "failed"),
        (["completed", "failed"], "failed"),
        (["cancelled", "cancelled"], "cancelled"),
        (["completed", "cancelled"], "cancelled"),
        (["failed", "cancelled"], "failed"),
        *[([status], status) for status in STATUSES],
    ],
)
def test_a_phase_shows_what_its_steps_are(statuses: list[str], phase: str) -> None:
    assert phase_status(statuses) == phase


def steps(discover: str, embed: str, detect: str, cluster: str) -> dict[str, str]:
    return {"discover": discover, "embed": embed, "detect": detect, "cluster": cluster}


@pytest.mark.parametrize(
    ("by_step", "started", "overall"),
    [
        ({}, False, "pending"),
        (steps("pending", "pending", "pending", "pending"), False, "pending"),
        (steps("running", "pending", "pending", "pending"), False, "pending"),  # no worker has begun
        (steps("running", "pending", "pending", "pending"), True, "running"),
        (steps("completed", "pending", "pending", "pending"), True, "running"),
        (steps("completed", "completed", "pending", "pending"), True, "running"),  # 18 % done is not completed
        (steps("completed", "completed", "completed", "running"), True, "running"),
        (steps("paused", "pending", "pending", "pending"), False, "paused"),
        (steps("completed", "paused", "pending", "pending"), True, "paused"),
        (steps("completed", "completed", "completed", "completed"), True, "completed"),
        (steps("completed", "completed", "skipped", "skipped"), True, "completed"),
        (steps("completed", "completed", "failed", "pending"), True, "failed"),
        (steps("failed", "pending", "pending", "pending"), False, "failed"),
        (steps("completed", "cancelled", "cancelled", "cancelled"), True, "cancelled"),
        (steps("completed", "completed", "skipped", "cancelled"), True, "cancelled"),
    ],
)
def test_a_session_shows_what_its_steps_are(by_step: dict[str, str], started: bool, overall: str) -> None:
    assert overall_status(by_step, started=started) == overall


def test_a_failed_face_phase_leaves_training_completed_and_clustering_not_begun() -> None:
    assert phase_statuses(steps("completed", "completed", "failed", "pending")) == {
        "training": "completed",
        "faceDetection": "failed",
        "clustering": "pending",
    }


@pytest.mark.parametrize("discover", ["pending", "running", "paused", "completed", "failed", "cancelled"])
def test_a_standalone_face_session_skips_training_from_its_first_second(discover: str) -> None:
    statuses = steps(discover, "skipped", "pending", "pending")
    assert phase_statuses(statuses)["training"] == "skipped"
    assert phase_statuses(statuses)["faceDetection"] == "pending"


@pytest.mark.parametrize(
    ("by_step", "started", "overall"),
    [
        (steps("pending", "skipped", "pending", "pending"), False, "pending"),
        (steps("running", "skipped", "pending", "pending"), True, "running"),
        (steps("completed", "skipped", "running", "pending"), True, "running"),
        (steps("paused", "skipped", "pending", "pending"), True, "paused"),
        (steps("failed", "skipped", "pending", "pending"), True, "failed"),
        (steps("completed", "skipped", "completed", "running"), True, "running"),
        (steps("completed", "skipped", "completed", "completed"), True, "completed"),
        (steps("completed", "skipped", "skipped", "skipped"), True, "completed"),
    ],
)
def test_a_standalone_face_session_follows_all_of_its_steps(
    by_step: dict[str, str], started: bool, overall: str
) -> None:
    assert overall_status(by_step, started=started) == overall


def test_a_session_is_active_while_any_phase_is() -> None:
    """No combination of steps is settled over all and active in a phase: a client that polls misses nothing."""
    for discover in SETTLED:
        for detect in ("pending", "running", "paused"):
            assert overall_status(steps(discover, "completed", detect, "pending"), started=True) in ACTIVE


def test_statuses_are_either_active_or_ended() -> None:
    assert ACTIVE | ENDED | {"skipped"} == set(STATUSES) == set(TRANSITIONS)
    assert not ACTIVE & ENDED


def test_nothing_leads_out_of_cancelled_and_only_pending_out_of_what_has_ended() -> None:
    assert TRANSITIONS["cancelled"] == frozenset()
    assert all(TRANSITIONS[status] == {"pending"} for status in ("completed", "failed", "skipped"))
    assert all(status not in ways for status, ways in TRANSITIONS.items())


def test_every_step_is_in_one_phase() -> None:
    assert [step for phase in PHASES for step in phase.steps] == list(STEPS) == list(PHASE_OF_STEP)
    assert set(STEPS) >= SHARDED_STEPS
    assert set(steps_of_session(faces=True).values()) == {"pending"}
    assert steps_of_session(faces=False) == steps("pending", "pending", "skipped", "skipped")
    assert steps_of_session(faces=True, training=False) == steps("pending", "skipped", "pending", "pending")
    assert steps_of_session(faces=True, training=False, assign=True) == {
        "discover": "pending", "embed": "skipped", "assign": "pending", "cluster": "skipped"
    }  # fmt: skip


def test_discover_counts_nothing_of_its_phase() -> None:
    assert {phase.name: phase.counting_steps for phase in PHASES} == {
        "training": ("embed",),
        "faceDetection": ("detect", "assign"),
        "clustering": ("cluster",),
    }
