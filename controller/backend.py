"""What the controller asks of whatever runs the Jobs: Kubernetes, or threads of this process."""

from dataclasses import dataclass
from typing import Literal, Protocol

JobState = Literal["running", "stopping", "succeeded", "failed", "come_back", "stopped"]


@dataclass(frozen=True)
class JobSpec:
    """One Job: a step of a session, in one attempt, over shards 0…shards−1."""

    session_id: int
    step: str
    attempt: int
    shards: int
    token: str  # random, stored in the step's row before the Job is made: tells our Job from a stranger's


@dataclass(frozen=True)
class ObservedJob:
    """A Job as it is now. `come_back` and `stopped` are no failures; a `final` failure is not tried again."""

    spec: JobSpec
    uid: str
    state: JobState
    code: str | None = None
    message: str | None = None
    final: bool = False
    waiting: tuple[str, str] | None = None  # code and sentence, while no worker of it can begin


class JobBackend(Protocol):
    def parallelism(self, step: str) -> int:
        """How many shards of the step can run at once."""
        ...

    def smallest_shard(self, step: str) -> int:
        """Below so many units a step is not cut."""
        ...

    def observe(self) -> list[ObservedJob]:
        """All Jobs there are, ended ones included until they are removed."""
        ...

    def create(self, spec: JobSpec) -> str:
        """Make the Job; returns its uid."""
        ...

    def stop(self, job: ObservedJob) -> None:
        """Have the workers stop at their batch. Asking again changes nothing."""
        ...

    def remove(self, job: ObservedJob) -> None:
        """Forget an ended Job whose result is in the rows."""
        ...
