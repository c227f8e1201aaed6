"""`trainyard` as a process of its own, with fake networks: for tests that kill, interrupt and watch whole runs.

The processes are forked from one that has everything imported: importing takes longer than a session here. What
a real start is like, with the real networks, is tested in test_end_to_end.py.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.local_runs import REPOSITORY, wait_until
from trainyard.settings import Settings

SETTINGS = {"UNTRAINED": "true", "DEVICE": "cpu", "EMBED_BATCH": "8", "DETECT_BATCH": "4"}

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.engines", "cli.run", "cli.display", "local.run", "jobs.engines.download"])


class Trainyard:
    """A started `trainyard`; its exit code is None while it runs."""

    def __init__(self, folder: Path, arguments: list[str], gate: Path | None) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._said = ("", "")
        started_with = (arguments, gate, str(self._out), str(self._err))
        self._process = _forks.Process(target=_trainyard, args=started_with)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(REPOSITORY)  # where the first process to be forked from finds what to import
        try:
            self._process.start()
        finally:
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        """The exit code, once it has ended; negative for a signal."""
        wait_until(lambda: self.exit_code is not None, f"trainyard to end; it said: {self.errors}")
        assert self.exit_code is not None
        return self.exit_code

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        os.kill(self.pid, signal.SIGINT)

    @property
    def output(self) -> str:
        return self._out.read_text() if self._out.exists() else self._said[0]

    @property
    def errors(self) -> str:
        return self._err.read_text() if self._err.exists() else self._said[1]

    def remember(self) -> None:
        """Keep what it said when its files go."""
        self._said = (self.output, self.errors)


@contextmanager
def trainyard(*arguments: str | Path, gate: Path | None = None) -> Iterator[Trainyard]:
    """A `trainyard` process, killed at the end if it still runs. While the file `gate` exists, no photo is embedded."""
    with tempfile.TemporaryDirectory() as folder:
        process = Trainyard(Path(folder), [str(argument) for argument in arguments], gate)
        try:
            yield process
        finally:
            process.kill()
            process.remember()


def settings_of_tests() -> dict[str, str]:
    """This process's environment with the settings of tests, and none of the user's."""
    users = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
    return users | {f"TRAINYARD_{name}": value for name, value in SETTINGS.items()}


def _trainyard(arguments: list[str], gate: Path | None, out: str, err: str) -> None:
    """The forked process: the command line as it is, but for its networks."""
    for number, name in ((1, out), (2, err)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    ours = settings_of_tests()
    os.environ.clear()
    os.environ.update(ours)
    import local.installation
    from cli.main import main
    from tests.engines import FakeEngines

    def wait_at_gate(pictures: NDArray[np.uint8]) -> None:
        wait_until(lambda: gate is None or not gate.exists(), "the gate to open")

    def fakes(settings: Settings) -> FakeEngines:
        engines = FakeEngines(settings)
        engines.fake_clip.on_encode = wait_at_gate
        return engines

    local.installation.__dict__["Engines"] = fakes  # the only place where a run makes its networks
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    sys.argv = ["trainyard", *arguments]
    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
