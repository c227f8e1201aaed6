"""What the README tells an operator to type is what the API server takes."""

import re
from pathlib import Path

from tests.cluster.control_plane import ControlPlane

README = Path(__file__).parents[2] / "README.md"
(RESOURCE,) = re.findall(r"^```yaml\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
DRY_RUN = ("create", "--dry-run=server", "--validate=strict", "--filename=-")


def test_the_readmes_resource_is_taken(with_crd: ControlPlane, namespace: str) -> None:
    made = with_crd.kubectl(*DRY_RUN, f"--namespace={namespace}", stdin=RESOURCE)
    assert made.startswith("trainingsession.trainyard.dev/holiday-2025 created")
