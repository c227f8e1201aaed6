"""`trainyard controller` in a process of its own, as a cluster runs it, with what it does counted.

python -m tests.bench.kubernetes_controller ARGUMENT…: the command itself; it answers each line of its input with what
it has done so far, as JSON.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from tests.bench.kubernetes_stage import KubernetesStage

_ROOT = Path(__file__).parents[2]


@dataclass
class Done:
    """What a controller has done; `first_pass_at` is by time.time(), passes are those that came to their end."""

    requests: dict[str, int] = field(default_factory=dict)  # to the API server, by `verb resource`
    statements: int = 0  # to PostgreSQL
    passes: int = 0
    longest_pass_seconds: float = 0.0
    first_pass_at: float | None = None
    cpu_seconds: float = 0.0

    @property
    def all_requests(self) -> int:
        return sum(self.requests.values())

    def since(self, before: "Done") -> "Done":
        """What was done after `before`; of passes the longest there ever was."""
        requests = {name: count - before.requests.get(name, 0) for name, count in self.requests.items()}
        return Done(
            requests={name: count for name, count in requests.items() if count},
            statements=self.statements - before.statements,
            passes=self.passes - before.passes,
            longest_pass_seconds=self.longest_pass_seconds,
            first_pass_at=self.first_pass_at,
            cpu_seconds=self.cpu_seconds - before.cpu_seconds,
        )


class ControllerProcess:
    """A started controller; it may be waiting for another one's lease to end."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log
        self.started_at = time.time()

    def done(self) -> Done:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"the controller ended; it said:\n{self._log.read_text()[-2000:]}")
        return Done(**json.loads(line))

    def kill(self) -> None:
        """As a node's death does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # it had ended by itself
                pipe.close()  # type: ignore[union-attr]

    def peak_mib(self) -> float:
        """Of its resident memory, by Linux; what getrusage says would include this process's at the fork."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024


@contextmanager
def controller_process(stage: "KubernetesStage") -> Iterator[ControllerProcess]:
    """On the stage's namespace and database; killed at the end."""
    from tests.processes import settings_of_tests

    environment = {
        **settings_of_tests(),
        "TRAINYARD_DATABASE_URL": stage.database.url,
        "TRAINYARD_KUBERNETES_SETTINGS": str(stage.settings_file),
    }
    arguments = ["--kubeconfig", str(stage.control_plane.admin), "--port", "0"]  # two of them run on this machine
    command = [sys.executable, "-m", "tests.bench.kubernetes_controller", *arguments]
    log = stage.folder / f"controller-{uuid4().hex[:8]}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=_ROOT,
            env=environment,
        )
    started = ControllerProcess(process, log)
    try:
        yield started
    finally:
        started.kill()


def _run(arguments: list[str]) -> None:
    """The command as it is; only the names by which it finds its parts lead to ones that count."""
    done = Done()
    clusters = _count(done)

    def answer() -> None:
        for _ in sys.stdin:
            done.requests = {" ".join(name): n for cluster in clusters for name, n in dict(cluster.requests).items()}
            done.cpu_seconds = time.process_time()
            print(json.dumps(asdict(done)), flush=True)

    threading.Thread(target=answer, daemon=True).start()
    from cli.main import main

    sys.argv = ["trainyard", "controller", *arguments]
    main()


def _count(done: Done) -> list[Any]:
    """Have statements and passes counted; the clusters that are spoken to count their requests themselves."""
    import sqlalchemy as sa

    import controller.loop
    from controller.kubernetes import client

    clusters: list[Any] = []
    run_pass = controller.loop.run_pass

    class Known(client.Cluster):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            clusters.append(self)

    def timed_pass(*arguments: Any) -> Any:
        begun = time.perf_counter()
        actions = run_pass(*arguments)
        done.passes += 1
        done.longest_pass_seconds = max(done.longest_pass_seconds, time.perf_counter() - begun)
        done.first_pass_at = done.first_pass_at or time.time()
        return actions

    def count_statement(*_: Any) -> None:
        done.statements += 1

    client.__dict__["Cluster"] = Known
    controller.loop.__dict__["run_pass"] = timed_pass
    sa.event.listen(sa.Engine, "before_cursor_execute", count_statement)
    return clusters


if __name__ == "__main__":
    _run(sys.argv[1:])
