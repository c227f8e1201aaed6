"""What `trainyard doctor` finds: one line each, and how lines are shown."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}
INSTALL = "make demo   (in the checkout; or: pip install 'trainyard[local]')"


@dataclass(frozen=True)
class Finding:
    """One line. `missing` means that `run`, as it is set, cannot work; `to_type` mends it."""

    subject: str
    text: str
    mark: Literal["ok", "note", "missing"] = "ok"
    to_type: str | None = None


def print_findings(findings: list[Finding]) -> None:
    """A line each, then what to type."""
    from rich.markup import escape
    from rich.table import Table

    from cli.display import make_console

    console = make_console()
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        table.add_row(MARKS[finding.mark], finding.subject, escape(finding.text))
    console.print(table)
    lines = [finding.to_type for finding in findings if finding.to_type]
    if lines:
        console.print("\nTo type:")
    for line in dict.fromkeys(lines):
        console.print(f"  {line}", markup=False)


def version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
