"""The log: JSON for machines, lines for people, and the shard a line is about."""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from controller.backend import JobSpec
from jobs.context import Context
from local import jobs as local_jobs
from local.jobs import LocalJobs
from trainyard.logs import OURS, log_context, log_to_stderr

log = logging.getLogger("jobs.worker")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, *OURS)]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    logging.captureWarnings(False)
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_each_line_is_an_object_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()

    log.info("photo %s\nof two lines", "ä")

    (line,) = lines(capsys)
    assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert line == {"level": "INFO", "logger": "jobs.worker", "message": "photo ä\nof two lines"}


def test_an_error_carries_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()

    try:
        raise ValueError("lost")
    except ValueError:
        log.exception("it failed")

    (line,) = lines(capsys)
    assert (line["level"], line["message"]) == ("ERROR", "it failed")
    assert line["error"].startswith("Traceback")
    assert line["error"].endswith("ValueError: lost")


def test_lines_name_the_shard_they_are_about_and_no_other_threads(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()

    with log_context(session=3, step="embed"):
        with log_context(shard=0):
            log.info("inner")
            other = threading.Thread(target=log.info, args=("other",))
            other.start()
            other.join()
        log.info("outer")
    log.info("none")

    about = {line["message"]: {name: line.get(name) for name in ("session", "step", "shard")} for line in lines(capsys)}
    assert about == {
        "inner": {"session": 3, "step": "embed", "shard": 0},
        "outer": {"session": 3, "step": "embed", "shard": None},
        "other": dict.fromkeys(("session", "step", "shard")),
        "none": dict.fromkeys(("session", "step", "shard")),
    }


def test_the_context_ends_with_an_error_too(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()

    with pytest.raises(ValueError, match="lost"), log_context(session=3):
        raise ValueError("lost")
    log.info("after")

    assert "session" not in lines(capsys)[0]


def test_libraries_are_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()

    for name in ("uvicorn.error", "httpx", "alembic.runtime.migration"):
        logging.getLogger(name).info("chatter")
    logging.getLogger("uvicorn.error").warning("trouble")
    for name in OURS:
        logging.getLogger(f"{name}.part").info("ours")
        logging.getLogger(f"{name}.part").debug("too much")

    assert [line["message"] for line in lines(capsys)] == ["trouble", *["ours"] * len(OURS)]


def test_asking_twice_does_not_write_twice(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    log_to_stderr()

    log.info("once")

    assert len(lines(capsys)) == 1


def test_a_terminal_is_given_lines_to_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    log_to_stderr()

    log.warning("alone")
    with log_context(session=3, step="embed", shard=0):
        log.info("in a shard")

    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(" WARNING alone")
    assert second.endswith(" INFO in a shard (session 3, step embed, shard 0)")


def test_a_machines_own_worker_logs_which_shard_it_has(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log_to_stderr()
    unused: Any = None
    monkeypatch.setattr(local_jobs, "run_shard", lambda context, key: log.info("working"))
    jobs = LocalJobs(Context(unused, unused, unused, unused, threading.Event(), ""), changed=lambda: None)

    jobs.create(JobSpec(session_id=3, step="embed", attempt=1, shards=2, token=""))
    jobs.join()

    assert [(line["session"], line["step"], line["shard"]) for line in lines(capsys)] == [
        (3, "embed", 0),
        (3, "embed", 1),
    ]
