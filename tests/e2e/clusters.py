"""Which cluster the tests have: one of the caller's, one of kind, or one made of this machine."""

import json
import os
import subprocess
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from tests.e2e import images as ours
from tests.e2e import kind
from tests.e2e.node import launch
from tests.e2e.steps import step
from tests.local_runs import REPOSITORY

GIVEN = ("TRAINYARD_E2E_IMAGES", "TRAINYARD_E2E_ADDRESS", "TRAINYARD_E2E_PHOTOS")
BASE = "base"  # the image that pods' sandboxes are made of


class NoCluster(Exception):
    """The tests cannot have one; the sentence says what to do."""


def call(command: list[str]) -> int:
    """The exit code of the command, which finds in its environment what tests/e2e/conftest.py reads.

    Raises NoCluster, and what building programs and images raises.
    """
    if os.environ.get("KUBECONFIG"):
        return _on_given_cluster(command)
    if os.environ.get("CLUSTER") == "kind":
        kind.check_machine()
        return kind.call(_built_images(), command)
    launch.check_machine()
    launch.build_programs()
    launch.check_disk()
    images = _built_images()
    return launch.call(images, next(image for image in images if image.name == BASE), command)


def _built_images() -> Sequence[ours.Image]:
    with step("building the images"):
        images = ours.build()
    os.environ["TRAINYARD_E2E_IMAGES"] = json.dumps({image.name: image.reference for image in images})
    return images


def _on_given_cluster(command: list[str]) -> int:
    if missing := [name for name in GIVEN if name not in os.environ]:
        raise NoCluster(
            f"NoCluster: KUBECONFIG names a cluster, but {', '.join(missing)} must be set too. "
            'TRAINYARD_E2E_IMAGES is JSON, {"base": reference, "api": …, "controller": …, "jobs": …, "api-next": …, '
            "…}, of images that the cluster can pull (`python -m tests.e2e.images` builds them); "
            "TRAINYARD_E2E_ADDRESS is this machine's as pods reach it; TRAINYARD_E2E_PHOTOS is a folder that is the "
            "same one here and on every node."
        )
    with TemporaryDirectory() as folder:
        return subprocess.call(command, cwd=REPOSITORY, env=os.environ | {"TMPDIR": folder})
