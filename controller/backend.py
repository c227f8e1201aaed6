"""What the controller asks of whatever runs the Jobs: Kubernetes, or threads of this process."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol


class BackendUnavailable(Exception):
    """What runs the Jobs cannot be asked just now; nothing is known to have changed. Worth looking again later."""


class JobRefused(Exception):
    """This cannot be done with this Job as things stand: by quota, by an admission rule, or by its settings.

    `code` is for machines, the message whoever refused it. It says nothing of other sessions' Jobs.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


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
    """A Job as it is now. `come_back` and `stopped` are no failures; a `final` failure is not tried again.

    `running_seconds` is since when a worker of it has been running without a break, as far as is known. `overdue`
    says, in a sentence, that it has waited longer for a first worker than this installation lets it; `last_words`, as
    code and sentence, why the last worker went that wants to come back.
    """

    spec: JobSpec
    uid: str
    state: JobState
    code: str | None = None
    message: str | None = None
    final: bool = False
    waiting: tuple[str, str] | None = None  # code and sentence, while no worker of it can begin
    running_seconds: float = math.inf
    overdue: str | None = None
    last_words: tuple[str, str] | None = None


class JobBackend(Protocol):
    """Every method but the first two may raise BackendUnavailable."""

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
        """Make the Job, or find the one made of this very spec before; returns its uid. Raises JobRefused."""
        ...

    def stop(self, job: ObservedJob) -> None:
        """Have the workers stop at their batch. Asking again changes nothing. Raises JobRefused."""
        ...

    def remove(self, job: ObservedJob) -> None:
        """Forget an ended Job whose result is in the rows. Raises JobRefused."""
        ...
