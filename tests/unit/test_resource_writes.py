"""Statuses of our own, laid over a watch that does not show them yet."""

from dataclasses import replace
from datetime import UTC, datetime

from controller.kubernetes.resource import Resource
from controller.kubernetes.resource_writes import StatusWrites

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = Resource("archive", "uid", generation=1, terminating=False, spec={}, version="1")
SECOND, THIRD = (replace(FIRST, version=version, status={"images": int(version)}) for version in ("2", "3"))
FOREIGN = replace(FIRST, version="4", status={"images": 0})


def versions(writes: StatusWrites, *seen: Resource) -> list[str]:
    return [resource.version for resource in writes.over(seen)]


def test_what_was_written_is_seen_before_the_watch_shows_it() -> None:
    writes = StatusWrites()
    writes.add(FIRST, SECOND, NOW)
    assert writes.over([FIRST])[0].status == {"images": 2}
    assert versions(writes, SECOND) == ["2"]
    assert writes.times() == {"uid": NOW}


def test_two_writes_in_a_row_are_seen_too() -> None:
    writes = StatusWrites()
    writes.add(FIRST, SECOND, NOW)
    writes.add(SECOND, THIRD, NOW)
    assert [versions(writes, seen) for seen in (FIRST, SECOND, THIRD)] == [["3"], ["3"], ["3"]]


def test_what_somebody_else_wrote_after_it_wins() -> None:
    writes = StatusWrites()
    writes.add(FIRST, SECOND, NOW)
    assert versions(writes, FOREIGN) == ["4"]
    writes.add(FOREIGN, replace(FOREIGN, version="5"), NOW)
    assert versions(writes, SECOND) == ["2"]  # a write over what somebody else wrote did not replace it


def test_a_resource_that_is_gone_is_forgotten() -> None:
    writes = StatusWrites()
    writes.add(FIRST, SECOND, NOW)
    assert versions(writes) == []
    assert writes.times() == {}
