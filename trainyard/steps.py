"""Which steps make up which phase: the one place that says so.

A phase is what people see; a step is what one Job runs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    name: str
    steps: tuple[str, ...]


PHASES = (
    Phase("training", ("discover", "embed")),
    Phase("faceDetection", ("detect", "assign")),
    Phase("clustering", ("cluster",)),
)

STEPS = tuple(step for phase in PHASES for step in phase.steps)
PHASE_OF_STEP = {step: phase.name for phase in PHASES for step in phase.steps}

# These cut their work, one row of training_jobs a photo, into shards; the others are one worker each.
SHARDED_STEPS = frozenset({"embed", "detect", "assign"})


def steps_of_session(faces: bool) -> dict[str, str]:
    """The steps an ordinary session begins with, each with its first status."""
    later = "pending" if faces else "skipped"
    return {"discover": "pending", "embed": "pending", "detect": later, "cluster": later}
