"""What people at the terminal see of `serve` and `api`, on stderr: where it is, what goes on, that it stops."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import typer

EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})


class ApiDisplay:
    """Of the API alone."""

    def ready(self, url: str, going_on: Sequence[int] = ()) -> None:
        typer.echo(f"Trainyard is {_where(url)} (Ctrl-C stops it).", err=True)
        if going_on:
            typer.echo(_going_on(going_on), err=True)

    def stopping(self) -> None:
        typer.echo("Stopping; once more ends at once.", err=True)


class ServeDisplay(ApiDisplay):
    """Of sessions, too."""

    def untrained(self) -> None:
        from cli.display import UNTRAINED, make_console

        make_console(stderr=True).print(UNTRAINED, style="bold yellow")

    def stopping(self) -> None:
        typer.echo("Stopping at the batch; once more ends at once.", err=True)


def _where(url: str) -> str:
    parts = urlsplit(url)
    if parts.hostname in EVERY_ADDRESS:
        return f"on every address of this machine, port {parts.port}"
    return f"at {url}"


def _going_on(ids: Sequence[int]) -> str:
    if len(ids) == 1:
        return f"Session {ids[0]} goes on."
    return f"Sessions {', '.join(map(str, ids[:-1]))} and {ids[-1]} go on."
