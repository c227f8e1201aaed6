"""Whether the progress shown is true: a whole installation works off a session while somebody looks each second.

A first session measures this machine's rates; the second, over other photos, is the one that is judged.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from PIL import Image, ImageEnhance

from local import sessions
from local.installation import LocalInstallation
from tests.bench.results import Row, at_most, percentile
from tests.bench.stage import workplace
from tests.pictures import astronaut, chelsea, coffee, encoded, group_photo, portrait, rocket
from trainyard.progress import Progress, read_progress
from trainyard.sessions import NewSession
from trainyard.settings import load_settings
from trainyard.steps import PHASES
from trainyard.tables import steps, training_sessions

PHOTOS = 320
LOOK_SECONDS = 1.0
POINTS_P95, POINTS_MAX = 5.0, 10.0  # |percentage shown - share of the active time|
ETA_P95 = 0.10  # |ETA - time left| ÷ whole time
ETA_FROM = 20.0  # percent shown


@dataclass(frozen=True)
class Look:
    at: float  # Unix time
    percentage: float
    eta_seconds: float | None
    status: str


@dataclass(frozen=True)
class Watched:
    """A session's looks from the end of its discovery to its own end."""

    looks: list[Look]
    began: float
    ended: float
    weights: dict[str, float]
    seconds: dict[str, float]

    @property
    def whole_seconds(self) -> float:
        return self.ended - self.began


def measure() -> list[Row]:
    with workplace() as folder:
        for index, name in enumerate(("first", "second")):
            write_library(folder / name, PHOTOS, seed=index)
        settings = load_settings(data_dir=folder / "data", device="cpu", untrained=True, face_engine="dlib")
        with LocalInstallation(settings) as installation:
            installation.start()
            _watch(installation, folder / "first")
            return _rows(_watch(installation, folder / "second"))


def write_library(folder: Path, count: int, seed: int) -> None:
    """Crops and re-exposures of real pictures, 500 to 1,000 px wide, in the mixed order of a real library."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    sources = [group_photo(), astronaut(), portrait(), chelsea(), coffee(), rocket()]
    for index in range(count):
        picture = _varied(sources[int(rng.integers(len(sources)))], rng)
        (folder / f"IMG_{index:04}.jpg").write_bytes(encoded(picture, quality=88))


def _varied(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    left, top, right, bottom = rng.uniform(0, 0.15, 4) * np.tile(picture.size, 2)
    cut = picture.crop((int(left), int(top), int(picture.width - right), int(picture.height - bottom)))
    width = int(rng.integers(500, 1000))
    resized = cut.resize((width, max(1, width * cut.height // cut.width)), Image.Resampling.BICUBIC)
    return ImageEnhance.Brightness(resized).enhance(float(rng.uniform(0.7, 1.3)))


def _watch(installation: LocalInstallation, root: Path) -> Watched:
    wish = NewSession(str(root), (), None, {"faces": True, "untrained": True, "face_engine": "dlib"})
    session_id, _ = installation.database.transact(lambda connection: sessions.begin(connection, wish))
    installation.controller.look.set()
    looks: list[Look] = []
    due = time.monotonic()
    while not looks or looks[-1].status in {"pending", "running"}:
        installation.check()
        progress = installation.database.transact(lambda connection: read_progress(connection, session_id))
        looks.append(_look(progress))
        due += LOOK_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
    return installation.database.transact(lambda connection: _watched(connection, session_id, looks))


def _look(progress: Progress) -> Look:
    return Look(time.time(), progress.percentage, progress.eta_seconds, progress.overall_status)


def _watched(connection: sa.Connection, session_id: int, looks: list[Look]) -> Watched:
    rows = {row.step: row for row in connection.execute(sa.select(steps).where(steps.c.session_id == session_id))}
    s = training_sessions.c
    row: Any = connection.execute(sa.select(s.weights, s.completed_at, s.status).where(s.id == session_id)).one()
    assert row.status == "completed", f"the session ended as {row.status}"
    began = _unix(rows["discover"].completed_at)
    return Watched(
        looks=[look for look in looks if look.at >= began],
        began=began,
        ended=_unix(row.completed_at),
        weights=dict(row.weights),
        seconds={step: row.seconds for step, row in rows.items()},
    )


def _unix(moment: datetime) -> float:
    return moment.timestamp()


def _rows(watched: Watched) -> list[Row]:
    points = [abs(look.percentage - _share(watched, look)) for look in watched.looks]
    weights = "/".join(f"{watched.weights.get(phase.name, 0):.0f}" for phase in PHASES)
    steps_seconds = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in watched.seconds.items())
    note = f"{len(points)} looks in {watched.whole_seconds:.0f} s, weights {weights}; {steps_seconds}"
    figures = {"looks": [(look.at - watched.began, look.percentage, look.eta_seconds) for look in watched.looks]}
    return [
        at_most(
            "truth, percentage against share of time, p95", percentile(points, 95), POINTS_P95, "", note, **figures
        ),
        at_most("truth, percentage against share of time, max", max(points), POINTS_MAX),
        _order_row(watched),
        _eta_row(watched),
    ]


def _share(watched: Watched, look: Look) -> float:
    return min(100.0, 100 * (look.at - watched.began) / watched.whole_seconds)


def _order_row(watched: Watched) -> Row:
    shown = [look.percentage for look in watched.looks]
    back = sum(1 for before, after in pairwise(shown) if after < before)
    early = sum(1 for look in watched.looks if look.percentage >= 100 and look.status != "completed")
    measured = f"{back} steps back, {early} times 100 before the end"
    return Row("truth, never back and never 100 early", measured, "0 and 0", back == early == 0)


def _eta_row(watched: Watched) -> Row:
    late = [look for look in watched.looks if look.percentage >= ETA_FROM and look.at < watched.ended]
    errors = [
        abs(look.eta_seconds - (watched.ended - look.at)) / watched.whole_seconds
        for look in late
        if look.eta_seconds is not None
    ]
    note = f"{len(errors)} of {len(late)} looks from {ETA_FROM:.0f} % on had an ETA; the worst {max(errors):.3f}"
    return at_most("truth, |ETA - time left| ÷ whole time, p95", percentile(errors, 95), ETA_P95, "", note)
