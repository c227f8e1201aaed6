"""A cluster by kind, where docker is: made for one run, its images handed over as archives, deleted at the end."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.node.image_store import Image
from tests.e2e.steps import step
from tests.local_runs import REPOSITORY

PREFIX = "trainyard-e2e-"
NETWORK = "kind"  # docker's, of all clusters by kind; its gateway is this machine


class NoKind(Exception):
    """kind cannot be used here; the sentence says what to do."""


def check_machine() -> None:
    """Raises NoKind."""
    missing = [program for program in ("docker", "kind") if shutil.which(program) is None]
    if missing:
        raise NoKind(
            f"NoKind: CLUSTER=kind needs docker and kind; missing on PATH: {', '.join(missing)}. "
            "See https://kind.sigs.k8s.io, or as root on Linux leave CLUSTER away."
        )


def call(images: Sequence[Image], command: list[str]) -> int:
    """The exit code of the command, which has a cluster with these images; both are gone afterwards."""
    _delete_left()
    with TemporaryDirectory(prefix=PREFIX) as made:
        folder = Path(made)
        for name in ("photos", "models", "tmp"):
            (folder / name).mkdir()
        with _cluster(folder) as name:
            for image in images:
                _load(image, name, folder / "image.tar")
            return subprocess.call(command, cwd=REPOSITORY, env=_environment(folder))


@contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    """Its node sees the folder at the folder's own path."""
    name = f"{PREFIX}{os.getpid()}"
    mounts = [{"hostPath": str(folder), "containerPath": str(folder)}]
    config = folder / "kind.json"  # YAML's readers read JSON
    config.write_text(
        json.dumps(
            {
                "kind": "Cluster",
                "apiVersion": "kind.x-k8s.io/v1alpha4",
                "nodes": [{"role": "control-plane", "extraMounts": mounts}],
            }
        )
    )
    try:
        with step("creating the cluster"):
            _kind("create", "cluster", f"--name={name}", f"--config={config}", _kubeconfig(folder), "--wait=120s")
        yield name
    finally:
        _kind("delete", "cluster", f"--name={name}", _kubeconfig(folder))


def _load(image: Image, cluster: str, archive: Path) -> None:
    with step(f"loading {image.reference}"):
        with archive.open("wb") as file, image.archived() as written:
            shutil.copyfileobj(written, file)
        _kind("load", "image-archive", str(archive), f"--name={cluster}")
        archive.unlink()


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "TMPDIR": str(folder / "tmp"),
        "TRAINYARD_E2E_ADDRESS": _address(),
        "TRAINYARD_E2E_PHOTOS": str(folder / "photos"),
        "TRAINYARD_E2E_SIMULATED_GPUS": "yes",
    }


def _address() -> str:
    """This machine's, as the cluster's pods reach it: the IPv4 gateway of docker's network."""
    gateways = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
    found = _said("docker", "network", "inspect", NETWORK, f"--format={gateways}").split()
    return next(gateway for gateway in found if "." in gateway)


def _delete_left() -> None:
    """Clusters of runs that were killed."""
    for name in _said("kind", "get", "clusters").split():
        if name.startswith(PREFIX) and not Path(f"/proc/{name.removeprefix(PREFIX)}").exists():
            _kind("delete", "cluster", f"--name={name}")


def _kubeconfig(folder: Path) -> str:
    return f"--kubeconfig={folder / 'kubeconfig'}"


def _kind(*arguments: str) -> None:
    subprocess.run(["kind", *arguments], check=True)


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
