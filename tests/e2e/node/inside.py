"""`python -m tests.e2e.node.inside FOLDER SANDBOX_IMAGE COMMAND…`: in the box, a node and a command that has it."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.node import mounts, network
from tests.e2e.node.box import as_first_process
from tests.e2e.node.mounts import INSIDE
from tests.e2e.node.one_node import one_node
from tests.e2e.steps import step

PHOTOS = INSIDE / "photos"
TEMPORARY = INSIDE / "tmp"
PROXIES = [name for name in os.environ if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}]


def run(folder: Path, sandbox_image: str, command: list[str]) -> int:
    """The command's exit code."""
    for name in PROXIES:  # they are out of reach from here
        os.environ.pop(name, None)
    mounts.mount_all(folder)
    network.set_up()
    PHOTOS.mkdir(mode=0o755)
    TEMPORARY.mkdir()
    TEMPORARY.chmod(0o1777)
    with ExitStack() as stack:
        with step("starting the node"):
            kubeconfig = stack.enter_context(one_node(folder.name, sandbox_image))
        process = stack.enter_context(subprocess.Popen(command, env=_environment(kubeconfig)))
        try:
            return process.wait()
        except KeyboardInterrupt:  # which the command heard too
            return process.wait()


def _environment(kubeconfig: Path) -> dict[str, str]:
    return os.environ | {
        "KUBECONFIG": str(kubeconfig),
        "TMPDIR": str(TEMPORARY),
        "TRAINYARD_E2E_ADDRESS": network.ADDRESS,
        "TRAINYARD_E2E_NODE": str(INSIDE),
        "TRAINYARD_E2E_PHOTOS": str(PHOTOS),
        "TRAINYARD_E2E_SIMULATED_GPUS": "yes",
    }


if __name__ == "__main__":
    folder, sandbox_image, *command = sys.argv[1:]
    sys.exit(as_first_process(lambda: run(Path(folder), sandbox_image, command)))
