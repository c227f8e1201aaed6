"""What a file says of one face, beside what is said of it here: which of the two stands. Pure."""

from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

Outcome = Literal["changed", "as_they_were", "kept"]


@dataclass(frozen=True)
class Word:
    """`by` is "person" or "engine"; `refused` are the persons that somebody said it is not."""

    person_id: int | None = None
    by: str | None = None
    similarity: float | None = None
    ignored: bool = False
    refused: frozenset[int] = frozenset()

    @property
    def decided(self) -> bool:
        """Whether somebody has said whose it is, or that it does not matter."""
        return self.by == "person" or self.ignored

    def of(self, other: "Word") -> "Word":
        """Whose face it is as the other one says, but for whom it was said not to be."""
        if other.person_id is None or other.person_id in self.refused:
            return self
        return replace(self, person_id=other.person_id, by=other.by, similarity=other.similarity)

    def unknown(self) -> "Word":
        return replace(self, person_id=None, by=None, similarity=None)


@dataclass(frozen=True)
class FaceHere:
    id: UUID
    asset_id: int
    said: Word


def settle(here: Word, file: Word) -> tuple[Word, Outcome]:
    """What is to be said of a face, and what became of the file's word: whether it stands, stood already, or gave way.

    What people said here stands before what they said there, their word before the engine's, and the engine's here
    before its word there. A refusal, wherever, holds for ever.
    """
    own = {here.person_id} if here.by == "person" else set()
    after = replace(here, refused=here.refused | (file.refused - own))
    if not here.decided and file.decided:
        after = replace(after.of(file), ignored=file.ignored)
    if after.by != "person" and after.person_id in after.refused:
        after = after.unknown()
    if after.person_id is None and not after.ignored:
        after = after.of(file)
    if after != here:
        return after, "changed"
    agrees = file.person_id in (None, here.person_id) and here.ignored >= file.ignored
    return after, "as_they_were" if agrees else "kept"
