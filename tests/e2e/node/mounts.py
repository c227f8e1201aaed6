"""What the programs in the box find under the paths that they insist on."""

import subprocess
from pathlib import Path

from tests.e2e.node.runs import COVERED

INSIDE = Path("/run/node")  # where the run's folder is seen in the box: short enough for any socket
# The kubelet sets these for the whole machine; in the box it finds them set, in files that are nobody else's.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}


def mount_all(folder: Path) -> None:
    """The run's folder at INSIDE; an empty /run and empty folders elsewhere, which go with the box."""
    for covered in ("/run", *COVERED):
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", covered)
    INSIDE.mkdir()
    _mount("--bind", str(folder), str(INSIDE))
    for name, value in KERNEL_SETTINGS.items():
        _set_apart(name, value)


def _set_apart(name: str, value: int) -> None:
    written = INSIDE / "kernel" / name
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(f"{value}\n")
    _mount("--bind", str(written), f"/proc/sys/{name}")


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
