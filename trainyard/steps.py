"""Which steps make up which phase: the one place that says so.

A phase is what people see; a step is what one Job runs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    name: str
    steps: tuple[str, ...]

    @property
    def counting_steps(self) -> tuple[str, ...]:
        """The steps whose units are the phase's progress; discover finds out how many there are."""
        return tuple(step for step in self.steps if step != "discover")


PHASES = (
    Phase("training", ("discover", "embed")),
    Phase("faceDetection", ("detect", "assign")),
    Phase("clustering", ("cluster",)),
)

STEPS = tuple(step for phase in PHASES for step in phase.steps)
PHASE_OF_STEP = {step: phase.name for phase in PHASES for step in phase.steps}

# These cut their work, one row of training_jobs a photo, into shards; the others are one worker each.
SHARDED_STEPS = frozenset({"embed", "detect", "assign"})


def steps_of_session(faces: bool, training: bool = True, assign: bool = False) -> dict[str, str]:
    """The steps a session begins with, each with its first status.

    A standalone face session has no training; one that only assigns unknown faces again, no search and no groups.
    """
    if assign:
        return {"discover": "pending", "embed": "skipped", "assign": "pending", "cluster": "skipped"}
    embed = "pending" if training else "skipped"
    later = "pending" if faces else "skipped"
    return {"discover": "pending", "embed": embed, "detect": later, "cluster": later}
