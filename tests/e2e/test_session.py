"""A whole session with real pods on a real node: what was seen of it from its first second to its last."""

from typing import Any

from tests.e2e.installation import Installation
from tests.e2e.whole_session import WholeSession

DONE = {"total": 64, "processed": 64, "failed": 4, "unchanged": 0, "skipped": 2}  # the demo's library


def test_it_completes_and_every_photo_is_accounted_for(whole_session: WholeSession) -> None:
    assert whole_session.summary["images"] == DONE
    assert len(whole_session.keys["faces"]) > 40
    assert len(whole_session.keys["clusters"]) >= 6


def test_the_number_never_falls_and_is_100_only_at_the_end(whole_session: WholeSession) -> None:
    whole_session.witness.was_seen_at_work()
    whole_session.witness.never_fell()
    whole_session.witness.never_done_early()


def test_kubectl_agrees_with_the_api_within_15_seconds(whole_session: WholeSession) -> None:
    whole_session.witness.agreed()


def test_without_a_gpu_everybody_is_told_what_it_waits_for(whole_session: WholeSession) -> None:
    waited = whole_session.waited
    assert "1 Insufficient nvidia.com/gpu" in waited.api["message"]
    assert waited.resource["message"] == waited.api["message"]
    (row,) = [line for line in waited.table.splitlines() if line.startswith("session-")]
    assert "Unschedulable" in row
    assert "1 Insufficient nvidia.com/gpu" in waited.page


def test_workers_run_at_the_restricted_level_and_hold_no_token(whole_session: WholeSession) -> None:
    """The namespace enforces the level: what is looked at here is what the API server let in."""
    installation = whole_session.installation
    namespace = installation.cluster.get("namespace", installation.namespace)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    steps = {pod["metadata"]["labels"]["trainyard.dev/step"] for pod in whole_session.pods}
    assert steps == {"discover", "embed", "detect", "cluster"}
    assert [mounted for pod in whole_session.pods for mounted in _tokens(pod)] == []


def _tokens(pod: dict[str, Any]) -> list[str]:
    return [volume["name"] for volume in pod["spec"]["volumes"] if "projected" in volume]


def test_helm_test_runs_a_session_of_one_picture_to_its_end(installation: Installation) -> None:
    said = installation.helm("test", "trainyard", "--logs")
    assert "Phase:          Succeeded" in said
    assert "'processed': 1" in said
