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


def test_what_the_watch_has_shown_is_not_kept() -> None:
    writes = StatusWrites()
    before = FIRST
    for number in range(2, 1_000):
        after = replace(FIRST, version=str(number), status={"images": number})
        writes.add(before, after, NOW)
        assert versions(writes, after) == [str(number)]
        before = after
    (write,) = writes._writes.values()
    assert len(write.replaced) <= 1


def test_a_status_that_was_refused_is_not_sent_again_as_it_is() -> None:
    writes = StatusWrites()
    refused = replace(FIRST, status={"images": 9})
    writes.add(FIRST, refused, NOW)
    for _ in range(3):
        assert writes.over([FIRST])[0].status == {"images": 9}


def test_what_an_older_schema_leaves_out_is_not_sent_again() -> None:
    writes = StatusWrites()
    sent = {"images": 2, "unheardOf": 1}
    writes.add(FIRST, replace(SECOND, status=sent), NOW)
    for _ in range(3):
        assert writes.over([SECOND])[0].status == sent
    assert writes.over([FOREIGN])[0].status == FOREIGN.status


def test_a_resource_that_is_gone_is_forgotten() -> None:
    writes = StatusWrites()
    writes.add(FIRST, SECOND, NOW)
    assert versions(writes) == []
    assert writes.times() == {}
