"""A watch outlives whatever its connection goes through, and nothing disappears from it by mistake."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.kubernetes import client, watch
from controller.kubernetes.client import Cluster
from controller.kubernetes.paths import jobs_path
from controller.kubernetes.watch import LONGEST_PAUSE_SECONDS, Watch, pause_seconds
from tests.local_runs import wait_until
from tests.scripted_api import Answer, Lines, NoAnswer, ScriptedApi, scripted_api, status

JOBS = jobs_path("photos")
AWAY = Answer(b"<html>Bad Gateway</html>", 502)
QUIET = Lines((), "wait")


class Signs:
    """Counts how often somebody was told to look."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ScriptedApi]:
    with scripted_api(tmp_path / "kubeconfig") as scripted:
        yield scripted


@pytest.fixture
def signs() -> Signs:
    return Signs()


@pytest.fixture
def watched(api: ScriptedApi, signs: Signs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Keeps the value of each Job. To be started when the answers stand; pauses are no longer than they must be."""
    monkeypatch.setattr(watch, "FIRST_PAUSE_SECONDS", 0.001)
    cluster = Cluster.connect(tmp_path / "kubeconfig", "photos", sleep=lambda seconds: None)
    made = Watch(cluster, JOBS, labels="app=trainyard", keep=lambda item: item["value"], changed=signs)
    yield made
    api.closing.set()
    made.stop()
    cluster.close()


def test_changes_are_followed(api: ScriptedApi, watched: Watch, signs: Signs) -> None:
    changes = (event("ADDED", "c", 3, 11), event("MODIFIED", "a", 10, 12), event("DELETED", "b", 2, 13))
    api.answers = [listed(10, a=1, b=2), Lines(changes, "wait")]
    watched.start()
    wait_until(lambda: watched.snapshot() == {"a": 10, "c": 3}, "the changes")
    assert signs.count == 4  # the list, and each change
    listing, watching = (asked.query for asked in api.asked)
    assert listing["labelSelector"] == watching["labelSelector"] == "app=trainyard"
    assert watching["resourceVersion"] == "10"
    assert watching["allowWatchBookmarks"] == "true"


def test_nobody_is_told_of_a_change_to_what_is_not_kept(api: ScriptedApi, watched: Watch, signs: Signs) -> None:
    api.answers = [listed(10, a=1), Lines((event("MODIFIED", "a", 1, 11), event("ADDED", "b", 2, 12)), "wait")]
    watched.start()
    wait_until(lambda: "b" in watched.snapshot(), "the second change")
    assert signs.count == 2


def test_before_the_first_list_nothing_is_known(api: ScriptedApi, watched: Watch) -> None:
    api.answers = [NoAnswer(waits=True)]
    watched.start()
    wait_until(lambda: api.asked, "the first request")
    assert not watched.synced
    assert not watched.wait_synced(timeout=0)
    assert watched.fresh_seconds == float("inf")


def test_an_empty_list_is_an_answer(api: ScriptedApi, watched: Watch, signs: Signs) -> None:
    api.answers = [listed(10), QUIET]
    watched.start()
    assert watched.wait_synced(timeout=60)
    wait_until(lambda: signs.count == 1, "the sign")
    assert watched.snapshot() == {}
    assert watched.fresh_seconds < float("inf")


def test_a_watch_that_ends_goes_on_where_it_was(api: ScriptedApi, watched: Watch) -> None:
    first = Lines((event("ADDED", "b", 2, 11), bookmark(25)))
    api.answers = [listed(10, a=1), first, Lines((event("DELETED", "a", 1, 26),), "wait")]
    watched.start()
    wait_until(lambda: watched.snapshot() == {"b": 2}, "the second watch")
    assert [asked.query.get("resourceVersion") for asked in api.asked] == [None, "10", "25"]


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(status(410, "Expired", "too old resource version: 10 (20)"), 410),
        Lines(({"type": "ERROR", "object": status(410, "Expired", "too old resource version")},)),
        Lines(({"type": "ERROR", "object": status(500, "InternalError", "etcd lost its leader")},)),
        Lines((), "break"),
        Lines((b'{"type": "MODIFIED", "obj\n',)),
        Lines((b"<html>\n",)),
        Lines(({"type": "MODIFIED"},)),
        Lines(({"type": "MODIFIED", "object": {"metadata": {}}},)),
        Lines(()),
        Answer(status(403, "Forbidden", "jobs.batch is forbidden"), 403),
        AWAY,
        NoAnswer(),
    ],
    ids=["410", "error-410", "error", "broken", "torn", "html", "no-object", "no-name", "silent", "403", "502", "lost"],
)
def test_after_any_trouble_all_is_listed_again(api: ScriptedApi, watched: Watch, trouble: Any) -> None:
    api.answers = [listed(10, a=1, b=2), trouble, listed(20, b=2, c=3), QUIET]
    watched.start()
    wait_until(lambda: watched.snapshot() == {"b": 2, "c": 3}, "the second list")
    wait_until(lambda: len(api.asked) == 4, "the second watch")
    assert api.asked[3].query["resourceVersion"] == "20"


def test_a_connection_without_a_sign_of_life_is_given_up(
    api: ScriptedApi, watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "QUIET_SECONDS", 0.05)
    api.answers = [listed(10, a=1), QUIET, listed(20, b=2), QUIET]
    watched.start()
    wait_until(lambda: watched.snapshot() == {"b": 2}, "the second list")


def test_nothing_disappears_while_the_server_is_away(api: ScriptedApi, watched: Watch) -> None:
    api.answers = [listed(10, a=1), Lines((), "break"), AWAY]
    watched.start()
    wait_until(lambda: len(api.asked) > 20, "many tries")
    assert watched.snapshot() == {"a": 1}
    assert watched.synced


def test_an_object_that_cannot_be_read_does_not_end_the_watch(api: ScriptedApi, watched: Watch) -> None:
    odd = {"type": "ADDED", "object": {"metadata": {"name": "odd", "resourceVersion": "11"}}}
    api.answers = [listed(10, a=1), Lines((odd,), "wait"), listed(20, b=2), QUIET]
    watched.start()
    wait_until(lambda: watched.snapshot() == {"b": 2}, "the second list")


def test_an_outage_is_told_once(api: ScriptedApi, watched: Watch, caplog: pytest.LogCaptureFixture) -> None:
    forbidden = Answer(status(403, "Forbidden", 'jobs.batch is forbidden: User "x" cannot list'), 403)
    api.answers = [forbidden]
    watched.start()
    wait_until(lambda: len(api.asked) > 5, "some tries")
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert 'User "x" cannot list' in told


def test_a_kind_that_the_cluster_does_not_know_is_told_with_what_to_do(
    api: ScriptedApi, watched: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    api.answers = [Answer(b"404 page not found", 404)]
    watched.start()
    wait_until(lambda: len(api.asked) > 1, "a second try")
    assert "apply charts/trainyard/crds" in caplog.text


def test_a_later_outage_is_told_again(
    api: ScriptedApi, watched: Watch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LONGEST_PAUSE_SECONDS", 0.0)  # after any time at all it is a later one
    broken = Lines((), "break")
    api.answers = [listed(10), broken, listed(20), broken, listed(30, a=1), QUIET]
    watched.start()
    wait_until(lambda: watched.snapshot() == {"a": 1}, "the third list")
    assert [record.levelname for record in caplog.records if record.name == watch.__name__] == ["WARNING"] * 2


@pytest.mark.parametrize("then", ["list", "watch"])
def test_stopping_ends_the_thread_at_once_and_keeps_what_is_known(api: ScriptedApi, watched: Watch, then: str) -> None:
    api.answers = [listed(10, a=1), QUIET] if then == "watch" else [listed(10, a=1), Lines(()), AWAY]
    watched.start()
    wait_until(lambda: len(api.asked) >= 2, "the watch")
    watched.stop()
    assert not running()
    assert watched.snapshot() == {"a": 1}


def test_pauses_grow_up_to_a_bound_and_are_out_of_step() -> None:
    assert [pause_seconds(failures, 1.0) for failures in (1, 2, 3, 4, 5)] == [0.5, 1.0, 2.0, 4.0, 5.0]
    assert pause_seconds(1, 0.0) == 0.25
    assert pause_seconds(10_000, 1.0) == LONGEST_PAUSE_SECONDS


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("watch ")]


def listed(version: int, **values: int) -> Answer:
    return Answer({"metadata": {"resourceVersion": str(version)}, "items": [_job(*each) for each in values.items()]})


def event(kind: str, name: str, value: int, version: int) -> dict[str, Any]:
    return {"type": kind, "object": _job(name, value, version)}


def bookmark(version: int) -> dict[str, Any]:
    return {"type": "BOOKMARK", "object": {"kind": "Job", "metadata": {"resourceVersion": str(version)}}}


def _job(name: str, value: int, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "value": value}
