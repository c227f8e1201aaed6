"""The node's images, kept between runs: an image is written to an archive and read in only when it is not known yet.

A run works on a copy, whose files are the store's own (hard links), for nothing writes to an unpacked layer.
"""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from tests.cluster.binaries import cache_root
from tests.e2e import image_archive
from tests.e2e.buildah import layers
from tests.e2e.node import cgroups, toml
from tests.e2e.node.runs import Run
from tests.e2e.steps import step
from tests.local_runs import wait_until

NAMESPACE = "k8s.io"  # where the kubelet looks for them


class Image(Protocol):
    @property
    def id(self) -> str:
        """In buildah's store."""

    @property
    def reference(self) -> str:
        """By which pods name it. Another content has another one."""

    def archived(self) -> AbstractContextManager[IO[bytes]]:
        """A docker-archive, as it is written."""


def copy_with(run: Run, images: Sequence[Image], into: Path) -> None:
    """A root for containerd in which just these images are, made by way of the store."""
    with _locked() as store:
        with _opened(run, store) as containerd:
            containerd.bring(images, run.folder / "image.tar")
        _copy(store, into)


def _copy(store: Path, into: Path) -> None:
    subprocess.run(["cp", "--archive", "--link", str(store), str(into)], check=True)
    for written in into.rglob("*.db"):
        written.unlink()
        shutil.copy2(store / written.relative_to(into), written)


@contextmanager
def _locked() -> Iterator[Path]:
    folder = cache_root() / "node"
    with (folder / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / "images"


class _Containerd:
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def answers(self) -> bool:
        return self._ctr("version").returncode == 0

    def bring(self, images: Sequence[Image], archive: Path) -> None:
        """Those that lack are read in, one after another for the disk's sake; others than these are dropped."""
        unpacked = self._unpacked()
        for image in images:
            if image.reference not in unpacked:
                with step(f"  {image.reference}"):
                    self._read_in(image, archive)
        known = self._said("images", "list", "--quiet").split()
        if dropped := set(known) - {image.reference for image in images}:
            self._said("images", "remove", "--sync", *dropped)

    def _unpacked(self) -> set[str]:
        """References of whole images; one whose reading was interrupted is known too, but not unpacked."""
        rows = [line.split() for line in self._said("images", "check").splitlines()[1:]]
        return {row[0] for row in rows if row[-1] == "true"}  # --quiet gives the others too

    def _read_in(self, image: Image, archive: Path) -> None:
        """Without the layers that are here already, if those are most of it: so new code costs seconds.

        Else whole and through a pipe, for a file would take gigabytes more of the disk.
        """
        blobs = set(self._said("content", "list", "--quiet").split())
        of_image = layers(image.id)
        here = [layer for layer in of_image if layer["digest"] in blobs]
        if 2 * _size(here) > _size(of_image):
            image_archive.write(image.id, image.reference, archive, without=here)
            self._said("images", "import", str(archive))
            archive.unlink()
        else:
            with image.archived() as written:
                self._said("images", "import", "-", stdin=written)

    def _said(self, *arguments: str, stdin: IO[bytes] | None = None) -> str:
        done = self._ctr(*arguments, stdin=stdin)
        assert done.returncode == 0, f"ctr {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def _ctr(self, *arguments: str, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[str]:
        command = ["ctr", f"--address={self._socket}", f"--namespace={NAMESPACE}", *arguments]
        return subprocess.run(command, stdin=stdin, capture_output=True, text=True)


def _size(of: list[dict[str, Any]]) -> int:
    return sum(layer["size"] for layer in of)


@contextmanager
def _opened(run: Run, root: Path) -> Iterator[_Containerd]:
    """A containerd that runs nothing. What it mounts to unpack a layer goes with its namespace."""
    state = run.folder / "import"
    state.mkdir()
    config = toml.write(state / "config.toml", _config(root, state))
    with (state / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "containerd", f"--config={config}"],
            stdout=log,
            stderr=log,
            preexec_fn=lambda: cgroups.join(run.name),
        )
    containerd = _Containerd(state / "socket")
    try:
        wait_until(lambda: process.poll() is not None or containerd.answers(), "containerd to answer")
        assert process.poll() is None, (state / "log").read_text()
        yield containerd
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(state)


def _config(root: Path, state: Path) -> toml.Table:
    return {
        "version": 2,
        "root": str(root),
        "state": str(state),
        "grpc": {"address": str(state / "socket")},
        "disabled_plugins": ["io.containerd.grpc.v1.cri"],
        "plugins": {"io.containerd.internal.v1.opt": {"path": str(state / "opt")}},
    }
