"""What a part of the bench hands back, and how it is timed."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """One line of the table. `met` is None where a figure is only shown; `figures` go to the JSON as they are."""

    name: str
    measured: str
    target: str = "shown"
    met: bool | None = None
    note: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def at_most(name: str, value: float, limit: float, unit: str = "", note: str = "", **figures: Any) -> Row:
    measured, target = f"{value:.3g}{unit}", f"≤ {limit:g}{unit}"
    return Row(name, measured, target, value <= limit, note, {"value": value, **figures})


def at_least(name: str, value: float, limit: float, unit: str = "", note: str = "", **figures: Any) -> Row:
    measured, target = f"{value:.3g}{unit}", f"≥ {limit:g}{unit}"
    return Row(name, measured, target, value >= limit, note, {"value": value, **figures})


def wall_seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def interleaved(ways: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """What each way returned in each round. All ways take their turn in a round, every second round backwards.

    So what disturbs the machine for a while disturbs all of them, and none always has the warmest cache.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds):
        for name in list(ways)[:: 1 if round_ % 2 == 0 else -1]:
            found[name].append(ways[name]())
    return found


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the rounds' ratios: each is taken between neighbours in time."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
