"""A run's own processes, mounts and network: a program started here sees no others, and nothing it does outlives it.

The first process in it must stay: when it ends, the kernel kills the others, and with the last of them go the mounts
and the network. `ip netns exec` would do for the network, but it hides the cgroups.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.e2e.node import cgroups
from tests.e2e.node.runs import CHECKOUT, Run

NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
INTERRUPTED_SECONDS = 60.0  # that an interrupted program has for its last words


def call(run: Run, command: list[str]) -> int:
    """The exit code of the command in namespaces of its own. Interrupted, it hears of it once, and may finish."""
    process = subprocess.Popen(
        [*NAMESPACES, *command],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        process_group=0,  # a terminal's Ctrl-C is passed on below
        preexec_fn=lambda: cgroups.join(run.name),
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        return process.wait(INTERRUPTED_SECONDS)


def as_first_process(work: Callable[[], int]) -> int:
    """Do the work in a child, and meanwhile what is left to a first process: to collect orphans that ended."""
    worker = os.fork()
    if worker == 0:
        sys.exit(work())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker's to hear
    while True:
        ended, status = os.wait()
        if ended == worker:
            return os.waitstatus_to_exitcode(status)
