"""What was done, in the words of whoever did it."""

from collections.abc import Mapping, Sequence
from typing import Any

OF_FACES = frozenset({"assign", "unassign", "ignore", "accept", "reject"})


def sentence(kind: str, faces: int, before: Mapping[str, Any]) -> str:
    """Of a change of this kind to so many faces; `before` as trainyard/people/records.py says."""
    names = [person["name"] for person in before.get("persons", [])]
    if faces == 0 and kind in OF_FACES:
        return "Nothing changed: it was so already."
    return SENTENCES[kind](faces, names, before)


def undone(said: str, skipped: int) -> str:
    if not skipped:
        return f"Undone: {said}"
    return f"Undone: {said} What changed since, {skipped} of them, stayed as it was."


def _now(faces: int, names: Sequence[str], before: Mapping[str, Any]) -> str:
    if len(names) == 1:
        return f"{_are(faces, 'face')} now {names[0]}."
    return f"{_are(faces, 'face')} now who they were suggested to be."


def _unassigned(faces: int, names: Sequence[str], before: Mapping[str, Any]) -> str:
    if len(names) == 1:
        return f"{_are(faces, 'face')} not {names[0]} any more."
    return f"{_are(faces, 'face')} unknown again."


def _ignored(faces: int, names: Sequence[str], before: Mapping[str, Any]) -> str:
    return f"{_are(faces, 'face')} {'ignored' if before.get('ignored') else 'looked at again'}."


def _renamed(faces: int, names: Sequence[str], before: Mapping[str, Any]) -> str:
    return f"{names[0]} is called {before['called']} now."


def _merged(faces: int, names: Sequence[str], before: Mapping[str, Any]) -> str:
    if len(names) == 1:
        return f"{names[0]} is one person."
    return f"{', '.join(names[:-1])} and {names[-1]} are one person now."


def _deleted(faces: int, names: Sequence[str], before: Mapping[str, Any]) -> str:
    return f"{names[0]} is deleted; {_are(faces, 'face')} unknown again."


def _dismissed(faces: int, names: Sequence[str], before: Mapping[str, Any]) -> str:
    return f"A group of {_number(faces, 'face')} is dismissed."


def _rejected(faces: int, names: Sequence[str], before: Mapping[str, Any]) -> str:
    if len(names) == 1:
        return f"{_are(faces, 'face')} not {names[0]}."
    return f"{_are(faces, 'suggestion')} refused."


def _are(count: int, thing: str) -> str:
    return f"{_number(count, thing)} {'is' if count == 1 else 'are'}"


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


SENTENCES = {
    "assign": _now,
    "unassign": _unassigned,
    "ignore": _ignored,
    "rename": _renamed,
    "merge": _merged,
    "delete": _deleted,
    "name": _now,
    "dismiss": _dismissed,
    "accept": _now,
    "reject": _rejected,
}
