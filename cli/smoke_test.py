"""`trainyard smoke-test`: one session through an installation's API to its end, as `helm test` does."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from trainyard.settings import BadSetting, load_settings

if TYPE_CHECKING:
    import httpx

SESSIONS = "/api/v1/training/sessions"
TOKEN_VARIABLE = "TRAINYARD_TOKEN"
REQUEST_SECONDS = 30.0
LOOK_SECONDS = 0.5
MOST_FOLDERS = 200  # looked into for one with photos


class SmokeTestFailed(Exception):
    """The installation does not do what it is there for; the sentence says how far it came."""


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
    deadline = time.monotonic() + timeout_seconds
    with httpx.Client(base_url=url, headers=headers, timeout=REQUEST_SECONDS) as client:
        try:
            _await_ready(client, deadline)
            chosen = folder or _smallest_folder(client)
            _check(client, _begin(client, chosen), deadline)
        except httpx.HTTPError as error:
            raise SmokeTestFailed(f"{url} does not answer: {error or type(error).__name__}.") from error


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


def _await_ready(client: "httpx.Client", deadline: float) -> None:
    import httpx

    said = ""
    while True:
        try:
            answer = client.get("/readyz")
            if answer.status_code == 200:
                return
            now = answer.text
        except httpx.TransportError as error:
            now = str(error) or type(error).__name__
        if time.monotonic() > deadline:
            raise SmokeTestFailed(f"The API was not ready in time: {now}")
        if now != said:
            typer.echo(f"not ready yet: {now}")
            said = now
        time.sleep(LOOK_SECONDS)


def _smallest_folder(client: "httpx.Client") -> str:
    """Of the first ones, that with the fewest photos, which a session does soonest."""
    counted = ((images["count"], path) for path, images in _folders(client) if images["count"])
    smallest = min(counted, default=None)
    if smallest is None:
        raise SmokeTestFailed(
            f"None of the first {MOST_FOLDERS} folders that the installation may read has photos. "
            "Name one that has with --folder (the chart's value test.folder)."
        )
    typer.echo(f"no folder was named; {smallest[1]} has the fewest photos, {smallest[0]}")
    return smallest[1]


def _folders(client: "httpx.Client") -> Iterator[tuple[str, dict[str, Any]]]:
    waiting: list[str | None] = [None]
    for _ in range(MOST_FOLDERS):
        if not waiting:
            return
        path = waiting.pop(0)
        inside = _asked(client.get("/api/v1/directories", params={"path": path} if path else {}))
        for directory in inside["directories"]:
            yield directory["path"], directory["images"]
            waiting.append(directory["path"])


def _begin(client: "httpx.Client", folder: str) -> int:
    """The new session's id; asked for again, it is not begun twice."""
    headers = {"Idempotency-Key": f"smoke-test-{uuid4()}"}
    session: int = _asked(client.post(SESSIONS, json={"rootPath": folder}, headers=headers))["id"]
    typer.echo(f"session {session} of {folder}")
    return session


def _check(client: "httpx.Client", session: int, deadline: float) -> None:
    overall = _until_ended(client, session, deadline)
    summary = _asked(client.get(f"{SESSIONS}/{session}"))
    images = summary["images"]
    typer.echo(f"session {session}: {overall}, {images}")
    if overall != "completed":
        why = summary["failure"] or {"code": "Unknown", "message": "nothing says why"}
        raise SmokeTestFailed(f"Session {session} ended as {overall}. {why['code']}: {why['message']}")
    if images["processed"] + images["unchanged"] == 0:
        raise SmokeTestFailed(f"Session {session} found no photo that can be read. Name a folder with --folder.")


def _until_ended(client: "httpx.Client", session: int, deadline: float) -> str:
    """Its last status; every change is said, and a number that falls is a failure."""
    from trainyard.lifecycle import ENDED

    said, before = "", 0.0
    while True:
        progress = _asked(client.get(f"{SESSIONS}/{session}/progress-unified"))
        overall, percentage = progress["overallStatus"], progress["overallProgress"]["percentage"]
        now = _line(progress)
        if now != said:
            typer.echo(now)
            said = now
        if percentage < before or (percentage == 100 and overall != "completed"):
            raise SmokeTestFailed(f"Session {session} showed {percentage} % as {overall}, after {before} %.")
        if overall in ENDED:
            return str(overall)
        if time.monotonic() > deadline:
            client.post(f"{SESSIONS}/{session}/cancel")
            raise SmokeTestFailed(f"Session {session} did not end in time, and was cancelled. At last: {now}")
        before = percentage
        time.sleep(LOOK_SECONDS)


def _line(progress: dict[str, Any]) -> str:
    waiting = progress["waiting"]
    phases = ", ".join(f"{name} {phase['status']}" for name, phase in progress["phases"].items())
    why = f"; waiting: {waiting['code']}: {waiting['message']}" if waiting else ""
    return f"{progress['overallProgress']['percentage']} % {progress['overallStatus']} ({phases}){why}"


def _asked(answer: "httpx.Response") -> Any:
    if answer.is_error:
        said = answer.text[:500]
        raise SmokeTestFailed(f"{answer.request.method} {answer.url.path} was answered {answer.status_code}: {said}")
    return answer.json()
