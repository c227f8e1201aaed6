"""The log: lines to read on a terminal, elsewhere an object of JSON a line; each names the shard it is about."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

OURS = ("trainyard", "jobs", "controller", "api", "local", "cli")

Fields = Mapping[str, int | str]

_context: ContextVar[Fields] = ContextVar("log_context", default=MappingProxyType({}))


def log_to_stderr() -> None:
    """Have what we log from INFO on written to stderr, and what libraries log from WARNING on."""
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Stderr)]:
        root.removeHandler(old)
    root.addHandler(_Stderr(_Readable() if sys.stderr.isatty() else _Json()))
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(True)


def logs_json() -> bool:
    """Whether stderr is read by programs from now on: whoever has last words logs them."""
    return any(isinstance(handler.formatter, _Json) for handler in logging.getLogger().handlers)


@contextmanager
def log_context(**fields: int | str | None) -> Iterator[None]:
    """Have what this thread logs in the block carry these (session, step, shard), beside those of blocks around it."""
    known = {name: value for name, value in fields.items() if value is not None}
    token = _context.set({**_context.get(), **known})
    try:
        yield
    finally:
        _context.reset(token)


class _Stderr(logging.Handler):
    """Writes to what sys.stderr is at that moment."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_context.get(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _Readable(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s%(context)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        about = ", ".join(f"{name} {value}" for name, value in _context.get().items())
        record.context = f" ({about})" if about else ""
        return super().format(record)
