"""One child process and the exchange of one message with it, under a deadline."""

import fcntl
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from trainyard.decoder_messages import BrokenMessage, Incoming, Message

CHILD_COMMAND: Final = (sys.executable, "-P", "-W", "ignore", "-m", "trainyard.decoder_child")

# A child needs a fifth of a second; a machine with other work to do may take a hundred times as long.
_START_LIMIT_SECONDS: Final = 60.0
_END_LIMIT_SECONDS: Final = 5.0  # a child that waits for a dead mount cannot even be killed: it is left behind
_PIPE_BYTES: Final = 1 << 20  # a detection view in one piece; Linux allows it without privileges
_STDERR_BYTES: Final = 4096
_PASSED_ON: Final = ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR")


class ChildDied(Exception):
    """The child ended, or sent what no child sends; `how` says it in words."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class ChildLate(Exception):
    """The child did not answer in time."""


class ChildNotStarted(RuntimeError):
    """No child could be brought up: the installation or the machine is at fault, never a photo."""


class ChildProcess:
    """A running child, in a session of its own, with nothing of the parent's environment and open files."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._stderr = b""
        self._ready = False
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise ChildNotStarted(f"The decoder {self._command[0]} cannot be started: {error}.") from error
        self._stdin, self._stdout, self._stderr_pipe = (
            _prepared(pipe) for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )

    def exchange(self, request: Message, limit_seconds: float) -> Message:
        """The answer to `request`. The limit runs from when the child is ready.

        Raises ChildDied, ChildLate, and ChildNotStarted where it never became ready.
        """
        self._await_ready()
        return self._transfer(request.encode(), limit_seconds)

    def end(self) -> None:
        """Kills it. It only reads files, so there is nothing to finish."""
        with suppress(ProcessLookupError):
            self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_LIMIT_SECONDS)
        for pipe in (self._stdin, self._stdout, self._stderr_pipe):
            pipe.close()

    def _await_ready(self) -> None:
        if self._ready:
            return
        try:
            hello = self._transfer(b"", _START_LIMIT_SECONDS)
        except ChildLate as error:
            raise ChildNotStarted(f"No decoder was ready within {_START_LIMIT_SECONDS:.0f} s.") from error
        except ChildDied as error:
            raise ChildNotStarted(f"The decoder did not come up: it {error.how}.") from error
        if hello.header != {"ready": True}:
            raise ChildNotStarted(f"{self._command[0]} is not a decoder: it sent {dict(hello.header)}.")
        self._ready = True

    def _transfer(self, outgoing: bytes, limit_seconds: float) -> Message:
        """Writes `outgoing` while reading, so that neither side can wait for the other with a full pipe."""
        deadline = time.monotonic() + limit_seconds
        incoming = Incoming()
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(self._stderr_pipe, selectors.EVENT_READ)
            if outgoing:
                selector.register(self._stdin, selectors.EVENT_WRITE)
            while incoming.message is None:
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise ChildLate
                ready = {key.fileobj for key, _ in events}
                if self._stdin in ready:
                    outgoing = self._write(outgoing)
                    if not outgoing:
                        selector.unregister(self._stdin)
                if self._stderr_pipe in ready and not self._keep_stderr():
                    selector.unregister(self._stderr_pipe)
                if self._stdout in ready:
                    self._read(incoming)
        return incoming.message

    def _write(self, outgoing: bytes) -> bytes:
        try:
            return outgoing[os.write(self._stdin.fileno(), outgoing) :]
        except BrokenPipeError:
            raise ChildDied(self._how_it_died()) from None

    def _read(self, incoming: Incoming) -> None:
        received = os.read(self._stdout.fileno(), _PIPE_BYTES)
        if not received:
            raise ChildDied(self._how_it_died())
        try:
            incoming.add(received)
        except BrokenMessage as error:
            raise ChildDied(f"sent {error}") from error

    def _keep_stderr(self) -> bool:
        """Keeps the end of what the child wrote there; False when there will be no more."""
        with suppress(BlockingIOError):
            received = os.read(self._stderr_pipe.fileno(), 65536)
            self._stderr = (self._stderr + received)[-_STDERR_BYTES:]
            return bool(received)
        return True

    def _how_it_died(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_LIMIT_SECONDS)
        self._keep_stderr()
        return _ending(self._process.returncode) + self._last_words()

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        words = "".join(filter(str.isprintable, lines[-1])) if lines else ""
        return f" ({words[:200]})" if words else ""


def _environment() -> dict[str, str]:
    """No secrets for a process that decodes untrusted files, and one thread a child."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    ours = str(Path(__file__).resolve().parent.parent)
    return kept | {
        "PYTHONPATH": ours,
        "LC_ALL": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _prepared(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # all three were asked for
    os.set_blocking(pipe.fileno(), False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # beyond the user's share of pipe memory: slower, nothing else
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return pipe


def _ending(returncode: int | None) -> str:
    if returncode is None:
        return "closed its pipe"
    if returncode == -signal.SIGKILL:
        return "was killed by the system, most likely for lack of memory"
    if returncode < 0:
        return f"was ended by signal {-returncode}, {signal.strsignal(-returncode)}"
    return f"ended with exit code {returncode}"
