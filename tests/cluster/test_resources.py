"""Resources and rows kept in step, on the real API server and a real PostgreSQL; what workers do are row updates."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa

from controller import lease as leases
from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import ClusterUnavailable, NotFound
from controller.kubernetes.manifests import Owner
from controller.kubernetes.paths import sessions_path
from controller.kubernetes.resource_apply import ResourceApplier
from controller.kubernetes.resource_mirror import ResourceMirror
from controller.kubernetes.resource_plan import DeleteResource, EndWithResource, MakeResource, ResourceAction
from controller.kubernetes.resource_rows import read_requested
from controller.kubernetes.resource_spec import resource_manifest
from controller.kubernetes.resource_writes import StatusWrites
from controller.lease import Lease, LeaseLost
from tests.cluster.accounts import controller_account
from tests.cluster.control_plane import ControlPlane
from tests.local_runs import wait_until
from tests.rows import add_session, add_step, session_row
from trainyard import sessions
from trainyard.database import Database
from trainyard.lifecycle import request
from trainyard.tables import controller_lease, steps, training_sessions

DEFAULTS = {"untrained": True, "face_engine": "insightface"}
LONGEST_TEXT = "x" * 40_000


@dataclass
class Installation:
    """One namespace, one database, and a controller that does nothing but keep both in step."""

    control_plane: ControlPlane
    database: Database
    cluster: Cluster
    lease: Lease
    mirrors: list[ResourceMirror] = field(default_factory=list)

    def start(self) -> None:
        """A controller; the one before is dead, and what it knew with it."""
        if self.mirrors:
            self.mirrors[-1].stop_watching()
        self.mirrors.append(ResourceMirror(self.cluster, self.database, DEFAULTS, changed=lambda: None))
        self.mirror.start()
        assert self.mirror.wait_synced(60)

    @property
    def mirror(self) -> ResourceMirror:
        return self.mirrors[-1]

    def reconcile(self) -> list[ResourceAction]:
        return [*self.mirror.follow(self.lease), *self.mirror.show(self.lease)[0]]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Pass by pass, until it is so."""

        def look() -> Any:
            self.reconcile()
            return condition()

        return wait_until(look, what)

    # Kubernetes' side

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.control_plane.kubectl(*arguments, f"--namespace={self.cluster.namespace}", **options)

    def apply(self, name: str, **spec: Any) -> str:
        """As an operator does; the resource's uid."""
        wanted = {"apiVersion": "trainyard.dev/v1alpha1", "kind": "TrainingSession", "metadata": {"name": name}}
        manifest = json.dumps({**wanted, "spec": {"rootPath": "/photos", **spec}})
        return str(
            json.loads(self.kubectl("apply", "--filename=-", "--output=json", stdin=manifest))["metadata"]["uid"]
        )

    def suspend(self, name: str, suspended: bool) -> None:
        self.kubectl("patch", "ts", name, "--type=merge", f"--patch={json.dumps({'spec': {'suspend': suspended}})}")

    def resource(self, name: str) -> dict[str, Any]:
        return self.cluster.get(sessions_path(self.cluster.namespace, name))

    def names(self) -> list[str]:
        items = self.cluster.list(sessions_path(self.cluster.namespace)).items
        return sorted(item["metadata"]["name"] for item in items)

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.resource(name).get("status", {}))

    def condition(self, name: str, type: str) -> dict[str, Any]:
        return {each["type"]: each for each in self.status(name)["conditions"]}[type]

    def reasons(self, name: str) -> list[str]:
        """Of the events about this resource."""
        about = f"involvedObject.kind=TrainingSession,involvedObject.name={name}"
        found = self.control_plane.get("events", f"--namespace={self.cluster.namespace}", f"--field-selector={about}")
        return sorted(event["reason"] for event in found["items"])

    # The rows' side

    def add(self, **columns: Any) -> int:
        """A session as the API makes it; its id."""
        return self.database.transact(lambda connection: add_session(connection, **columns))

    def rows(self) -> list[dict[str, Any]]:
        ids = sa.select(training_sessions.c.id).order_by(training_sessions.c.id)
        return self.database.transact(lambda c: [session_row(c, id) for id in c.scalars(ids)])

    def row(self, session_id: int) -> dict[str, Any]:
        return self.database.transact(lambda c: session_row(c, session_id))

    def change(self, session_id: int, **columns: Any) -> None:
        changed = sa.update(training_sessions).where(training_sessions.c.id == session_id).values(**columns)
        self.database.transact(lambda c: c.execute(changed))

    def ask(self, session_id: int, verb: str) -> tuple[int, str]:
        answer = self.database.transact(lambda c: request(c, session_id, verb))
        return answer.status, answer.code

    def mirrored(self, name: str) -> int:
        """The session of this resource, once the resource shows it."""
        return int(self.until(lambda: self.status(name).get("sessionId"), f"the status of {name}"))


@pytest.fixture
def installation(with_crd: ControlPlane, namespace: str, database_url: str) -> Iterator[Installation]:
    kubeconfig = controller_account(with_crd, namespace)
    with closing(Database(database_url)) as database, closing(Cluster.connect(kubeconfig, namespace)) as cluster:
        made = Installation(with_crd, database, cluster, leases.take(database, "controller"))
        # No test is about how long a lease holds; those that lose it say so.
        database.transact(lambda c: c.execute(sa.update(controller_lease).values(expires_at=sa.text("'infinity'"))))
        made.start()
        yield made
        made.mirror.stop_watching()


# A session by kubectl


def test_a_resource_makes_a_session_of_what_it_says(installation: Installation) -> None:
    faces = {"enabled": True, "minConfidence": 0.7, "minFaceSize": 32}
    uid = installation.apply("holiday", subdirectories=["b", "a"], category="Summer", faceDetection=faces)
    row = installation.row(installation.mirrored("holiday"))
    assert (row["root_path"], row["requested"], row["suspended"], row["status"]) == ("/photos", "run", False, "pending")
    assert (row["resource_name"], row["resource_uid"], row["resource_gone_at"]) == ("holiday", uid, None)
    assert row["options"] == {**DEFAULTS, "faces": True, "min_confidence": 0.7, "min_face_size_px": 32}
    requested = installation.database.transact(lambda c: read_requested(c, row["id"]))
    assert (requested.subdirectories, requested.category) == (["a", "b"], "Summer")
    assert installation.mirror.owner_of(row["id"]) == Owner("holiday", uid)


def test_a_resource_makes_one_session_whatever_becomes_of_the_controller(installation: Installation) -> None:
    installation.apply("holiday")
    session_id = installation.mirrored("holiday")
    installation.start()
    assert installation.reconcile() == []
    installation.change(session_id, status="completed")
    installation.until(lambda: installation.status("holiday")["overallStatus"] == "completed", "the end")
    installation.start()
    assert installation.reconcile() == []
    assert len(installation.rows()) == 1
    assert installation.names() == ["holiday"]


def test_the_same_name_applied_again_is_a_new_session(installation: Installation) -> None:
    installation.apply("holiday")
    first = installation.mirrored("holiday")
    installation.kubectl("delete", "ts", "holiday")
    installation.apply("holiday")  # before any controller has looked
    installation.until(lambda: installation.status("holiday").get("sessionId") == first + 1, "the new session")
    old, new = installation.rows()
    assert (old["requested"], old["resource_gone_at"] is None) == ("cancel", False)
    assert (new["requested"], new["resource_gone_at"], new["resource_name"]) == ("run", None, "holiday")


def test_a_resource_elsewhere_is_not_touched(installation: Installation) -> None:
    manifest = {"apiVersion": "trainyard.dev/v1alpha1", "kind": "TrainingSession"}
    name = f"of-{installation.cluster.namespace}"
    made = {**manifest, "metadata": {"name": name}, "spec": {"rootPath": "/photos"}}
    elsewhere = installation.control_plane.create(made, "default")
    installation.apply("holiday")
    installation.mirrored("holiday")
    assert len(installation.rows()) == 1
    assert installation.control_plane.get("ts", name) == elsewhere
    installation.control_plane.kubectl("delete", "ts", name)


def test_the_longest_that_can_be_applied_makes_a_session(installation: Installation) -> None:
    """Of characters that take the most room, and no two alike."""
    letters = random.Random(5)
    longest = ["".join(map(chr, letters.choices(range(0x4E00, 0x9FFF), k=4_095))) for _ in range(20)]
    spec = {"rootPath": f"/{longest[0]}", "subdirectories": longest, "category": longest[0][:200]}
    manifest = {"apiVersion": "trainyard.dev/v1alpha1", "kind": "TrainingSession", "metadata": {"name": "long"}}
    installation.cluster.create(sessions_path(installation.cluster.namespace), {**manifest, "spec": spec})
    assert installation.row(installation.mirrored("long"))["root_path"] == spec["rootPath"]


# A session by the API


def test_a_session_of_the_api_gets_a_resource_once(installation: Installation) -> None:
    session_id = installation.add(options={"faces": False})
    name = f"session-{session_id}"
    assert installation.mirrored(name) == session_id
    made = installation.resource(name)
    assert made["spec"] == {"rootPath": "/photos", "faceDetection": {"enabled": False}, "suspend": False}
    assert installation.row(session_id)["resource_uid"] == made["metadata"]["uid"]
    installation.kubectl("delete", "ts", name)
    installation.until(lambda: installation.row(session_id)["resource_gone_at"], "its end to be noticed")
    installation.start()
    assert installation.reconcile() == []
    assert installation.names() == []
    assert len(installation.rows()) == 1


def test_a_session_that_comes_in_the_midst_of_a_pass_has_its_resource_before_its_job(
    installation: Installation,
) -> None:
    installation.reconcile()
    session_id = installation.add()
    owner = installation.mirror.owner_of(session_id)
    assert owner == Owner(f"session-{session_id}", installation.resource(f"session-{session_id}")["metadata"]["uid"])
    assert installation.mirror.owner_of(session_id) == owner
    assert installation.names() == [f"session-{session_id}"]


def test_a_resource_that_is_gone_is_made_anew_for_no_job(installation: Installation) -> None:
    installation.apply("holiday")
    session_id = installation.mirrored("holiday")
    installation.kubectl("delete", "ts", "holiday")
    installation.until(lambda: installation.row(session_id)["resource_gone_at"], "the end")
    assert installation.mirror.owner_of(session_id) is None
    assert installation.names() == []


def test_a_resource_made_by_a_controller_that_died_is_taken_up(installation: Installation) -> None:
    session_id = installation.add()
    requested = installation.database.transact(lambda c: read_requested(c, session_id))
    path = sessions_path(installation.cluster.namespace)
    made = installation.cluster.create(path, resource_manifest(requested, installation.cluster.namespace, 0))
    assert installation.mirrored(f"session-{session_id}") == session_id
    assert installation.row(session_id)["resource_uid"] == made["metadata"]["uid"]
    assert len(installation.rows()) == len(installation.names()) == 1


def test_and_so_it_is_when_the_watch_has_not_seen_it(installation: Installation) -> None:
    session_id = installation.add()
    requested = installation.database.transact(lambda c: read_requested(c, session_id))
    path = sessions_path(installation.cluster.namespace)
    made = installation.cluster.create(path, resource_manifest(requested, installation.cluster.namespace, 0))
    assert apply(installation, MakeResource(session_id))
    assert installation.row(session_id)["resource_uid"] == made["metadata"]["uid"]
    assert installation.names() == [f"session-{session_id}"]


def test_a_stranger_of_its_name_is_left_alone(installation: Installation) -> None:
    session_id = installation.add()
    uid = installation.apply(f"session-{session_id}", rootPath="/elsewhere")
    assert installation.mirrored(f"session-{session_id}-1") == session_id
    assert installation.mirrored(f"session-{session_id}") == session_id + 1
    assert installation.row(session_id + 1)["resource_uid"] == uid
    assert installation.row(session_id)["root_path"] == "/photos"


def test_a_session_that_can_have_no_resource_is_not_asked_for_again_and_again(installation: Installation) -> None:
    installation.add(root_path="relative")
    assert installation.reconcile() == []
    assert installation.reconcile() == []
    assert installation.cluster.requests["create", "trainingsessions"] == 1


def test_a_session_deleted_through_the_api_takes_its_resource_along(installation: Installation) -> None:
    installation.apply("holiday")
    session_id = installation.mirrored("holiday")
    installation.change(session_id, status="failed")
    installation.database.transact(lambda c: sessions.delete(c, session_id))
    installation.until(lambda: not installation.names(), "the resource to go")
    installation.until(lambda: installation.row(session_id)["resource_gone_at"], "that to be written down")
    assert installation.row(session_id)["requested"] == "run"
    installation.apply("holiday")
    assert installation.mirrored("holiday") == session_id + 1


def test_another_resource_of_the_name_is_not_deleted_in_its_stead(installation: Installation) -> None:
    session_id = installation.add(
        status="failed", resource_name="holiday", resource_uid="another", deleted_at=sa.func.now()
    )
    installation.apply("holiday")
    assert apply(installation, DeleteResource(session_id, "holiday", "another"))
    assert installation.names() == ["holiday"]
    assert installation.row(session_id)["resource_gone_at"] is not None


# The end of a resource


def test_deleting_a_resource_cancels_its_session_for_good(installation: Installation) -> None:
    installation.apply("holiday", suspend=True)
    session_id = installation.mirrored("holiday")
    installation.kubectl("delete", "ts", "holiday")
    installation.until(lambda: installation.row(session_id)["requested"] == "cancel", "the cancelling")
    row = installation.row(session_id)
    assert row["resource_gone_at"] is not None
    assert not row["suspended"]
    assert installation.mirror.owner_of(session_id) is None
    assert installation.ask(session_id, "retry") == (409, "ResourceGone")


def test_what_has_ended_stays_as_it_ended(installation: Installation) -> None:
    installation.apply("holiday")
    session_id = installation.mirrored("holiday")
    installation.change(session_id, status="failed")
    installation.kubectl("delete", "ts", "holiday")
    installation.until(lambda: installation.row(session_id)["resource_gone_at"], "its end to be noticed")
    assert (installation.row(session_id)["status"], installation.row(session_id)["requested"]) == ("failed", "run")


def test_a_retry_that_has_not_begun_goes_with_the_resource(installation: Installation) -> None:
    installation.apply("holiday")
    session_id = installation.mirrored("holiday")
    installation.change(session_id, status="failed")
    assert installation.ask(session_id, "retry") == (202, "Accepted")
    installation.kubectl("delete", "ts", "holiday")
    installation.until(lambda: installation.row(session_id)["requested"] == "cancel", "the cancelling")


def test_a_resource_that_waits_for_its_dependents_is_at_its_end(installation: Installation) -> None:
    installation.apply("holiday")
    session_id = installation.mirrored("holiday")
    keep = json.dumps({"metadata": {"finalizers": ["example.com/keep"]}})
    installation.kubectl("patch", "ts", "holiday", "--type=merge", f"--patch={keep}")
    installation.kubectl("delete", "ts", "holiday", "--wait=false")
    installation.until(lambda: installation.row(session_id)["requested"] == "cancel", "the cancelling")
    assert installation.names() == ["holiday"]
    assert installation.reconcile() == []
    free = json.dumps({"metadata": {"finalizers": None}})
    installation.kubectl("patch", "ts", "holiday", "--type=merge", f"--patch={free}")


def test_a_watch_that_is_late_makes_nothing_look_gone(installation: Installation) -> None:
    installation.mirror.stop_watching()
    uid = installation.apply("holiday")
    session_id = installation.add(resource_name="holiday", resource_uid=uid)
    assert installation.reconcile() == []
    assert installation.row(session_id)["requested"] == "run"
    assert installation.cluster.requests["list", "trainingsessions"] == 2  # the watch's, and one to make sure


def test_an_api_server_that_is_away_makes_nothing_look_gone(installation: Installation) -> None:
    installation.apply("holiday")
    session_id = installation.mirrored("holiday")
    with installation.control_plane.outage():
        assert installation.reconcile() == []
        installation.change(session_id, status="completed")
        with pytest.raises(ClusterUnavailable):
            installation.reconcile()
        with pytest.raises(ClusterUnavailable):
            apply(installation, EndWithResource(session_id, "holiday", installation.row(session_id)["resource_uid"]))
    assert installation.row(session_id)["resource_gone_at"] is None
    installation.until(lambda: installation.status("holiday")["overallStatus"] == "completed", "the status")


def test_without_a_full_list_nothing_is_done(installation: Installation) -> None:
    unsynced = ResourceMirror(installation.cluster, installation.database, DEFAULTS, changed=lambda: None)
    installation.add()
    with pytest.raises(ClusterUnavailable, match="not listed yet"):
        unsynced.follow(installation.lease)
    assert installation.names() == []


def test_a_resource_that_stands_although_it_was_written_down_as_gone_tells_the_end(installation: Installation) -> None:
    """As a controller leaves it that looked at a wrong namespace."""
    installation.apply("holiday")
    session_id = installation.mirrored("holiday")
    installation.change(session_id, resource_gone_at=sa.func.now(), requested="cancel", status="cancelled")
    installation.start()
    installation.until(lambda: installation.status("holiday")["overallStatus"] == "cancelled", "the status")
    assert "was taken to be deleted" in installation.condition("holiday", "Complete")["message"]
    installation.suspend("holiday", True)
    installation.until(lambda: installation.status("holiday")["observedGeneration"] == 2, "the new generation")
    assert installation.until(lambda: not installation.reconcile(), "rest")
    row = installation.row(session_id)
    assert (row["status"], row["suspended"], row["resource_gone_at"] is None) == ("cancelled", False, False)
    assert len(installation.rows()) == 1
    assert installation.names() == ["holiday"]
    assert installation.mirror.owner_of(session_id) is None
    assert installation.reasons("holiday") == ["Cancelled", "SessionCreated"]


# Two brakes


def test_spec_suspend_and_the_apis_pause_are_never_copied_into_each_other(installation: Installation) -> None:
    installation.apply("holiday", suspend=True)
    session_id = installation.mirrored("holiday")
    assert (installation.row(session_id)["suspended"], installation.row(session_id)["requested"]) == (True, "run")
    assert installation.ask(session_id, "resume") == (409, "SuspendedByResource")
    assert installation.ask(session_id, "pause") == (202, "Accepted")
    installation.suspend("holiday", False)
    installation.until(lambda: not installation.row(session_id)["suspended"], "the brake to be lifted")
    assert installation.row(session_id)["requested"] == "pause"
    assert installation.ask(session_id, "resume") == (202, "Accepted")
    assert installation.resource("holiday")["spec"]["suspend"] is False


# Status


def test_kubectl_shows_what_the_rows_say(installation: Installation) -> None:
    installation.apply("archive")
    session_id = installation.mirrored("archive")

    def detecting(connection: sa.Connection) -> None:
        for step, done in (("discover", 12_000), ("embed", 12_000), ("detect", 6_000)):
            status = "running" if step == "detect" else "completed"
            counts = {"faces": 8_311} if step == "detect" else {}
            add_step(connection, session_id, step, status, total=12_000, done=done, counts=counts)
        add_step(connection, session_id, "cluster")

    installation.database.transact(detecting)
    waiting = {
        "waiting_code": "Unschedulable",
        "waiting_message": "0/14 nodes are available.",
        "waiting_since": sa.func.now(),
    }
    weights = {"training": 30, "faceDetection": 65, "clustering": 5}
    installation.change(session_id, status="running", total=12_000, weights=weights, **waiting)
    installation.until(lambda: installation.status("archive")["overallStatus"] == "running", "the status")
    header, line = installation.kubectl("get", "trainingsessions").splitlines()
    assert header.split() == ["NAME", "STATUS", "PHASE", "PROGRESS", "WAITING", "ETA", "IMAGES", "FACES", "AGE"]
    shown = ["archive", "running", "faceDetection", "62%", "Unschedulable", "12000", "8311"]
    assert line.split()[:-1] == shown  # no time left is told while it waits
    assert "0/14 nodes are available." in installation.kubectl("describe", "ts", "archive")
    assert installation.condition("archive", "Stalled")["reason"] == "Unschedulable"
    installation.change(session_id, status="completed", waiting_code=None, waiting_message=None, waiting_since=None)
    installation.until(lambda: installation.status("archive")["overallStatus"] == "completed", "the end")
    installation.kubectl("wait", "ts", "archive", "--for=condition=Complete", "--timeout=10s")
    assert "waiting" not in installation.status("archive")
    assert installation.status("archive")["progress"] == "100%"


def test_a_failure_is_told_with_its_code_and_sentence(installation: Installation) -> None:
    installation.apply("archive")
    session_id = installation.mirrored("archive")
    installation.change(session_id, status="failed", failure_code="RootNotFound", failure_message=LONGEST_TEXT)
    installation.until(lambda: installation.status("archive")["overallStatus"] == "failed", "the end")
    failed = installation.condition("archive", "Failed")
    assert (failed["status"], failed["reason"]) == ("True", "RootNotFound")
    assert LONGEST_TEXT.startswith(failed["message"])


def test_a_status_is_written_when_it_differs_and_not_again(installation: Installation) -> None:
    installation.apply("archive")
    session_id = installation.mirrored("archive")
    written = status_writes(installation)
    for _ in range(3):
        assert installation.reconcile() == []
    assert status_writes(installation) == written
    installation.change(session_id, status="running", total=12)
    assert len(installation.reconcile()) == 1
    assert installation.reconcile() == []  # whatever the watch shows by now
    assert status_writes(installation) == written + 1
    assert (installation.status("archive")["overallStatus"], installation.status("archive")["images"]) == (
        "running",
        12,
    )


def test_a_status_that_somebody_else_wrote_is_put_right(installation: Installation) -> None:
    """Also that of a session which has ended, and is not looked at any more."""
    installation.apply("archive")
    session_id = installation.mirrored("archive")
    installation.change(session_id, status="completed")
    installation.until(lambda: installation.status("archive")["overallStatus"] == "completed", "the end")
    installation.until(lambda: not installation.reconcile(), "rest")
    wrong = json.dumps({"status": {"overallStatus": "running"}})
    installation.kubectl("patch", "ts", "archive", "--subresource=status", "--type=merge", f"--patch={wrong}")
    installation.until(lambda: installation.status("archive")["overallStatus"] == "completed", "the truth")


def test_the_status_says_which_spec_it_is_about(installation: Installation) -> None:
    installation.apply("archive")
    installation.mirrored("archive")
    installation.suspend("archive", True)
    installation.until(lambda: installation.status("archive")["observedGeneration"] == 2, "the new generation")
    assert installation.condition("archive", "Suspended")["observedGeneration"] == 2


# Events


def test_kubectl_describe_tells_the_story(installation: Installation) -> None:
    installation.apply("archive")
    session_id = installation.mirrored("archive")
    waiting = {"waiting_code": "Unschedulable", "waiting_message": "0/14 nodes are available: 14 too small."}
    nothing = {"waiting_code": None, "waiting_message": None}
    for columns in (
        waiting,
        {"status": "running", "total": 12_000, **nothing},
        {"status": "paused", "requested": "pause"},
        {"status": "running", "requested": "run"},
        {"status": "completed"},
    ):
        installation.change(session_id, **columns)
        assert len(installation.reconcile()) == 1
        assert installation.reconcile() == []
    assert sorted(described(installation, "archive")) == [
        "Normal Completed trainyard-controller Every phase is done; images: 12,000, faces: 0.",
        "Normal Progressing trainyard-controller The session waits no more: Unschedulable is over.",
        "Normal Resumed trainyard-controller A resume was requested through the API.",
        f"Normal SessionCreated trainyard-controller This is session {session_id} in the database and the API.",
        "Normal Suspended trainyard-controller A pause was requested through the API.",
        "Normal TrainingStarted trainyard-controller Phase training has begun; 0% of the session is done.",
        "Warning Unschedulable trainyard-controller 0/14 nodes are available: 14 too small.",
    ]
    assert "Unschedulable" in installation.kubectl("events", "--for=ts/archive", "--types=Warning")
    assert installation.cluster.requests["create", "events"] == 7


def test_workers_that_crash_over_and_over_are_told_attempt_by_attempt(installation: Installation) -> None:
    installation.apply("archive")
    session_id = installation.mirrored("archive")
    failure = {"failure_code": "CudaError", "failure_message": "the card fell off the bus"}

    def crash(connection: sa.Connection, failures: int, status: str = "pending") -> None:
        embed = sa.update(steps).where(steps.c.session_id == session_id, steps.c.step == "embed")
        connection.execute(embed.values(status=status, failures=failures, **failure))

    def begin(connection: sa.Connection) -> None:
        add_step(connection, session_id, "discover", "completed", failures=1)  # which succeeded after all
        add_step(connection, session_id, "embed", "running")

    installation.change(session_id, status="running", total=12)
    installation.database.transact(begin)
    installation.reconcile()
    assert "failedAttempts" not in installation.status("archive")
    for attempts in (1, 2):
        installation.database.transact(lambda c, attempts=attempts: crash(c, attempts))
        assert len(installation.reconcile()) == 1
        assert installation.reconcile() == []
        status = installation.status("archive")
        assert (status["failedStep"], status["failedAttempts"]) == ("embed", attempts)
        assert status["lastFailure"] == "CudaError: the card fell off the bus"
    installation.database.transact(lambda c: crash(c, 3, "failed"))
    installation.change(session_id, status="failed", **failure)
    assert len(installation.reconcile()) == 1
    assert not {"failedStep", "failedAttempts", "lastFailure"} & set(installation.status("archive"))
    assert sorted(line for line in described(installation, "archive") if line.startswith("Warning")) == [
        "Warning AttemptFailed trainyard-controller Attempt 1 of embed failed, CudaError: the card fell off the bus. "
        "It is tried again.",
        "Warning AttemptFailed trainyard-controller Attempt 2 of embed failed, CudaError: the card fell off the bus. "
        "It is tried again.",
        "Warning Failed trainyard-controller CudaError: the card fell off the bus",
    ]


def test_a_controller_that_dies_between_event_and_status_tells_nothing_twice(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.apply("archive")
    session_id = installation.mirrored("archive")
    installation.change(session_id, status="failed", failure_code="RootNotFound", failure_message=LONGEST_TEXT)
    with monkeypatch.context() as patched:
        patched.setattr(installation.cluster, "patch", die)
        with pytest.raises(Died):
            installation.reconcile()
    assert installation.status("archive")["overallStatus"] == "pending"
    assert installation.reasons("archive") == ["Failed", "SessionCreated"]
    installation.kubectl("label", "ts", "archive", "seen-by=an-operator")  # which makes another version of it
    installation.start()
    installation.until(lambda: installation.status("archive")["overallStatus"] == "failed", "the status")
    assert installation.cluster.requests["create", "events"] == 3
    assert installation.reasons("archive") == ["Failed", "SessionCreated"]


class Died(Exception):
    """As a controller does that is killed."""


def die(*_: Any, **__: Any) -> None:
    raise Died


def test_the_longest_name_has_its_events(installation: Installation) -> None:
    name = ".".join(["a" * 50] * 5)[:253]
    installation.apply(name)
    installation.mirrored(name)
    assert installation.reasons(name) == ["SessionCreated"]


def test_without_the_right_to_events_statuses_are_written(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    namespace = installation.cluster.namespace
    installation.kubectl("create", "serviceaccount", "silent")
    installation.kubectl("create", "role", "silent", "--verb=*", "--resource=trainingsessions,trainingsessions/status")
    installation.kubectl("create", "rolebinding", "silent", "--role=silent", f"--serviceaccount={namespace}:silent")
    kubeconfig = installation.control_plane.kubeconfig_of_service_account(namespace, "silent")
    installation.apply("archive")
    with closing(Cluster.connect(kubeconfig, namespace)) as cluster:
        mirror = ResourceMirror(cluster, installation.database, DEFAULTS, changed=lambda: None)
        silent = replace(installation, cluster=cluster, mirrors=[mirror])
        mirror.start()
        assert mirror.wait_synced(60)
        silent.change(silent.mirrored("archive"), status="completed")
        silent.until(lambda: silent.status("archive")["overallStatus"] == "completed", "the end")
        mirror.stop_watching()
    assert installation.reasons("archive") == []
    (said,) = [record.message for record in caplog.records if "told nobody" in record.message]
    assert 'cannot create resource "events"' in said


def described(installation: Installation, name: str) -> list[str]:
    """Type, reason, source and message of every event, as `kubectl describe` lists them; without the age."""
    shown = installation.kubectl("describe", "ts", name)
    print(shown)
    _, _, events = shown.partition("\nEvents:")
    cells = [line.split(maxsplit=4) for line in events.splitlines()[3:]]
    return [" ".join([*cell[:2], *cell[3:]]) for cell in cells]


# A database restored from a backup, and a term that has ended


def test_a_database_that_forgot_its_sessions_says_so_or_begins_them_again(installation: Installation) -> None:
    by_api, finished = installation.add(), installation.add(status="completed")
    installation.apply("by-kubectl")
    for name in (f"session-{by_api}", f"session-{finished}", "by-kubectl"):
        installation.mirrored(name)
    installation.database.transact(forget_sessions)
    installation.start()
    new = installation.add()  # has an id that was given out before
    assert new == by_api
    assert installation.mirrored(f"session-{new}-1") == new
    installation.until(lambda: installation.condition(f"session-{by_api}", "Failed")["status"] == "True", "a word")
    assert installation.condition(f"session-{by_api}", "Failed")["reason"] == "SessionLost"
    assert installation.status(f"session-{finished}")["overallStatus"] == "completed"
    assert {row["resource_name"] for row in installation.rows()} == {f"session-{new}-1", "by-kubectl"}
    assert installation.until(lambda: not installation.reconcile(), "rest")


def forget_sessions(connection: sa.Connection) -> None:
    connection.execute(sa.delete(steps))
    connection.execute(sa.delete(training_sessions))
    connection.execute(sa.text("ALTER TABLE training_sessions ALTER COLUMN id RESTART"))


def test_a_controller_whose_term_has_ended_writes_no_row(installation: Installation) -> None:
    uid = installation.apply("holiday")
    installation.database.transact(lambda c: c.execute(sa.update(controller_lease).values(term=9)))
    with pytest.raises(LeaseLost):
        installation.until(lambda: False, "the end of the term to be noticed")
    assert installation.rows() == []
    assert "status" not in installation.resource("holiday")
    assert installation.resource("holiday")["metadata"]["uid"] == uid


def test_a_resource_that_goes_before_its_status_is_written_stops_nobody(installation: Installation) -> None:
    installation.apply("archive")
    installation.apply("holiday")
    archive, holiday = installation.mirrored("archive"), installation.mirrored("holiday")
    installation.mirror.stop_watching()  # which would have shown it
    installation.kubectl("delete", "ts", "archive")
    for session_id in (archive, holiday):
        installation.change(session_id, status="completed")
    assert [action.resource.name for action in installation.reconcile()] == ["holiday"]  # type: ignore[union-attr]
    with pytest.raises(NotFound):
        installation.resource("archive")


def test_the_status_of_one_session_is_not_written_on_anothers_resource(installation: Installation) -> None:
    installation.apply("holiday")
    session_id = installation.mirrored("holiday")
    installation.mirror.stop_watching()  # which would have shown that it is another
    installation.kubectl("delete", "ts", "holiday")
    installation.apply("holiday")
    installation.change(session_id, status="completed")
    assert installation.reconcile() == []
    assert "status" not in installation.resource("holiday")


def apply(installation: Installation, action: ResourceAction) -> bool:
    """One action by itself, whatever a watch may show."""
    applier = ResourceApplier(installation.cluster, installation.database, StatusWrites(), DEFAULTS)
    now = installation.database.transact(lambda c: c.execute(sa.select(sa.func.clock_timestamp())).scalar_one())
    return applier.apply(action, installation.lease, now)


def status_writes(installation: Installation) -> int:
    return installation.cluster.requests["patch", "trainingsessions/status"]
