"""What the images stand on: the Dockerfiles' own base where its registry is reachable, else Debian by debootstrap.

Either stays in buildah's store, by a name that says what it was made from.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.cluster.binaries import cache_root
from tests.e2e.buildah import ImageNotBuilt, build_image, buildah, image_id

DOCKERFILE = Path(__file__).parents[2] / "images/api/Dockerfile"
REGISTRY = "https://registry-1.docker.io/v2/"
PROBE_SECONDS = 5.0
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
LEFT_OUT = ("./dev/*", "./proc/*", "./sys/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")
DEBIAN = """FROM scratch
ADD root.tar /
"""
ERROR_LINES_SHOWN = 15


def base_image() -> str:
    """A name for the build argument BASE. Raises ImageNotBuilt."""
    public, debian = _public_name(), _debian_name()
    for name in (debian, public):
        if image_id(name):
            return name
    if _registry_answers():
        with suppress(ImageNotBuilt):  # it may answer and give nothing all the same
            buildah("pull", public)
            return public
    _make_debian(debian)
    return debian


def _public_name() -> str:
    said = re.search(r"^ARG BASE=(\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert said, f"{DOCKERFILE} names no base"
    return f"docker.io/library/{said[1]}"


def _debian_name() -> str:
    made_from = repr((SUITE, PACKAGES, LEFT_OUT, DEBIAN)).encode()
    return f"localhost/trainyard-debian:{hashlib.sha256(made_from).hexdigest()[:16]}"


def _registry_answers() -> bool:
    try:
        urllib.request.urlopen(REGISTRY, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError as answer:
        return answer.code == 401  # it wants a token, which buildah fetches
    except OSError:
        return False
    return True


def _make_debian(name: str) -> None:
    if not shutil.which("debootstrap"):
        raise ImageNotBuilt(
            f"{REGISTRY} cannot be reached, and debootstrap, which makes a base without it, is not here."
        )
    with tempfile.TemporaryDirectory(dir=cache_root()) as folder:  # /tmp may be small, or run no programs
        root, context = Path(folder) / "root", Path(folder) / "context"
        context.mkdir()
        own_mounts = ("unshare", "--mount", "--pid", "--fork", "--kill-child")  # which end with it
        _run(*own_mounts, "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root))
        left_out = [f"--exclude={pattern}" for pattern in LEFT_OUT]
        _run("tar", f"--directory={root}", "--numeric-owner", *left_out, "-cf", str(context / "root.tar"), ".")
        dockerfile = context / "Dockerfile"
        dockerfile.write_text(DEBIAN)
        build_image(name, context, dockerfile)


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-ERROR_LINES_SHOWN:])
        raise ImageNotBuilt(f"{' '.join(command)}\n{last}")
