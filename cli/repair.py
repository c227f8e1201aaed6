"""`trainyard repair`: where files, rows, vectors and thumbnails have drifted apart, and mending it."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.stores import open_stores

if TYPE_CHECKING:
    from trainyard.repair_findings import Finding

EXIT_DRIFT = 1

Watch = Callable[[str, int, int], object]


def repair(
    check: Annotated[bool, typer.Option("--check", help="Only tell; exit 1 where there is something to mend.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where database and vectors are kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout: what, count, done.")] = False,
) -> None:
    """Compare files, rows, vectors and thumbnails; mend what disagrees, and say what was done. Photos are only read."""
    from trainyard.repair import find_drift
    from trainyard.repair_findings import Repair

    findings: list[Finding] = []
    with open_stores(data_dir) as stores, _watching() as watch:
        for finding in find_drift(Repair(stores, not check, watch)):
            findings.append(finding)
            if not as_json:
                typer.echo(_line(finding, mended=not check))
    drift = [finding for finding in findings if finding.done is not None]
    if as_json:
        typer.echo(json.dumps([_told(finding, mended=not check) for finding in findings], ensure_ascii=False))
    else:
        typer.echo(_last_line(drift, check))
    raise typer.Exit(EXIT_DRIFT if check and drift else 0)


def _line(finding: "Finding", *, mended: bool) -> str:
    done = f": {finding.done}" if mended and finding.done else ""
    return f"{finding.count:>9,}  {finding.what}{done}"


def _told(finding: "Finding", *, mended: bool) -> dict[str, object]:
    return {"what": finding.what, "count": finding.count, "done": finding.done if mended else None}


def _last_line(drift: "list[Finding]", check: bool) -> str:
    if not drift:
        return "Rows, vectors and thumbnails agree; there is nothing to mend."
    return "`trainyard repair` mends this." if check else "That is mended."


@contextmanager
def _watching() -> Iterator[Watch]:
    """How far it has come, on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    shared = sys.stdout.isatty()  # then what is told goes above the bar
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=shared) as bars:
        task = bars.add_task("", total=None)
        yield lambda what, done, total: bars.update(task, description=what, completed=done, total=total)
