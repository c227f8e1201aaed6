"""What the README tells an operator to type is what the API server and the controller take."""

import re
from pathlib import Path
from uuid import uuid4

import yaml

from controller.backend import JobSpec
from controller.kubernetes.manifests import job_manifest
from controller.kubernetes.settings import load_kubernetes_settings
from tests.cluster.control_plane import ControlPlane
from trainyard.steps import STEPS

README = Path(__file__).parents[2] / "README.md"
RESOURCE, SETTINGS = re.findall(r"^```yaml\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
DRY_RUN = ("create", "--dry-run=server", "--validate=strict", "--filename=-")


def test_the_readmes_resource_is_taken(with_crd: ControlPlane, namespace: str) -> None:
    made = with_crd.kubectl(*DRY_RUN, f"--namespace={namespace}", stdin=RESOURCE)
    assert made.startswith("trainingsession.trainyard.dev/holiday-2025 created")


def test_the_readmes_settings_make_jobs_that_are_taken(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(SETTINGS.replace("namespace: photos", f"namespace: {namespace}"))
    settings = load_kubernetes_settings(file)
    for step in STEPS:
        spec = JobSpec(session_id=1, step=step, attempt=1, shards=4, token="0")
        manifest = job_manifest(spec, settings, installation=uuid4(), owner=None, number=0)
        control_plane.kubectl(*DRY_RUN, f"--namespace={namespace}", stdin=yaml.safe_dump(manifest))
