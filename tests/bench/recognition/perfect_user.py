"""A user who errs in nothing, and what it costs them to name a library in the product's own way.

The largest group is named, the engine assigns what it now knows, and so on; when no group of two is left,
suggestions are answered, and what then remains is named face by face. An action is one of these:

- a name, given to a group or a face; a merge: the same, of somebody who has a name already. A face that the engine
  gave to the wrong person is given to the right one so;
- a yes to a suggestion;
- a no: to a suggestion (the user knows who it is, and is not asked about that face again), to a face that does not
  belong in a group just named, or to a whole group of which no person has half.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jobs.engines import FaceThresholds
from tests.bench.recognition.assignment import chosen_of
from tests.bench.recognition.synthetic import Library

TARGET = 0.95  # of all faces, with their right person
_REFUSED = -2.0  # below every cosine: this face is not this person's
_UNKNOWN = -1


@dataclass
class Actions:
    names: int = 0
    merges: int = 0
    yes: int = 0
    no: int = 0

    @property
    def total(self) -> int:
        return self.names + self.merges + self.yes + self.no

    def __str__(self) -> str:
        return f"{self.total:,} = {self.names} names + {self.merges} merges + {self.yes} yes + {self.no} no"


def actions(faces: Library, group: NDArray[np.int64], thresholds: FaceThresholds, target: float = TARGET) -> Actions:
    """What it takes from the groups (n,) (below 0: none) until `target` of the faces have their person."""
    album = _Album(faces, group, thresholds)
    while (album.person >= 0).mean() < target:
        largest, size = album.largest_group()
        if size >= 2:
            album.name_group(largest)
        elif len(album.suggested):
            album.answer(target)
        else:
            album.name_face()
        album.assign()
    return album.actions


@dataclass
class _Album:
    """What the product knows. A face's person is right wherever it is set: the user lets no error stand."""

    faces: Library
    group: NDArray[np.int64]
    thresholds: FaceThresholds
    actions: Actions = field(default_factory=Actions)

    def __post_init__(self) -> None:
        count = len(self.faces)
        _, self.truth = np.unique(self.faces.person, return_inverse=True)
        people = int(self.truth.max()) + 1
        self.group = self.group.copy()
        self.person = np.full(count, _UNKNOWN)
        self.by_user = np.zeros(count, bool)
        self.likeness = np.full((people, count), np.float32(_REFUSED))  # to each person's nearest prototype
        self.refused = np.zeros((people, count), bool)
        self.asked = np.zeros(count, bool)  # and answered with no
        self.known = np.zeros(people, bool)
        self.suggested = np.empty((0, 2), np.int64)  # (face, person), the likeliest first

    def largest_group(self) -> tuple[int, int]:
        """A group and how many of its faces have no person yet; the lowest of equally large ones."""
        sizes = np.bincount(self.group[(self.person < 0) & (self.group >= 0)], minlength=1)
        return int(np.argmax(sizes)), int(sizes.max())

    def name_group(self, number: int) -> None:
        members = np.flatnonzero((self.group == number) & (self.person < 0))
        self.group[members] = _UNKNOWN
        counts = np.bincount(self.truth[members])
        person = int(np.argmax(counts))
        if 2 * counts[person] < len(members):
            self.actions.no += 1
            return
        wrong = members[self.truth[members] != person]
        self.actions.no += len(wrong)
        self.refused[person, wrong] = True
        self._name(person, members[self.truth[members] == person])

    def name_face(self) -> None:
        face = int(np.argmax(self.person < 0))
        self._name(int(self.truth[face]), np.array([face]))

    def answer(self, target: float) -> None:
        """Yes or no to what is suggested, the likeliest first, until the target is reached."""
        needed = int(np.ceil(target * len(self.person))) - int((self.person >= 0).sum())
        agreed: list[int] = []
        for face, person in self.suggested.tolist():
            if len(agreed) == needed:
                break
            if self.truth[face] == person:
                agreed.append(face)
            else:
                self.actions.no += 1
                self.refused[person, face] = self.asked[face] = True
        self.actions.yes += len(agreed)
        for person in np.unique(self.truth[agreed]):
            which = np.array(agreed)[self.truth[agreed] == person]
            self._keep(int(person), which)
        self._forget_refused()

    def assign(self) -> None:
        """What the engine does with the unknown faces; a face given to a wrong person is given to the right one."""
        unknown = np.flatnonzero(self.person < 0)
        known = np.flatnonzero(self.known)
        self.suggested = np.empty((0, 2), np.int64)
        if len(unknown) == 0 or len(known) == 0:
            return
        likeness = self.likeness[np.ix_(known, unknown)]
        best, second = _two_largest(likeness)
        person = known[np.argmax(likeness, axis=0)]
        sure = (best >= self.thresholds.assign) & (best - second >= self.thresholds.margin)
        right = sure & (person == self.truth[unknown])
        self.person[unknown[right]] = person[right]
        maybe = np.flatnonzero(~sure & (best >= self.thresholds.suggestion) & ~self.asked[unknown])
        maybe = maybe[np.argsort(-best[maybe], kind="stable")]
        self.suggested = np.column_stack((unknown[maybe], person[maybe]))
        for face in unknown[sure & ~right].tolist():
            self._name(int(self.truth[face]), np.array([face]))

    def _name(self, person: int, which: NDArray[np.int64]) -> None:
        if self.known[person]:
            self.actions.merges += 1
        else:
            self.actions.names += 1
        self._keep(person, which)
        self._forget_refused()

    def _keep(self, person: int, which: NDArray[np.int64]) -> None:
        """The user gave these faces the person, whose prototypes are chosen anew."""
        self.known[person] = True
        self.person[which] = person
        self.by_user[which] = True
        given = np.flatnonzero(self.by_user & (self.person == person))
        prototypes = self.faces.vectors[chosen_of(self.faces, given, self.thresholds)]
        self.likeness[person] = (prototypes @ self.faces.vectors.T).max(axis=0)

    def _forget_refused(self) -> None:
        self.likeness[self.refused] = _REFUSED


def _two_largest(likeness: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The largest of each column, and the second (-1 where there is one row, as jobs.assignment takes it)."""
    if len(likeness) == 1:
        return likeness[0], np.full(likeness.shape[1], np.float32(-1))
    pair = np.partition(likeness, len(likeness) - 2, axis=0)[-2:]
    return pair[1], np.maximum(pair[0], np.float32(-1))
