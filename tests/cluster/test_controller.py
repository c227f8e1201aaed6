"""`trainyard controller` as a process, by its settings file and its service account's kubeconfig."""

import signal
from pathlib import Path

from tests.cluster.cluster_runs import ClusterRun
from tests.cluster.commands import controller_command
from tests.libraries import write_photos


def test_the_command_leads_by_its_settings_file_and_ends_on_sigterm(run: ClusterRun, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    with controller_command(run, tmp_path) as process:
        run.apply("by-command", photos, faceDetection={"enabled": False})
        run.completed("by-command")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert f"jobs run in namespace {run.namespace}" in said
