"""How fast sessions get on: what was done between passes, over a short while. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.observe import Snapshot, StepView
from trainyard.steps import STEPS

WINDOW_SECONDS = 30.0  # some batches long, and short enough to see that workers have begun or ended

Done = Mapping[tuple[int, str], int]  # units by session and step


@dataclass(frozen=True)
class Sample:
    """What one pass saw: the units by step gained since the pass before, and the steps that run."""

    at: float
    gained: Mapping[str, int]
    running: frozenset[str]


@dataclass(frozen=True)
class History:
    """`done` as the last pass saw it; the samples of the window, oldest first, the first of which only begins it."""

    done: Done = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()


def followed(history: History, snapshot: Snapshot, at: float) -> History:
    """With one more sample, without those that the window has left behind."""
    done = _done(snapshot)
    samples = (*history.samples, Sample(at, gains(history.done, done), _running(snapshot)))
    inside = next(number for number, sample in enumerate(samples) if sample.at > at - WINDOW_SECONDS)
    return History(done, samples[max(0, inside - 1) :])


def gains(before: Done, now: Done) -> dict[str, int]:
    """Units by step. A step that begins anew (a retry, another discovery) has not lost any."""
    gained: dict[str, int] = {}
    for key, units in now.items():
        more = units - before.get(key, units)  # one not seen before may have been at it for long
        if more > 0:
            gained[key[1]] = gained.get(key[1], 0) + more
    return gained


def units_per_second(history: History, now: float) -> dict[str, float]:
    """By step, of all sessions together; 0 where none runs, and where nobody has looked for the whole window."""
    rates = dict.fromkeys(STEPS, 0.0)
    if len(history.samples) < 2 or now - history.samples[-1].at > WINDOW_SECONDS:
        return rates
    first, *others = history.samples
    seconds = others[-1].at - first.at
    for step in others[-1].running & rates.keys():
        gained = sum(sample.gained.get(step, 0) for sample in others)
        rates[step] = gained / seconds if seconds > 0 else 0.0  # two looks may come within one tick of the clock
    return rates


def _done(snapshot: Snapshot) -> dict[tuple[int, str], int]:
    return {(session.id, step.name): _units(step) for session in snapshot.sessions for step in session.steps.values()}


def _units(step: StepView) -> int:
    """Of the attempts before, and of the one that runs."""
    return step.done + (step.shards.done if step.shards else 0)


def _running(snapshot: Snapshot) -> frozenset[str]:
    steps = (step for session in snapshot.sessions for step in session.steps.values())
    return frozenset(step.name for step in steps if step.status == "running")
