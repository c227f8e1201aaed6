"""`trainyard smoke-test`: one session through an installation's API to its end, as `helm test` does."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from cli.pieces import stop_signals
from trainyard.settings import BadSetting, load_settings

if TYPE_CHECKING:
    import httpx

SESSIONS = "/api/v1/training/sessions"
TOKEN_VARIABLE = "TRAINYARD_TOKEN"
REQUEST_SECONDS = 30.0
LOOK_SECONDS = 0.5
AWAY = (502, 503, 504)  # of the API, or of what stands before it
MOST_CHARACTERS = 500  # of an answer that is shown
MOST_FOLDERS = 200  # looked into for one with photos


class SmokeTestFailed(Exception):
    """The installation does not do what it is there for; the sentence says how far it came."""


class Asking:
    """Requests until a deadline, again while nobody answers: pods come and go, also in an upgrade."""

    def __init__(self, client: "httpx.Client", deadline: float, stop: threading.Event) -> None:
        self.client = client
        self._deadline = deadline
        self._stop = stop
        self._said = ""

    @property
    def over(self) -> bool:
        return self._stop.is_set() or time.monotonic() > self._deadline

    def json(self, method: str, path: str, **request: Any) -> Any:
        """The answer's. Raises SmokeTestFailed for a refusal, and when nobody answers in time."""
        while True:
            answer, trouble = self._once(method, path, request)
            if answer is not None:
                return answer
            if self.over:
                raise SmokeTestFailed(f"{method} {path} was not answered in time: {trouble}")
            if trouble != self._said:
                typer.echo(f"no answer yet: {trouble}")
                self._said = trouble
            self.pause()

    def pause(self) -> None:
        self._stop.wait(LOOK_SECONDS)

    def _once(self, method: str, path: str, request: dict[str, Any]) -> tuple[Any, str]:
        import httpx

        try:
            answer = self.client.request(method, path, **request)
        except httpx.TransportError as error:
            return None, str(error) or type(error).__name__
        if answer.status_code in AWAY:
            return None, answer.text[:MOST_CHARACTERS]
        if answer.is_error:
            said = answer.text[:MOST_CHARACTERS]
            raise SmokeTestFailed(f"{method} {path} was answered {answer.status_code}: {said}")
        return answer.json(), ""


def smoke_test(
    url: Annotated[str, typer.Option(help="Where the API is, such as http://trainyard-api:8080.")],
    folder: Annotated[
        str | None,
        typer.Option(help="A folder with few photos that the installation may read; none: the smallest one found."),
    ] = None,
    timeout_seconds: Annotated[float, typer.Option(min=1, help="How long it may take; then it is cancelled.")] = 900,
) -> None:
    """Run one session through an installation's API, and end with 0 when it did what it should.

    The token is TRAINYARD_TOKEN, or else the first operator's in TRAINYARD_TOKENS_FILE. What the session finds stays.
    """
    import httpx

    token = _token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with (
        stop_signals() as stop,
        httpx.Client(base_url=url, headers=headers, timeout=REQUEST_SECONDS) as client,
    ):
        asking = Asking(client, time.monotonic() + timeout_seconds, stop)
        asking.json("GET", "/readyz")
        session = _begin(asking, folder or _smallest_folder(asking))
        _check(asking, session)


def _token() -> str | None:
    given, file = os.environ.get(TOKEN_VARIABLE), load_settings().tokens_file
    return given or (_first_operator(file) if file else None)


def _first_operator(file: Path) -> str:
    try:
        words = [line.split() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"TRAINYARD_TOKENS_FILE={file} cannot be read: {error}.") from error
    tokens = [line[1] for line in words if len(line) == 2 and line[0] == "operator"]
    if not tokens:
        raise BadSetting(f"TRAINYARD_TOKENS_FILE={file} names no operator, and a session can only be begun by one.")
    return tokens[0]


def _smallest_folder(asking: Asking) -> str:
    """Of the first ones, that with the fewest photos, which a session does soonest."""
    counted = ((images["count"], path) for path, images in _folders(asking) if images["count"])
    smallest = min(counted, default=None)
    if smallest is None:
        raise SmokeTestFailed(
            f"None of the first {MOST_FOLDERS} folders that the installation may read has photos. "
            "Name one that has with --folder (the chart's value test.folder)."
        )
    typer.echo(f"no folder was named; {smallest[1]} has the fewest photos, {smallest[0]}")
    return smallest[1]


def _folders(asking: Asking) -> Iterator[tuple[str, dict[str, Any]]]:
    waiting: list[str | None] = [None]
    for _ in range(MOST_FOLDERS):
        if not waiting:
            return
        path = waiting.pop(0)
        inside = asking.json("GET", "/api/v1/directories", params={"path": path} if path else {})
        for directory in inside["directories"]:
            yield directory["path"], directory["images"]
            waiting.append(directory["path"])


def _begin(asking: Asking, folder: str) -> int:
    """The new session's id; asked for again, it is not begun twice."""
    headers = {"Idempotency-Key": f"smoke-test-{uuid4()}"}
    session: int = asking.json("POST", SESSIONS, json={"rootPath": folder}, headers=headers)["id"]
    typer.echo(f"session {session} of {folder}")
    return session


def _check(asking: Asking, session: int) -> None:
    overall = _until_ended(asking, session)
    summary = asking.json("GET", f"{SESSIONS}/{session}")
    images = summary["images"]
    typer.echo(f"session {session}: {overall}, {images}")
    if overall != "completed":
        why = summary["failure"] or {"code": "Unknown", "message": "nothing says why"}
        raise SmokeTestFailed(f"Session {session} ended as {overall}. {why['code']}: {why['message']}")
    if images["processed"] + images["unchanged"] == 0:
        raise SmokeTestFailed(f"Session {session} found no photo that can be read. Name a folder with --folder.")


def _until_ended(asking: Asking, session: int) -> str:
    """Its last status; every change is said, and a number that falls is a failure."""
    from trainyard.lifecycle import ENDED

    said, before = "", 0.0
    while True:
        progress = asking.json("GET", f"{SESSIONS}/{session}/progress-unified")
        overall, percentage = progress["overallStatus"], progress["overallProgress"]["percentage"]
        now = _line(progress)
        if now != said:
            typer.echo(now)
            said = now
        if percentage < before or (percentage == 100 and overall != "completed"):
            raise SmokeTestFailed(f"Session {session} showed {percentage} % as {overall}, after {before} %.")
        if overall in ENDED:
            return str(overall)
        if asking.over:
            asking.json("POST", f"{SESSIONS}/{session}/cancel")
            raise SmokeTestFailed(f"Session {session} did not end in time, and was cancelled. At last: {now}")
        before = percentage
        asking.pause()


def _line(progress: dict[str, Any]) -> str:
    waiting = progress["waiting"]
    phases = ", ".join(f"{name} {phase['status']}" for name, phase in progress["phases"].items())
    why = f"; waiting: {waiting['code']}: {waiting['message']}" if waiting else ""
    return f"{progress['overallProgress']['percentage']} % {progress['overallStatus']} ({phases}){why}"
