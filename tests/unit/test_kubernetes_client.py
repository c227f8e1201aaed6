"""What the controller does about an API server that is busy, away, or talks rubbish."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from controller.backend import BackendUnavailable, JobRefused, JobSpec
from controller.kubernetes import client
from controller.kubernetes.client import Cluster
from controller.kubernetes.credentials import BadKubeconfig
from controller.kubernetes.errors import (
    ClusterError,
    ClusterUnavailable,
    Conflict,
    Forbidden,
    Gone,
    InternalError,
    NotFound,
    Refused,
    Throttled,
)
from controller.kubernetes.jobs import KubernetesJobs
from controller.kubernetes.paths import events_path, jobs_path, namespace_path, pods_path, resource_of, sessions_path
from controller.kubernetes.retries import RETRY_SECONDS
from tests.cluster.installations import kubernetes_settings
from tests.scripted_api import Answer, NoAnswer, ScriptedApi, scripted_api, status, write_kubeconfig

JOBS = jobs_path("photos")
JOB = jobs_path("photos", "embed")
MADE = Answer({"kind": "Job", "metadata": {"name": "embed"}}, 201)
FOUND = Answer(MADE.body)
BUSY = Answer(status(429, "TooManyRequests", "Too many requests"), 429, {"Retry-After": "1"})
STARTING = Answer(status(503, "ServiceUnavailable", "starting"), 503, {"Retry-After": "1"})
AWAY = Answer(b"<html>Bad Gateway</html>", 502)


class Clock:
    """Time passes only where it is slept through."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ScriptedApi]:
    with scripted_api(tmp_path / "kubeconfig") as scripted:
        yield scripted


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster(api: ScriptedApi, clock: Clock, tmp_path: Path) -> Iterator[Cluster]:
    connected = Cluster.connect(tmp_path / "kubeconfig", "photos", clock=lambda: clock.now, sleep=clock.sleep)
    yield connected
    connected.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Gone),
        (422, Refused),
        (429, Throttled),
        (500, ClusterUnavailable),
        (504, ClusterUnavailable),
    ],
)
def test_every_refusal_is_of_a_kind_and_carries_the_servers_sentence(
    api: ScriptedApi, cluster: Cluster, code: int, kind: type[ClusterError]
) -> None:
    api.answers = [Answer(status(code, "ItsReason", "a sentence of the server"), code)]
    with pytest.raises(kind) as caught:
        cluster.create(JOBS, {"kind": "Job"})
    error = caught.value
    assert (error.code, error.reason, error.sentence) == (kind.__name__, "ItsReason", "a sentence of the server")
    assert str(error).startswith(f"create {JOBS}: a sentence of the server.")


def test_an_error_of_one_request_is_told_from_a_server_that_is_away(api: ScriptedApi, cluster: Cluster) -> None:
    webhook = 'failed calling webhook "mjob.kb.io": connection refused'
    api.answers = [Answer(status(500, "InternalError", webhook), 500)]
    with pytest.raises(InternalError, match="mjob"):
        cluster.create(JOBS, {"kind": "Job"})
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("code", "reason", "word"),
    [
        (500, "InternalError", "Admission"),
        (403, "Forbidden", "Admission"),
        (422, "Invalid", "Admission"),
        (409, "Conflict", "Admission"),
    ],
)
def test_what_is_refused_of_one_job_is_of_that_job_alone(
    api: ScriptedApi, cluster: Cluster, code: int, reason: str, word: str
) -> None:
    settings = kubernetes_settings("photos")
    jobs = KubernetesJobs(cluster, settings, UUID(int=1), lambda _: None, lambda: None)
    api.answers = [Answer(status(code, reason, "not now"), code)]
    with pytest.raises(JobRefused, match="not now") as refused:
        jobs.create(JobSpec(7, "embed", 1, 1, "token"))
    assert refused.value.code == word


@pytest.mark.parametrize(("code", "reason"), [(401, "Unauthorized"), (429, "TooManyRequests"), (503, "")])
def test_what_says_nothing_of_one_job_is_an_outage(api: ScriptedApi, cluster: Cluster, code: int, reason: str) -> None:
    jobs = KubernetesJobs(cluster, kubernetes_settings("photos"), UUID(int=1), lambda _: None, lambda: None)
    api.answers = [Answer(status(code, reason, "not now"), code)]
    with pytest.raises(BackendUnavailable, match="not now"):
        jobs.create(JobSpec(7, "embed", 1, 1, "token"))


def test_a_read_is_repeated_until_the_server_is_back(api: ScriptedApi, cluster: Cluster, clock: Clock) -> None:
    api.answers = [AWAY, NoAnswer(), BUSY, FOUND]
    assert cluster.get(JOB) == FOUND.body
    assert clock.slept == [0.1, 0.2, 1.0]  # as long as the server asked for, where that is longer


def test_a_read_is_given_up_within_a_short_time(api: ScriptedApi, cluster: Cluster, clock: Clock) -> None:
    api.answers = [AWAY]
    with pytest.raises(ClusterUnavailable, match=r"get .*/jobs/embed: HTTP 502\. It is asked again"):
        cluster.get(JOB)
    assert len(api.asked) > 2
    assert clock.now <= RETRY_SECONDS


@pytest.mark.parametrize("answer", [AWAY, NoAnswer(), Answer(status(503, "ServiceUnavailable", "away"), 503)])
@pytest.mark.parametrize("verb", ["create", "patch", "delete"])
def test_a_write_that_may_have_happened_is_sent_once(
    api: ScriptedApi, cluster: Cluster, verb: str, answer: Answer | NoAnswer
) -> None:
    api.answers = [answer]
    with pytest.raises(ClusterUnavailable):
        write(cluster, verb)
    assert len(api.asked) == 1


@pytest.mark.parametrize("answer", [BUSY, STARTING])
@pytest.mark.parametrize("verb", ["create", "patch", "delete"])
def test_a_write_that_did_not_begin_is_sent_again(
    api: ScriptedApi, cluster: Cluster, clock: Clock, verb: str, answer: Answer
) -> None:
    api.answers = [answer, FOUND]
    write(cluster, verb)
    first, second = api.asked
    assert first.body == second.body
    assert clock.slept == [1.0]


def test_a_server_that_asks_for_a_long_rest_is_left_alone(api: ScriptedApi, cluster: Cluster, clock: Clock) -> None:
    api.answers = [Answer(status(429, "TooManyRequests", "busy"), 429, {"Retry-After": "60"})]
    with pytest.raises(Throttled) as caught:
        cluster.get(JOB)
    assert caught.value.retry_after_seconds == 60
    assert not clock.slept


def test_the_guard_stands_before_every_write_and_no_read(api: ScriptedApi, cluster: Cluster) -> None:
    left = iter([True, True, False])

    class TermOver(Exception):
        pass

    def guard() -> None:
        if not next(left):
            raise TermOver

    cluster.guard = guard
    api.answers = [FOUND, MADE, BUSY]
    cluster.get(JOB)
    cluster.create(JOBS, {"kind": "Job"})
    with pytest.raises(TermOver):  # before the second try: the term ended while the server was busy
        cluster.create(JOBS, {"kind": "Job"})
    assert [asked.method for asked in api.asked] == ["GET", "POST", "POST"]


def test_a_list_whose_pages_expire_is_begun_again(api: ScriptedApi, cluster: Cluster) -> None:
    expired = Answer(status(410, "Expired", "The provided continue parameter is too old"), 410)
    api.answers = [page("a", rest="2"), expired, page("a", "b", rest="3"), page("c")]
    listing = cluster.list(JOBS, labels="app=trainyard", page=2, keep=lambda item: item["metadata"]["name"])
    assert listing.items == ["a", "b", "c"]
    assert listing.resource_version == "7"
    assert [asked.query.get("continue") for asked in api.asked] == [None, "2", None, "3"]
    assert api.asked[3].query == {"labelSelector": "app=trainyard", "limit": "2", "continue": "3"}


def test_a_list_that_always_expires_is_given_up(api: ScriptedApi, cluster: Cluster) -> None:
    api.answers = [Answer(status(410, "Expired", "too old"), 410)]
    with pytest.raises(Gone):
        cluster.list(JOBS)


def test_a_page_of_a_proxy_is_no_answer(api: ScriptedApi, cluster: Cluster) -> None:
    api.answers = [Answer(b"<html>Please log in</html>")]
    with pytest.raises(ClusterUnavailable, match="the answer is no JSON object"):
        cluster.get(JOB)


def test_a_server_that_says_nothing_is_not_waited_for(
    api: ScriptedApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READ_SECONDS", 0.05)
    api.answers = [NoAnswer(waits=True)]
    with pytest.raises(ClusterUnavailable, match="timed out"):
        cluster.delete(JOB)


def test_a_server_that_is_not_there_is_named(tmp_path: Path, clock: Clock) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    cluster = Cluster.connect(tmp_path / "kubeconfig", "photos", clock=lambda: clock.now, sleep=clock.sleep)
    with pytest.raises(ClusterUnavailable, match=r"list .*/jobs: no answer, .*127.0.0.1.*refused"):
        cluster.list(JOBS)


def test_a_delete_carries_its_conditions(api: ScriptedApi, cluster: Cluster) -> None:
    api.answers = [Answer(status(404, "NotFound", "gone already"), 404)]
    cluster.delete(JOB, uid="an-uid", propagation="Foreground", grace_seconds=5)
    assert api.asked[0].body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "an-uid"},
        "propagationPolicy": "Foreground",
        "gracePeriodSeconds": 5,
    }


def test_requests_are_counted_as_a_role_names_them(api: ScriptedApi, cluster: Cluster) -> None:
    api.answers = [AWAY, FOUND]
    cluster.get(JOB)
    cluster.patch(sessions_path("photos", "holiday", status=True), {"status": {}})
    assert cluster.requests == {("get", "jobs"): 2, ("patch", "trainingsessions/status"): 1}
    assert {asked.headers["authorization"] for asked in api.asked} == {"Bearer of-a-test"}
    assert {asked.headers["user-agent"] for asked in api.asked} == {"trainyard-controller"}


def test_a_roles_name_is_read_off_any_address() -> None:
    paths = [jobs_path("a"), pods_path("a", "x"), events_path("a"), sessions_path("a", "x"), "/readyz"]
    assert [resource_of(path) for path in paths] == ["jobs", "pods", "events", "trainingsessions", "/readyz"]
    assert resource_of(namespace_path("photos")) == "namespaces"


@pytest.mark.parametrize(
    "text", [None, "", "no: [yaml", "[]", "current-context: gone"], ids=["missing", "empty", "torn", "list", "context"]
)
def test_an_unusable_kubeconfig_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadKubeconfig, match=str(path)):
        Cluster.connect(path, "photos")


def test_outside_of_a_pod_a_kubeconfig_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(BadKubeconfig, match="name a kubeconfig"):
        Cluster.connect(None, "photos")


def write(cluster: Cluster, verb: str) -> None:
    match verb:
        case "create":
            cluster.create(JOBS, {"kind": "Job"})
        case "patch":
            cluster.patch(JOB, {"spec": {}})
        case "delete":
            cluster.delete(JOB)


def page(*names: str, rest: str = "") -> Answer:
    metadata = {"resourceVersion": "7"} | ({"continue": rest} if rest else {})
    return Answer({"metadata": metadata, "items": [{"metadata": {"name": name}} for name in names]})
