"""buildah, with a store of its own in the cache: there the layers of images stay from one build to the next."""

import ast
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.cluster.binaries import cache_root

DOCKERFILE_SECRET = "pip.conf"  # by which name the Dockerfiles ask for it
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
CERTIFICATES = Path("/etc/ssl/certs")  # of this machine: a proxy's own may be among them
ERROR_LINES_SHOWN = 25


class ImageNotBuilt(Exception):
    """buildah's last words, and which step it was at."""


def buildah(*arguments: str | Path) -> str:
    """What it printed. Raises ImageNotBuilt."""
    if not shutil.which("buildah"):
        raise ImageNotBuilt("Images are built by buildah, which is not here. Type:  apt-get install -y buildah")
    done = subprocess.run([*_command(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-ERROR_LINES_SHOWN:])
        raise ImageNotBuilt(f"buildah {' '.join(map(str, arguments))}\n{last}")
    return done.stdout


def _command() -> list[str]:
    """In mounts of its own, which go when it ends, however it ends."""
    folder = _folder()
    store = [f"--root={folder / 'store'}", f"--runroot={folder / 'run'}", "--storage-driver=overlay"]
    return ["unshare", "--mount", "buildah", *store]


def _folder() -> Path:
    return cache_root() / "images"


def build_image(name: str, context: Path, dockerfile: Path, **arguments: str) -> str:
    """The id of the image, which gets this name. What was built before from the same files is not built again.

    Raises ImageNotBuilt.
    """
    with tempfile.TemporaryDirectory() as folder:
        named = [f"--build-arg={name}={value}" for name, value in arguments.items() if value]
        identity = Path(folder) / "id"
        options = ["--isolation=chroot", "--layers", *_network(Path(folder)), *named]
        buildah("build", *options, f"--iidfile={identity}", f"--tag={name}", f"--file={dockerfile}", context)
        return identity.read_text().strip().removeprefix("sha256:")


def _network(folder: Path) -> list[str]:
    """How this machine reaches packages, which no image is to know: its pip settings, its certificates."""
    settings = folder / "pip.conf"
    settings.write_text("\n".join(["[global]", *_pip_settings()]))
    certificates = [f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.is_dir() else []
    return ["--network=host", f"--secret=id={DOCKERFILE_SECRET},src={settings}", *certificates]


def _pip_settings() -> Iterator[str]:
    found = {}  # of several places that name an option pip lists the one that counts last
    for line in _pip("config", "list").splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2].removeprefix("default-")
        if option in PIP_OPTIONS:
            found[option] = " ".join(ast.literal_eval(value).split())
    yield from (f"{option} = {value}" for option, value in found.items())
    bundle = os.environ.get("PIP_CERT") or CERTIFICATES / "ca-certificates.crt"
    if Path(bundle).is_relative_to(CERTIFICATES) and Path(bundle).exists():
        yield f"cert = {bundle}"


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def docker_archive(image: str, reference: str) -> Iterator[IO[bytes]]:
    """What buildah writes, while it writes it. Raises ImageNotBuilt."""
    command = [*_command(), "push", "--quiet", image, f"docker-archive:/dev/stdout:{reference}"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)
        assert process.stdout
        try:
            yield process.stdout
            failed = process.wait()
        finally:
            process.kill()  # it opens the pipe to read as well, and so would never learn that nobody reads any more
            process.communicate()
        said.seek(0)
        if failed:
            raise ImageNotBuilt(f"buildah push {reference}\n{said.read().decode(errors='replace')}")


def image_id(name: str) -> str | None:
    """Of the image that has this name in the store."""
    found = buildah("images", "--quiet", "--no-trunc", "--filter", f"reference={name}").split()
    return found[0].removeprefix("sha256:") if found else None


def layers(image: str) -> list[dict[str, Any]]:
    """Each one's `digest` and `size` in bytes, the base's first."""
    manifest = json.loads(json.loads(buildah("inspect", "--type=image", image))["Manifest"])
    return list(manifest["layers"])


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """On this machine: a second run then finds every layer built."""
    _folder().mkdir(parents=True, exist_ok=True)
    with (_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        buildah("rm", "--all")  # what an interrupted build left
        yield


def drop_unused_layers(made_from: str) -> None:
    """Those that no named image has, when packages changed: then they are gigabytes. Of code alone it is a few MB."""
    kept_for = _folder() / "made-from"
    if not kept_for.exists() or kept_for.read_text() != made_from:
        buildah("rmi", "--prune", "--force")
        kept_for.write_text(made_from)
