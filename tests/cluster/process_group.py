"""Servers that end with whoever started them, however that ends: a test run that is killed leaves nothing behind.

A guardian reads a pipe that only the starter writes to. When the starter closes it, or dies by whatever signal, the
guardian kills the servers' process group and removes their folder.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

LOG_LINES_SHOWN = 10
REMOVALS = 100  # killed servers may still be writing for a moment


class ProcessGroup:
    """Started programs, each with a log in `logs`; `folder` is theirs to write in and goes when they do."""

    def __init__(self, folder: Path, logs: Path) -> None:
        folder.mkdir(parents=True)
        logs.mkdir(parents=True)
        self.folder, self.logs = folder, logs
        command = [sys.executable, __file__, str(folder)]
        self._guardian = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
        assert self._guardian.stdout is not None
        self._leader = int(self._guardian.stdout.readline())
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """A process whose output goes on in the log of its program's name."""
        with (self.logs / f"{Path(command[0]).name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                process_group=self._leader,
            )
        self._started.append(process)
        return process

    def last_lines(self) -> str:
        """What every program said last."""
        return last_lines(self.logs)

    def close(self) -> None:
        """End every process and remove the folder; the logs stay."""
        for process in self._started:
            process.kill()
            process.wait()
        self._guardian.communicate()


def last_lines(logs: Path) -> str:
    """What every program said last that has its log in this folder."""
    return "\n".join(
        f"--- {log}, its last lines:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
        for log in sorted(logs.glob("*.log"))
    )


def guard(folder: Path) -> None:
    """Wait for the other end of stdin to close; then neither the group nor the folder remains."""
    leader = os.fork()  # only lends the group its number
    if leader == 0:
        signal.pause()
    os.setpgid(leader, leader)
    print(leader, flush=True)
    sys.stdin.buffer.read()
    os.killpg(leader, signal.SIGKILL)
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.05)


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
