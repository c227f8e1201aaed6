"""The API in a process of its own, as the bench's clients meet it.

python -m tests.bench.api_process DATABASE_URL FOLDER: says its URL, then answers each line with the number of
statements it has sent to the database, and ends with its input.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.served_rows import served_rows

_ROOT = Path(__file__).parents[2]


class ApiProcess:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.url = self._say()

    def statements(self) -> int:
        """How many it has sent to the database so far."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return int(self._say())

    def _say(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the API's process ended; what it said is above")
        return line


@contextmanager
def api_process(database_url: str, folder: Path) -> Iterator[ApiProcess]:
    command = [sys.executable, "-m", "tests.bench.api_process", database_url, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        yield ApiProcess(process)  # leaving closes its input, and waits for it


def _serve(database_url: str, folder: Path) -> None:
    sent = 0

    def count(*_: Any) -> None:
        nonlocal sent
        sent += 1

    with served_rows(database_url, folder) as server:
        sa.event.listen(server.services.database.engine, "before_cursor_execute", count)
        print(server.url, flush=True)
        for _ in sys.stdin:
            print(sent, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))
