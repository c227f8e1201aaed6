"""Statuses that this process wrote: when, and what the resource became, until the watch shows it too."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from controller.kubernetes.resource import Resource


@dataclass(frozen=True)
class _Write:
    replaced: frozenset[str]  # versions
    after: Resource
    at: datetime

    def once_seen(self, resource: Resource) -> "_Write":
        """A watch never goes back: what was replaced need not be known any longer."""
        return replace(self, replaced=frozenset()) if resource.version == self.after.version else self


class StatusWrites:
    """By uid, for as long as the resource stands."""

    def __init__(self) -> None:
        self._writes: dict[str, _Write] = {}

    def add(self, before: Resource, after: Resource, at: datetime) -> None:
        earlier = self._writes.get(before.uid)
        replaced = earlier.replaced if earlier and earlier.after.version == before.version else frozenset()
        self._writes[before.uid] = _Write(replaced | {before.version}, after, at)

    def over(self, seen: Iterable[Resource]) -> list[Resource]:
        """The resources there are: as a watch has seen them, or as we left them if nobody has written since."""
        there = {resource.uid: resource for resource in seen}
        self._writes = {uid: write.once_seen(there[uid]) for uid, write in self._writes.items() if uid in there}
        return [self._latest(resource) for resource in there.values()]

    def times(self) -> dict[str, datetime]:
        return {uid: write.at for uid, write in self._writes.items()}

    def _latest(self, resource: Resource) -> Resource:
        write = self._writes.get(resource.uid)
        if write and (resource.version == write.after.version or resource.version in write.replaced):
            return write.after
        return resource
