"""Why something cannot be done with people: each with a code for programs and a sentence for people."""

from collections.abc import Collection
from uuid import UUID


class PeopleError(Exception):
    """`code` is that of the API's answer, `sentence` what a person reads."""

    @property
    def code(self) -> str:
        return type(self).__name__

    @property
    def sentence(self) -> str:
        return str(self)


class NoSuchPerson(PeopleError):
    def __init__(self, person_id: int) -> None:
        super().__init__(f"There is no person {person_id}. They may have been merged or deleted since; look again.")


class NoSuchFace(PeopleError):
    def __init__(self, face_ids: Collection[UUID]) -> None:
        which = ", ".join(str(id) for id in sorted(face_ids)[:3]) + (", …" if len(face_ids) > 3 else "")
        super().__init__(f"There is no face {which}. Its photo may have been searched again since; look again.")


class NoSuchCluster(PeopleError):
    def __init__(self, cluster_id: int) -> None:
        super().__init__(
            f"There is no group {cluster_id} of unknown faces any more: somebody named them, or they were grouped "
            "anew. Look again."
        )


class NoSuchSuggestion(PeopleError):
    def __init__(self) -> None:
        super().__init__("None of these suggestions is waiting any more: somebody decided them, or named the faces.")


class NameTaken(PeopleError):
    """`person_id` is who has the name; None where they have lost it again meanwhile."""

    def __init__(self, name: str, person_id: int | None) -> None:
        super().__init__(
            f"There is a person called {name} already. Choose another name, or make the two one person by a merge."
        )
        self.person_id = person_id


class InvalidName(PeopleError):
    def __init__(self, longest: int) -> None:
        super().__init__(
            f"A name has 1 to {longest} characters, none of them a control character. Choose another name."
        )


class NoSuchChange(PeopleError):
    def __init__(self, change_id: int) -> None:
        super().__init__(f"There is no change {change_id}; old ones are forgotten.")


class TooLateToUndo(PeopleError):
    def __init__(self, hours: int) -> None:
        super().__init__(f"This was done more than {hours} hours ago and cannot be undone any more.")


class AlreadyUndone(PeopleError):
    def __init__(self) -> None:
        super().__init__("This was undone already.")
