"""A run of the node leaves nothing behind, however it ends: no process, no cgroup, no folder, no mount."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.node import cgroups, runs
from tests.e2e.node.runs import PREFIX, Run
from tests.local_runs import REPOSITORY, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="takes root on Linux")

# In the box a daemon, which nobody waits for, and a mount on a folder of the run.
INSIDE = 'mount -t tmpfs tmpfs "$0"; echo > "$0/mounted"; setsid sleep 4711 & echo begun; wait'
STARTER = """
import sys
from tests.e2e.node import box, runs
with runs.run() as run:
    print(run.name, flush=True)
    sys.exit(box.call(run, ["sh", "-c", sys.argv[1], str(run.folder)]))
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_killed_leaves_nothing(sent: signal.Signals) -> None:
    with started() as (starter, run):
        starter.send_signal(sent)
        wait_until(lambda: starter.poll() is not None, "its starter to end")
        wait_until(lambda: not left(run), "the run to be removed")


def test_the_next_run_removes_what_a_killed_guardian_left() -> None:
    with started() as (starter, run):
        os.kill(guardian(run), signal.SIGKILL)
        starter.kill()
        starter.wait()
        assert left(run)
        runs.sweep()
        assert not left(run)


def test_a_run_is_left_alone_while_it_lives() -> None:
    with started() as (starter, run):
        runs.sweep()
        assert left(run)
        assert starter.poll() is None


def test_what_is_mounted_in_a_run_is_not_seen_outside() -> None:
    with started() as (_, run):
        assert not (run.folder / "mounted").exists()


@contextmanager
def started() -> Iterator[tuple[subprocess.Popen[str], Run]]:
    command = [sys.executable, "-c", STARTER, INSIDE]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored by what a shell starts with &
    ) as starter:
        try:
            assert starter.stdout is not None
            run = Run(starter.stdout.readline().strip())
            assert starter.stdout.readline() == "begun\n"
            yield starter, run
        finally:
            starter.kill()


def left(run: Run) -> list[str]:
    """What is still there of it."""
    folders = [str(path) for path in (run.folder, run.lock) if path.exists()]
    return [*folders, *(cgroups.names(PREFIX) & {run.name})]


def guardian(run: Run) -> int:
    """Its process id."""
    for commands in Path("/proc").glob("[0-9]*/cmdline"):
        if commands.read_bytes().split(b"\0")[2:4] == [runs.__name__.encode(), run.name.encode()]:
            return int(commands.parent.name)
    raise AssertionError("no guardian")
