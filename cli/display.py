"""What people see of a run: bars on a terminal, plain lines when piped, nothing but the result with --json."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from trainyard.lifecycle import ENDED
from trainyard.progress import PhaseProgress
from trainyard.progress import Progress as SessionProgress
from trainyard.sessions import ALL_PHOTOS
from trainyard.settings import Settings

PHASE_TITLES = {"training": "Embeddings", "faceDetection": "Faces", "clustering": "People"}
LINE_EVERY_SECONDS = 10.0
MOST_FAILURES_SHOWN = 10
PIPED_WIDTH = 240

NON_COMMERCIAL = "InsightFace's models are for non-commercial use only."
UNTRAINED = (
    "UNTRAINED WEIGHTS: the embeddings are made with random weights, so search will find nothing sensible. "
    "This is for trying Trainyard out. `trainyard models download clip` fetches the trained ones."
)


@contextmanager
def show(*, as_json: bool) -> "Iterator[Display]":
    """The display that fits where stdout goes. With --json everything for people goes to stderr, and little."""
    console = make_console(stderr=as_json)
    display = Bars(console) if console.is_terminal and not as_json else Lines(console, quiet=as_json)
    try:
        yield display
    finally:
        display.close()


def make_console(*, stderr: bool = False) -> Console:
    """A console that does not break lines where no terminal does."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=PIPED_WIDTH)


class Display:
    """What both kinds have in common: the words at the beginning and at the end."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet

    def starting(self, settings: Settings, root: str) -> None:
        self.say(f"Trainyard: {'all photos' if root == ALL_PHOTOS else root}")
        if settings.untrained:
            self.console.print(UNTRAINED, style="bold yellow")

    def began(self, session_id: int, *, resumed: bool) -> None:
        self.say(f"Session {session_id} taken up where it stopped." if resumed else f"Session {session_id}.")

    def progress(self, progress: SessionProgress) -> None:
        raise NotImplementedError

    def interrupting(self) -> None:
        self.console.print("Stopping at the batch; the same command goes on from there.", style="yellow")

    def ended(self, summary: dict[str, Any]) -> None:
        self.close()
        if not self.quiet:
            print_summary(summary, self.console)

    def close(self) -> None:
        """Leave the terminal as it was."""

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, markup=False)


class Bars(Display):
    """One bar a phase and one for the whole, redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bars = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>5.1f} %"),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._live = Live(self._bars, console=console, refresh_per_second=4)

    def began(self, session_id: int, *, resumed: bool) -> None:
        super().began(session_id, resumed=resumed)
        for name in (*PHASE_TITLES, "overall"):
            title = PHASE_TITLES.get(name, "Overall")
            self._tasks[name] = self._bars.add_task(title, total=100, note="")
        self._live.start()

    def progress(self, progress: SessionProgress) -> None:
        for name, phase in progress.phases.items():
            note = _phase_note(progress, phase)
            self._bars.update(self._tasks[name], completed=phase.percentage, note=note)
        self._bars.update(self._tasks["overall"], completed=progress.percentage, note=_overall_note(progress))

    def close(self) -> None:
        if self._live.is_started:
            self._live.stop()


class Lines(Display):
    """A line when a phase changes, and now and then while it goes on."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        super().__init__(console, quiet=quiet)
        self._state: tuple[Any, ...] = ()
        self._printed = 0.0

    def progress(self, progress: SessionProgress) -> None:
        waiting = progress.waiting.code if progress.waiting else None
        state = (progress.overall_status, waiting, *(phase.status for phase in progress.phases.values()))
        due = time.monotonic() - self._printed > LINE_EVERY_SECONDS
        if self.quiet or (state == self._state and not due):
            return
        self._state, self._printed = state, time.monotonic()
        self.say(progress_line(progress))


def progress_line(progress: SessionProgress) -> str:
    """The whole session in one line."""
    parts = [
        f"{PHASE_TITLES[name]} {phase.percentage:.1f} % {_phase_note(progress, phase)}".strip()
        for name, phase in progress.phases.items()
        if phase.status != "skipped"
    ]
    return f"{progress.percentage:5.1f} %  {_overall_note(progress)}  |  " + "  |  ".join(parts)


def _phase_note(progress: SessionProgress, phase: PhaseProgress) -> str:
    if phase.status in {"skipped", "failed", "cancelled"}:
        return phase.status
    if phase.name == "training" and phase.total is None:
        return f"{progress.files_found:,} found" if progress.files_found else ""
    if not phase.total:
        return ""
    failed = f", {phase.failed} failed" if phase.failed else ""
    return f"{phase.current:,}/{phase.total:,}{failed}"


def _overall_note(progress: SessionProgress) -> str:
    if progress.waiting is not None and progress.active:
        return f"waiting: {progress.waiting.message}"
    if progress.eta_seconds is not None:
        return f"{duration(progress.eta_seconds)} left"
    return progress.overall_status


def duration(seconds: float) -> str:
    """Coarse, as an estimate should be read: '40 s', '4 min', '3 h 10 min'."""
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# At the end


def print_summary(summary: dict[str, Any], console: Console | None = None) -> None:
    console = console or make_console()
    images, seconds = summary["images"], summary["seconds"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("Session", f"{summary['sessionId']}, {summary['overallStatus']}")
    table.add_row("Images", _images_text(images))
    table.add_row("Faces", _faces_text(summary))
    table.add_row("Groups", f"{summary['clustersCreated']:,} new, {summary['groups']:,} in all")
    table.add_row("Seconds", ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    for kind in ("clip", "face"):
        if kind in summary["models"]:
            table.add_row("Model" if kind == "clip" else "", _model_text(summary["models"][kind]))
    console.print()
    console.print(table)
    if summary["failure"]:
        console.print(f"{summary['failure']['code']}: {summary['failure']['message']}", style="bold red", markup=False)
    for note in summary["notes"]:
        console.print(note, markup=False)
    inside = summary["rootPath"].rstrip("/") + "/"
    failures = [{**failure, "path": failure["path"].removeprefix(inside)} for failure in summary["failures"]]
    print_failures(failures, console, most=MOST_FAILURES_SHOWN)
    if summary["models"].get("face", {}).get("engine") == "insightface":
        console.print(NON_COMMERCIAL, style="yellow")


def _images_text(images: dict[str, int]) -> str:
    parts = [f"{images['total']:,} found", f"{images['processed']:,} processed"]
    parts += [f"{images[name]:,} {name}" for name in ("failed", "unchanged") if images[name]]
    if images["skipped"]:
        parts.append(f"{images['skipped']:,} other files skipped")
    return ", ".join(parts)


def _faces_text(summary: dict[str, Any]) -> str:
    parts = [f"{summary['facesDetected']:,} found"]
    if summary["facesAssignedToPersons"]:
        parts.append(f"{summary['facesAssignedToPersons']:,} assigned")
    if summary["suggestionsCreated"]:
        parts.append(f"{summary['suggestionsCreated']:,} suggestions")
    return ", ".join(parts)


def _model_text(model: dict[str, Any]) -> str:
    trained = "" if model["trained"] else " (untrained)"
    name = model["name"] if model["name"] == model["engine"] else f"{model['engine']} {model['name']}"
    return f"{name}{trained}, {model['weightsSha256'][:12]}"


def print_failures(failures: Sequence[dict[str, str]], console: Console | None = None, most: int | None = None) -> None:
    console = console or make_console()
    shown = failures if most is None else failures[:most]
    if not shown:
        return
    table = Table("Image", "Code", "Why", box=None, header_style="bold", pad_edge=False)
    for failure in shown:
        table.add_row(_printable(failure["path"]), failure["code"], failure["message"])
    console.print()
    console.print(table)
    if len(failures) > len(shown):
        console.print(f"and {len(failures) - len(shown)} more: `trainyard sessions failures`")


def _printable(path: str) -> str:
    """A path on one line, its brackets not taken for markup."""
    shown = path if path.isprintable() else path.encode("unicode_escape").decode("ascii")
    return shown.replace("[", "\\[")


def print_progress(progress: SessionProgress) -> None:
    make_console().print(progress_line(progress), markup=False)


def print_sessions(rows: Sequence[dict[str, Any]]) -> None:
    table = Table("Session", "Status", "Folder", "Images", "Failed", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        asked = {"pause": " (pausing)", "cancel": " (cancelling)"}.get(row["requested"], "")
        status = row["overallStatus"] + (asked if row["overallStatus"] not in {*ENDED, "paused"} else "")
        table.add_row(
            str(row["sessionId"]), status, _printable(row["rootPath"]), f"{row['total']:,}", f"{row['failed']:,}"
        )
    make_console().print(table)
