"""From the machine's side: what the node needs on it, and the node with a command that has it."""

import os
import platform
import shutil
import sys
from collections.abc import Sequence

from tests.cluster.binaries import CONTROL_PLANE, NODE, binary, cache_root
from tests.e2e.node import box, containerd, image_store, runs
from tests.e2e.node.image_store import Image
from tests.e2e.steps import step

PROGRAMS = {  # each with Debian's package of it
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "mount": "mount",
    "unshare": "util-linux",
    "openssl": "openssl",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    str(containerd.PLUGINS / "bridge"): "containernetworking-plugins",
}


FIRST_TIME_GIB = 24


class NoNode(Exception):
    """This machine cannot be the node; the sentence says what to do."""


def check_machine() -> None:
    """Raises NoNode."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise NoNode(
            "NoCluster: the end-to-end tests need a cluster. As root on Linux they make one of this machine; here set "
            "KUBECONFIG to a cluster of yours, or CLUSTER=kind where docker and kind are."
        )
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        raise NoNode(
            f"ProgramsMissing: to make a cluster of this machine, it needs {', '.join(missing)}. On Debian or Ubuntu:\n"
            f"  apt-get install --no-install-recommends {' '.join(missing)}"
        )


def check_disk() -> None:
    """Raises NoNode."""
    free_gib = shutil.disk_usage(cache_root()).free >> 30
    if not (cache_root() / "node" / "images").exists() and free_gib < FIRST_TIME_GIB:
        raise NoNode(
            f"DiskTooSmall: the first time, images take {FIRST_TIME_GIB} GiB in {cache_root()}, where {free_gib} GiB "
            "are free. Free some, or set XDG_CACHE_HOME to a folder of another disk."
        )


def build_programs() -> None:
    """Those of Kubernetes, while there is an internet to fetch them from."""
    for name in (*CONTROL_PLANE, *NODE):
        binary(name)


def call(images: Sequence[Image], sandbox: Image, command: list[str]) -> int:
    """The exit code of the command, which has a node with these images; both are gone afterwards."""
    with runs.run() as run:
        with step("bringing the images to the node"):
            image_store.copy_with(run, images, run.folder / containerd.ROOT)
        inside = [sys.executable, "-m", "tests.e2e.node.inside", str(run.folder), sandbox.reference]
        return box.call(run, [*inside, *command])
