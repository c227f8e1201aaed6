"""The command line in a test's own process: what it answers, says and exits with."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli import main as command_line


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture
def trainyard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """With no settings of the user's, and nobody at the terminal."""
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))  # commands add theirs
    for name in [*os.environ]:
        if name.startswith("TRAINYARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tmp_path / "no data here"))

    def ask(*arguments: object, **environment: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["trainyard", *map(str, arguments)])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            command_line.main()
        said = capsys.readouterr()
        return Answer(int(end.value.code or 0), said.out, said.err)

    return ask
