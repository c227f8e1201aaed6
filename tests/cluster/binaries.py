"""Kubernetes' own programs, built from pinned sources once and kept in a cache outside the checkout.

go.mod pins what builds together, `INSTALLED` what does not. `python -m tests.cluster.binaries [NAME…]` builds what
the control plane (or each NAME, or `node`) still lacks.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.go_toolchain import NoGo, find_go

MODULE = Path(__file__).parent  # of go.mod and go.sum
COMMANDS = "k8s.io/kubernetes/cmd"
OF_MODULE = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": f"{COMMANDS}/kube-apiserver",
    "kube-controller-manager": f"{COMMANDS}/kube-controller-manager",
    "kube-scheduler": f"{COMMANDS}/kube-scheduler",
    "kubectl": f"{COMMANDS}/kubectl",
    "kubelet": f"{COMMANDS}/kubelet",
    "kube-proxy": f"{COMMANDS}/kube-proxy",
}
INSTALLED = {  # their requirements contradict go.mod's
    "kwok": "sigs.k8s.io/kwok/cmd/kwok@v0.7.0",
    "helm": "helm.sh/helm/v3/cmd/helm@v3.22.0",
    "coredns": "github.com/coredns/coredns@v1.14.3",
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok")

NODE = ("kubelet", "kube-proxy", "coredns", "helm")  # what one real node adds, and what installs on it

BUILD_FLAGS = ("-trimpath", "-buildvcs=false")
ABOUT = {  # on two free cores
    "kube-apiserver": "2 to 4 min",
    "kube-controller-manager": "1 min",
    "kwok": "2 min",
    "coredns": "2 min",
}
KEPT_CACHES = 2  # this version's and the one before it: going back and forth between branches costs nothing
ERROR_LINES_SHOWN = 15


class BuildFailed(Exception):
    """A program could not be built; the sentence has the compiler's words and what to do."""


def binary(name: str) -> Path:
    """The program called `name`, built now if the cache lacks it. Raises BuildFailed and NoGo."""
    built = _place(name)
    if not built.exists():
        with _one_at_a_time():
            if not built.exists():  # another run may have built it while this one waited
                _build(name, built)
                _remove_old_caches()
    return built


def is_built(name: str) -> bool:
    """Whether `binary` would answer at once."""
    return _place(name).exists()


def cache_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trainyard"


def _place(name: str) -> Path:
    """One that is installed by itself lies in a folder of its version: another version rebuilds nothing else."""
    folder = _folder()
    if name in INSTALLED:
        folder /= f"{name}@{INSTALLED[name].rpartition('@')[2]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _folder() -> Path:
    pins = [(MODULE / name).read_bytes() for name in ("go.mod", "go.sum")]
    pins.append(repr((BUILD_FLAGS, platform.system(), platform.machine())).encode())
    return cache_root() / f"kubernetes-{hashlib.sha256(b''.join(pins)).hexdigest()[:16]}"


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """One build on this machine: two test runs share its result, and a linker fills the memory of a small one."""
    with (cache_root() / "kubernetes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str, built: Path) -> None:
    go = find_go(cache_root())
    for interrupted in built.parent.glob("building-*"):
        shutil.rmtree(interrupted)
    print(f"building {name} (about {ABOUT.get(name, 'half a minute')}) …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=built.parent) as half_made:
        done = subprocess.run(
            _command(go, name, half_made), cwd=MODULE, env=_environment(half_made), capture_output=True, text=True
        )
        if done.returncode:
            raise BuildFailed(_why_not_built(name, done.stderr))
        (Path(half_made) / name).replace(built)


def _command(go: Path, name: str, into: str) -> list[str | Path]:
    if name in INSTALLED:
        return [go, "install", *BUILD_FLAGS, "-ldflags=-s -w", INSTALLED[name]]
    version = "k8s.io/component-base/version"
    major, minor = kubernetes_version().removeprefix("v").split(".")[:2]
    stamped = (
        f"-X {version}.gitVersion={kubernetes_version()} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    )
    return [go, "build", *BUILD_FLAGS, f"-ldflags=-s -w {stamped}", "-o", f"{into}/{name}", OF_MODULE[name]]


def _environment(into: str) -> dict[str, str]:
    return os.environ | {"GOBIN": into, "GOWORK": "off", "CGO_ENABLED": "0"}  # no C compiler is needed


def kubernetes_version() -> str:
    """As go.mod pins it: v1.34.4."""
    pinned = re.search(r"^\s*k8s\.io/kubernetes (v[\d.]+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert pinned, "go.mod pins no k8s.io/kubernetes"
    return pinned[1]


def _why_not_built(name: str, said: str) -> str:
    package = INSTALLED.get(name) or OF_MODULE[name]
    return (
        f"BuildFailed: {package}, which the test cluster needs as {name}, could not be built:\n"
        + "\n".join(said.strip().splitlines()[-ERROR_LINES_SHOWN:])
        + "\nThe first build fetches Go modules and takes a few GB of disk. Mend what these lines say and run it again."
    )


def _remove_old_caches() -> None:
    newest_first = sorted(cache_root().glob("kubernetes-*/"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in newest_first[KEPT_CACHES:]:
        shutil.rmtree(folder)


def main(names: list[str]) -> None:
    try:
        for name in NODE if names == ["node"] else names or CONTROL_PLANE:
            binary(name)
    except (BuildFailed, NoGo) as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main(sys.argv[1:])
