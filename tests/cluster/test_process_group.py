"""Servers of tests end with the process that started them, and their folder goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.cluster.process_group import ProcessGroup
from tests.local_runs import REPOSITORY, wait_until

SLEEPER = ["sleep", "1000"]
STARTER = """
import sys
from pathlib import Path
from tests.cluster.process_group import ProcessGroup
folder = Path(sys.argv[1])
print(ProcessGroup(folder / "state", folder / "logs").start(["sleep", "1000"]).pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_when_their_starter_is_killed(tmp_path: Path, sent: signal.Signals) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=REPOSITORY, **pipes) as starter:  # type: ignore[call-overload]
        server = int(starter.stdout.readline())
        assert psutil.pid_exists(server)
        os.kill(starter.pid, sent)
    wait_until(lambda: not _runs(server), "the server to end")
    wait_until(lambda: not (tmp_path / "state").exists(), "the folder to be removed")


def test_closing_ends_the_servers_and_keeps_their_logs(tmp_path: Path) -> None:
    group = ProcessGroup(tmp_path / "state", tmp_path / "logs")
    server = group.start(SLEEPER)
    said = group.start(["echo", "ready"])
    said.wait()
    group.close()
    assert server.poll() == -signal.SIGKILL
    assert not (tmp_path / "state").exists()
    assert "ready" in group.last_lines()


def _runs(pid: int) -> bool:
    """A zombie, which an init of a container may leave for a while, runs no more."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
