"""The controller over real rows: whole sessions, with Jobs that do what the test says and workers that are rows."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from controller import lease as leases
from controller.apply import Applier
from controller.lease import LeaseLost
from controller.loop import Controller, run_pass
from controller.plan import Action, CreateJob, EndAttempt, StartAttempt
from controller.refusals import Refusals
from tests.rows import add_jobs, add_model, add_session, session_row, step_row
from tests.scripted_jobs import ScriptedJobs
from trainyard import lifecycle, shards
from trainyard.database import Database, notify
from trainyard.lifecycle import Answer, ImpossibleTransition
from trainyard.progress import Progress, read_progress
from trainyard.shards import Overtaken, Shard, ShardKey
from trainyard.tables import face_instances, steps, training_jobs, training_sessions
from trainyard.tables import shards as shards_table

PHOTOS, FACES = 40, 12
SILENCE_SECONDS = 1500.0


@dataclass
class Installation:
    """One controller, its Jobs and the rows; and the hands of workers."""

    database: Database
    backend: ScriptedJobs = field(default_factory=ScriptedJobs)

    def __post_init__(self) -> None:
        self.restart_controller()

    def restart_controller(self) -> None:
        lease = leases.take(self.database, str(uuid4()), alone=True)
        self.applier = Applier(self.database, self.backend, lease)

    def step(self) -> list[Action]:
        return run_pass(self.database, self.backend, self.applier, SILENCE_SECONDS)

    def rest(self) -> list[Action]:
        """Passes until there is nothing to do; a plan that never comes to rest fails."""
        done: list[Action] = []
        for _ in range(10):
            actions = self.step()
            if not actions:
                return done
            done += actions
        raise AssertionError(f"no rest after {done}")

    def add(self, **columns: Any) -> int:
        return self.database.transact(lambda c: add_session(c, **columns))

    def request(self, id: int, verb: str) -> Answer:
        return self.database.transact(lambda c: lifecycle.request(c, id, verb))

    def progress(self, id: int) -> Progress:
        return self.database.transact(lambda c: read_progress(c, id))

    def session(self, id: int) -> dict[str, Any]:
        return self.database.transact(lambda c: session_row(c, id))

    def row(self, id: int, step: str) -> dict[str, Any]:
        return self.database.transact(lambda c: step_row(c, id, step))

    def statuses(self, id: int) -> dict[str, str]:
        rows = sa.select(steps.c.step, steps.c.status).where(steps.c.session_id == id)
        return {row.step: row.status for row in self.database.transact(lambda c: c.execute(rows).all())}

    # What workers do

    def claim(self, index: int = 0) -> Shard:
        spec = self.backend.current.spec
        key = ShardKey(spec.session_id, spec.step, spec.attempt, index)
        return self.database.transact(lambda c: shards.claim(c, key, "worker"))

    def commit(self, shard: Shard, photos: int, failed: int = 0, in_flight: int | None = None) -> Shard:
        """One batch: so many pending photos of the shard, the first `failed` of which cannot be read."""

        def work(connection: sa.Connection) -> Shard:
            positions = self._pending(connection, shard)[:photos]
            counts = {"faces": len(positions)} if shard.key.step == "detect" else {}
            after, _ = shards.advance(
                connection,
                shard,
                next=positions[-1] + 1,
                in_flight=in_flight,
                done=photos,
                failed=failed,
                counts=counts,
            )
            for place, position in enumerate(positions):
                self._store(connection, shard, position, failed=place < failed)
            return after

        return self.database.transact(work)

    def _pending(self, connection: sa.Connection, shard: Shard) -> list[int]:
        j = training_jobs.c
        mine = sa.select(j.position).where(
            j.session_id == shard.key.session_id, j.step == shard.key.step,
            j.status == "pending", j.position.between(shard.next, shard.last),
        )  # fmt: skip
        return list(connection.scalars(mine.order_by(j.position)))

    def _store(self, connection: sa.Connection, shard: Shard, position: int, *, failed: bool) -> None:
        j, error = training_jobs.c, {"error_code": "truncated", "error_message": "It ends early."}
        values = {"status": "failed", **error} if failed else {"status": "completed"}
        connection.execute(
            sa.update(training_jobs)
            .where(j.session_id == shard.key.session_id, j.step == shard.key.step, j.position == position)
            .values(values)
        )

    def finish(self, shard: Shard) -> None:
        self.database.transact(lambda c: shards.finish(c, shard))

    def work(self, failed: int = 0) -> None:
        """All workers of the Job there is, to their end; of each one's photos so many fail."""
        for index in range(self.backend.current.spec.shards):
            shard = self.claim(index)
            self.finish(self.commit(shard, shard.total, failed))
        self.backend.end("succeeded")

    def discover(self, photos: int = PHOTOS, *, faces: bool = True) -> None:
        """A discovery that finds so many photos, all of them new."""
        shard, id = self.claim(), self.backend.current.spec.session_id

        def work(connection: sa.Connection) -> None:
            models = {"clip": {"id": add_model(connection, f"clip-{id}")}, "face": None, "device": "cpu"}
            counts = {"embed": photos, "detect": photos if faces else 0, "unclustered": 0}
            if faces:
                models["face"] = {"id": add_model(connection, f"face-{id}")}
            for step in ("embed", "detect") if faces else ("embed",):
                if photos:
                    add_jobs(connection, id, step, photos)
            connection.execute(
                sa.update(training_sessions).where(training_sessions.c.id == id).values(models=models, total=photos)
            )
            shards.beat(connection, shard, done=photos, total=photos, counts=counts)
            shards.finish(connection, shard)

        self.database.transact(work)
        self.backend.end("succeeded")

    def find_faces(self, id: int, count: int = FACES) -> None:
        """Faces that nobody has named or grouped."""
        values = {
            "asset_id": sa.select(sa.func.min(training_jobs.c.asset_id)).scalar_subquery(),
            "content_sha256": b"c", "model_id": self.session(id)["models"]["face"]["id"],
            "box_left": 0, "box_top": 0, "box_right": 9, "box_bottom": 9, "confidence": 1, "quality": 1,
            "embedding_sha256": b"e", "session_id": id,
        }  # fmt: skip
        rows = [{"id": uuid4(), "ordinal": ordinal} for ordinal in range(count)]
        self.database.transact(lambda c: c.execute(sa.insert(face_instances).values(values), rows))

    def cluster(self, faces: int = FACES) -> None:
        shard = self.claim()
        counts = {"clusters": 2}
        self.database.transact(lambda c: shards.beat(c, shard, done=faces, total=faces, counts=counts))
        self.finish(shard)
        self.backend.end("succeeded")

    def embedding(self, **columns: Any) -> int:
        """A new session whose embed has just begun; returns its id."""
        id = self.add(**columns)
        self.rest()
        self.discover(faces=columns.get("options", {}).get("faces", True))
        self.rest()
        return id


@pytest.fixture
def here(module_database_url: str) -> Iterator[Installation]:
    database = Database(module_database_url)
    # Sessions of the tests before stay in the database; settled, the controller leaves them alone.
    gone = sa.update(training_sessions).values(deleted_at=sa.func.now())
    database.transact(lambda c: c.execute(gone))
    yield Installation(database)
    database.close()


def test_a_whole_session(here: Installation) -> None:
    shown = []
    id = here.add()
    here.rest()
    assert here.statuses(id) == dict.fromkeys(("embed", "detect", "cluster"), "pending") | {"discover": "running"}
    assert here.session(id)["status"] == "pending"  # no worker has begun
    here.discover()
    shown.append(here.progress(id).percentage)
    here.rest()
    assert here.session(id)["status"] == "running"
    assert here.session(id)["weights"] == {"training": 30.0, "faceDetection": 65.0, "clustering": 5.0}
    assert here.backend.current.spec.shards == 4

    here.finish(here.commit(here.claim(0), 10))
    shown.append(here.progress(id).percentage)
    for index in (1, 2, 3):
        here.finish(here.commit(here.claim(index), 10))
        shown.append(here.progress(id).percentage)
    here.backend.end("succeeded")
    here.rest()
    shown.append(here.progress(id).percentage)
    assert here.progress(id).phases["training"].status == "completed"

    here.commit(here.claim(0), 10)
    here.commit(here.claim(1), 10)
    shown.append(here.progress(id).percentage)
    for index in (0, 1, 2, 3):
        shard = here.claim(index)
        here.finish(here.commit(shard, 10) if index > 1 else shard)
    here.find_faces(id)
    here.backend.end("succeeded")
    here.rest()
    shown.append(here.progress(id).percentage)
    here.cluster()
    shown.append(here.progress(id).percentage)
    here.rest()
    shown.append(here.progress(id).percentage)

    assert shown == [0.0, 7.5, 15.0, 22.5, 30.0, 30.0, 62.5, 95.0, 99.9, 100.0]
    assert set(here.statuses(id).values()) == {"completed"}
    session = here.session(id)
    assert (session["status"], session["processed"], session["failed"]) == ("completed", PHOTOS, 0)
    assert session["started_at"] < session["completed_at"]
    assert here.row(id, "detect")["counts"] == {"faces": PHOTOS}
    assert here.row(id, "cluster")["total"] == FACES
    assert here.row(id, "embed")["seconds"] > 0
    assert here.backend.observe() == []


def test_a_session_begins_when_its_first_worker_does(here: Installation) -> None:
    id = here.add()
    here.rest()
    assert here.progress(id).overall_status == "pending"
    here.claim()
    here.rest()
    assert here.progress(id).overall_status == "running"


def test_a_session_without_photos_is_completed(here: Installation) -> None:
    id = here.add()
    here.rest()
    here.discover(photos=0)
    here.rest()
    assert here.statuses(id) == {
        "discover": "completed",
        "embed": "completed",
        "detect": "skipped",
        "cluster": "skipped",
    }
    seen = here.progress(id)
    assert (seen.overall_status, seen.percentage) == ("completed", 100.0)
    training = seen.phases["training"]
    assert (training.current, training.total, training.percentage) == (0, 0, 100.0)


def test_a_session_without_faces_is_training_alone(here: Installation) -> None:
    id = here.embedding(options={"faces": False})
    assert here.session(id)["weights"] == {"training": 100.0}
    here.work()
    here.rest()
    assert here.progress(id).overall_status == "completed"
    assert [spec.step for spec in here.backend.made] == ["discover", "embed"]


def test_few_photos_are_not_cut_below_what_is_worth_a_worker(here: Installation) -> None:
    here.add()
    here.rest()
    here.discover(photos=25)
    here.rest()
    assert here.backend.current.spec.shards == 2


def test_workers_side_by_side_are_measured_each_for_itself(here: Installation) -> None:
    """By their own pace the next session's shards are cut, by that of all together its time is foretold."""
    id = here.embedding()
    for index in range(here.backend.current.spec.shards):
        here.claim(index)
    began = sa.update(shards_table).where(shards_table.c.session_id == id, shards_table.c.step == "embed")
    ago = sa.text("clock_timestamp() - interval '10 s'")
    here.database.transact(lambda c: c.execute(began.values(claimed_at=ago)))
    here.work()
    here.rest()
    row = here.row(id, "embed")
    assert row["seconds"] >= 10
    assert row["worker_seconds"] >= 4 * 10
    assert row["worker_seconds"] > 2 * row["seconds"]


# Pause, resume, cancel


def test_a_pause_stops_workers_at_their_batch_and_a_resume_does_the_rest(here: Installation) -> None:
    id = here.embedding()
    here.finish(here.commit(here.claim(0), 10))
    here.commit(here.claim(1), 5)
    before = here.progress(id).percentage
    assert here.request(id, "pause").status == 202
    here.rest()
    assert here.backend.current.state == "stopping"
    assert here.progress(id).overall_status == "running"  # until they have stopped
    here.backend.end("stopped")
    here.rest()
    assert here.statuses(id)["embed"] == "paused"
    paused = here.progress(id)
    assert (paused.overall_status, paused.percentage, paused.eta_seconds) == ("paused", before, None)
    assert here.backend.observe() == []

    assert here.request(id, "resume").status == 202
    here.rest()
    assert (here.backend.current.spec.attempt, here.row(id, "embed")["failures"]) == (2, 0)
    assert here.progress(id).percentage == before
    assert sum(here.claim(index).total for index in range(here.backend.current.spec.shards)) == PHOTOS - 15


def test_a_pause_before_the_first_worker_starts_none(here: Installation) -> None:
    id = here.add()
    here.request(id, "pause")
    here.rest()
    assert (here.progress(id).overall_status, here.backend.made) == ("paused", [])
    here.request(id, "resume")
    here.rest()
    assert here.backend.current.spec.step == "discover"


def test_a_pause_that_comes_as_a_step_ends_holds_the_next(here: Installation) -> None:
    id = here.embedding()
    here.work()
    here.request(id, "pause")
    here.rest()
    assert (here.statuses(id)["embed"], here.statuses(id)["detect"]) == ("completed", "paused")


def test_a_cancel_keeps_what_is_done_and_begins_nothing(here: Installation) -> None:
    id = here.embedding()
    here.commit(here.claim(0), 5)
    here.request(id, "cancel")
    here.rest()
    here.backend.end("stopped")
    here.rest()
    assert here.statuses(id) == {
        "discover": "completed",
        "embed": "cancelled",
        "detect": "cancelled",
        "cluster": "cancelled",
    }
    session = here.session(id)
    assert (session["status"], session["processed"]) == ("cancelled", 5)
    assert session["completed_at"] is not None
    assert here.request(id, "cancel") == Answer(200, "AlreadyCancelled", "The session is cancelled already.")
    assert here.request(id, "resume").status == 409


# Failures and retry


def test_a_failed_photo_is_counted_and_a_retry_takes_only_it(here: Installation) -> None:
    id = here.embedding(options={"faces": False})
    here.work(failed=1)
    here.rest()
    session = here.session(id)
    assert (session["status"], session["processed"], session["failed"]) == ("completed", PHOTOS, 4)

    assert here.request(id, "retry").status == 202
    assert here.request(id, "retry") == Answer(
        200, "NothingToDo", "A retry was requested already and is about to begin."
    )
    here.rest()
    again = here.progress(id)
    assert (again.overall_status, again.percentage) == ("running", 90.0)
    assert (again.phases["training"].current, again.phases["training"].failed) == (36, 0)
    assert (here.backend.current.spec.attempt, here.claim().total) == (2, 4)
    here.work()
    here.rest()
    assert (here.session(id)["status"], here.session(id)["failed"]) == ("completed", 0)
    assert here.request(id, "retry").code == "NothingToRetry"


def test_a_retry_of_faces_groups_them_again(here: Installation) -> None:
    id = here.embedding()
    here.work()
    here.rest()
    here.find_faces(id)
    here.work(failed=1)
    here.rest()
    here.cluster()
    here.rest()
    assert here.session(id)["status"] == "completed"
    here.request(id, "retry")
    here.rest()
    assert here.statuses(id) == {
        "discover": "completed",
        "embed": "completed",
        "detect": "running",
        "cluster": "pending",
    }
    here.work()
    here.rest()
    assert here.backend.current.spec.step == "cluster"


def test_groups_made_before_a_retry_that_finds_no_more_faces_stay_done(here: Installation) -> None:
    id = here.embedding()
    here.work()
    here.rest()
    here.find_faces(id)
    here.work(failed=1)
    here.rest()
    here.cluster()
    grouped = sa.update(face_instances).values(clustered_at=sa.func.now())
    here.database.transact(lambda c: c.execute(grouped))
    here.rest()
    here.request(id, "retry")
    here.rest()
    here.work()
    here.rest()
    assert here.row(id, "cluster")["status"] == "completed"
    done = here.progress(id)
    assert (done.overall_status, done.percentage) == ("completed", 100.0)
    assert (done.phases["clustering"].status, done.phases["clustering"].percentage) == ("completed", 100.0)


def test_every_photo_failing_fails_the_session(here: Installation) -> None:
    id = here.embedding()
    here.work(failed=10)
    here.rest()
    session = here.session(id)
    assert (session["status"], session["failure_code"]) == ("failed", "AllImagesFailed")
    assert here.statuses(id)["detect"] == "pending"
    here.request(id, "retry")
    here.rest()
    assert (here.session(id)["failure_code"], here.claim().total) == (None, 10)


def test_every_photo_failing_is_seen_although_the_workers_died_before_they_could_say_so(here: Installation) -> None:
    """All is committed, nothing is finished, and the Job is gone."""
    id = here.embedding()
    for index in range(4):
        here.commit(here.claim(index), 10, failed=10)
    here.backend.jobs.clear()
    here.rest()
    assert here.session(id)["failure_code"] == "AllImagesFailed"


def test_a_step_fails_at_its_third_failure_and_a_retry_gives_three_more(here: Installation) -> None:
    id = here.embedding()
    for attempt in (1, 2, 3):
        assert here.backend.current.spec.attempt == attempt
        here.commit(here.claim(0), 1)
        here.backend.end("failed", code="OutOfMemory", message="There is no memory left.")
        here.rest()
    session = here.session(id)
    assert (session["status"], session["failure_code"]) == ("failed", "OutOfMemory")
    assert session["failure_message"] == "There is no memory left."
    assert (here.row(id, "embed")["failures"], here.row(id, "embed")["done"]) == (3, 3)
    assert here.progress(id).phases["faceDetection"].status == "pending"

    here.request(id, "retry")
    here.rest()
    assert (here.row(id, "embed")["failures"], here.backend.current.spec.attempt) == (0, 4)
    here.work()
    here.rest()
    assert here.progress(id).phases["training"].status == "completed"
    assert here.session(id)["failure_code"] is None


def test_a_wrong_configuration_fails_at_once(here: Installation) -> None:
    id = here.add()
    here.rest()
    here.claim()
    here.backend.end("failed", code="ModelMissing", message="There are no weights.", final=True)
    here.rest()
    assert (here.session(id)["status"], here.session(id)["failure_code"]) == ("failed", "ModelMissing")
    here.request(id, "retry")
    here.rest()
    assert (here.backend.current.spec.step, here.backend.current.spec.attempt) == ("discover", 2)


def test_what_the_workers_of_a_failed_attempt_held_is_suspect(here: Installation) -> None:
    id = here.embedding()
    here.commit(here.claim(0), 2, in_flight=4)
    here.backend.end("failed")
    here.rest()
    held = sa.select(training_jobs.c.position).where(
        training_jobs.c.session_id == id, training_jobs.c.step == "embed", training_jobs.c.attempts == 1
    )
    assert here.database.transact(lambda c: c.scalars(held.order_by(training_jobs.c.position)).all()) == [2, 3, 4]


# Restarts and races


def test_a_job_that_died_with_its_machine_is_no_failure(here: Installation) -> None:
    id = here.embedding()
    here.commit(here.claim(0), 7)
    before = here.progress(id)
    here.backend.jobs.clear()
    here.restart_controller()
    actions = here.rest()
    assert [action for action in actions if isinstance(action, EndAttempt | StartAttempt | CreateJob)] == [
        EndAttempt(id, "embed"),
        StartAttempt(id, "embed"),
        CreateJob(id, "embed"),
    ]
    embed = here.row(id, "embed")
    assert (embed["attempt"], embed["failures"], embed["done"]) == (2, 0, 7)
    assert here.progress(id).percentage == before.percentage


def test_a_restart_while_workers_work_disturbs_nothing(here: Installation) -> None:
    here.embedding()
    here.commit(here.claim(0), 7)
    here.restart_controller()
    assert here.rest() == []


def test_a_restart_before_the_job_was_noted_does_not_make_a_second(here: Installation) -> None:
    id = here.embedding()
    made = len(here.backend.made)
    here.database.transact(lambda c: c.execute(sa.update(steps).where(steps.c.session_id == id).values(job_uid=None)))
    here.restart_controller()
    here.rest()
    assert len(here.backend.made) == made


def test_a_worker_that_outlives_its_attempt_commits_nothing_more(here: Installation) -> None:
    id = here.embedding()
    lingering = here.commit(here.claim(0), 3)
    late = ShardKey(id, "embed", 1, 1)
    here.backend.jobs.clear()
    here.rest()
    with pytest.raises(Overtaken):
        here.commit(lingering, 3)
    with pytest.raises(Overtaken, match="has ended"):
        here.database.transact(lambda c: shards.claim(c, late, "late"))
    here.work()
    here.rest()
    assert here.row(id, "embed")["done"] == PHOTOS


def test_a_job_that_ends_while_it_is_looked_at_has_not_failed(here: Installation) -> None:
    """Between the look at the Jobs and the look at the rows, or the other way round."""
    id = here.embedding()
    here.backend.while_observed = here.work
    here.rest()
    embed = here.row(id, "embed")
    assert (embed["status"], embed["failures"], embed["attempt"]) == ("completed", 0, 1)


def test_a_discovery_and_a_clustering_begin_anew_with_each_attempt(here: Installation) -> None:
    id = here.add()
    here.rest()
    shard = here.claim()
    here.database.transact(lambda c: shards.beat(c, shard, done=30, counts={"embed": 30}))
    here.backend.end("come_back")
    here.rest()
    assert here.progress(id).files_found == 0
    here.discover()
    here.rest()
    discover = here.row(id, "discover")
    assert (discover["done"], discover["counts"]["embed"]) == (PHOTOS, PHOTOS)


def test_an_outage_a_worker_rides_out_is_shown_and_taken_back(here: Installation) -> None:
    id = here.embedding()
    shard = here.claim()
    here.database.transact(lambda c: shards.wait_for(c, shard, "StorageUnavailable", "Mount it again."))
    here.rest()
    waiting = here.progress(id).waiting
    assert waiting is not None
    assert (waiting.code, waiting.message) == ("StorageUnavailable", "Mount it again.")
    here.database.transact(lambda c: shards.stop_waiting(c, shard))
    here.rest()
    assert here.progress(id).waiting is None


def test_what_a_worker_that_is_gone_waited_for_is_not_shown(here: Installation) -> None:
    id = here.embedding()
    shard = here.claim(0)
    here.database.transact(lambda c: shards.wait_for(c, shard, "StorageUnavailable", "Mount it again."))
    age(here, id, 0)  # it says so every second while it lives
    here.claim(1)
    here.rest()
    assert here.progress(id).waiting is None


def test_workers_that_never_claim_anything_end_their_attempt(here: Installation) -> None:
    id = here.embedding()
    long_ago = sa.func.clock_timestamp() - sa.text("interval '1 hour'")
    here.database.transact(lambda c: c.execute(sa.update(steps).values(attempt_started_at=long_ago)))
    here.step()
    assert here.row(id, "embed")["failure_code"] == "WorkersSilent"


def test_what_fails_of_one_session_stops_no_other(here: Installation) -> None:
    stuck = here.embedding()
    here.backend.end("failed", code="WorkerFailed", message="It said \0, which no row can hold.")
    other = here.add(root_path="/elsewhere")
    here.rest()
    assert here.row(stuck, "embed")["status"] == "running"
    assert here.row(other, "discover")["status"] == "running"


def test_a_job_that_cannot_be_removed_just_now_keeps_nobody_waiting(here: Installation) -> None:
    id = here.embedding(options={"faces": False})
    here.backend.refuses_to_remove = True
    here.work()
    here.rest()
    assert here.session(id)["status"] == "completed"
    assert here.backend.jobs
    here.backend.refuses_to_remove = False
    here.applier.refusals = Refusals()  # a moment later
    here.rest()
    assert not here.backend.jobs


def test_nothing_is_waited_for_once_all_is_done(here: Installation) -> None:
    id = here.embedding(options={"faces": False})
    here.backend.jobs[here.backend.current.uid] = replace(here.backend.current, waiting=("Starting", "In a moment."))
    here.rest()
    assert here.session(id)["waiting_code"] == "Starting"
    here.work()  # before anybody has looked again
    here.rest()
    assert (here.session(id)["status"], here.session(id)["waiting_code"]) == ("completed", None)


def age(here: Installation, id: int, index: int) -> None:
    key = (shards_table.c.session_id == id) & (shards_table.c.step == "embed") & (shards_table.c.index == index)
    long_ago = sa.func.clock_timestamp() - sa.text("interval '1 hour'")
    here.database.transact(lambda c: c.execute(sa.update(shards_table).where(key).values(committed_at=long_ago)))


def test_workers_that_commit_nothing_for_long_end_their_attempt(here: Installation) -> None:
    id = here.embedding()
    here.claim(0)
    age(here, id, 0)
    here.step()
    embed = here.row(id, "embed")
    assert (embed["status"], embed["failures"], embed["failure_code"]) == ("pending", 1, "WorkersSilent")
    assert here.backend.current.state == "stopping"


def test_shards_that_wait_for_a_place_are_not_silent_workers(here: Installation) -> None:
    id = here.embedding()
    here.finish(here.commit(here.claim(0), 10))
    age(here, id, 0)
    assert here.rest() == []


def test_workers_that_have_finished_and_tell_the_stores_yet_are_not_silent(here: Installation) -> None:
    id = here.embedding()
    spec = here.backend.current.spec
    for index in range(spec.shards):
        shard = here.claim(index)
        here.finish(here.commit(shard, shard.total))
    long_ago = sa.func.clock_timestamp() - sa.text("interval '1 hour'")
    of_step = (steps.c.session_id == id) & (steps.c.step == "embed")
    begun = sa.update(steps).where(of_step).values(attempt_started_at=long_ago)
    here.database.transact(lambda c: c.execute(begun))
    assert here.rest() == []
    age(here, id, 0)
    here.database.transact(lambda c: shards.beat(c, shard))
    assert here.rest() == []


def test_a_second_session_of_the_same_folder_waits_for_the_first(here: Installation) -> None:
    first = here.embedding(options={"faces": False})
    second = here.add(root_path="/photos/2020", options={"faces": False})
    here.rest()
    waiting = here.progress(second).waiting
    assert waiting is not None
    assert waiting.code == "Queued"
    here.work()
    here.rest()
    assert here.progress(first).overall_status == "completed"
    assert here.progress(second).waiting is None
    assert here.backend.current.spec.session_id == second


# Fences


def test_a_controller_that_was_overtaken_stops_at_its_next_write(here: Installation) -> None:
    id = here.embedding()
    old = here.applier
    here.restart_controller()
    here.work()
    with pytest.raises(LeaseLost):
        run_pass(here.database, here.backend, old, SILENCE_SECONDS)
    assert here.statuses(id)["embed"] == "running"
    here.rest()
    assert here.statuses(id)["embed"] == "completed"


def test_an_impossible_step_is_refused_by_name(here: Installation) -> None:
    id = here.add()
    here.rest()
    here.request(id, "cancel")
    here.rest()
    here.backend.end("stopped")
    here.rest()
    told = f"session {id}, step discover: cancelled cannot become running"
    with pytest.raises(ImpossibleTransition, match=told):
        here.database.transact(lambda c: lifecycle.set_step(c, id, "discover", "running"))
    with pytest.raises(ImpossibleTransition, match=f"session {id}, step rename: None cannot become running"):
        here.database.transact(lambda c: lifecycle.set_step(c, id, "rename", "running"))


def test_the_loop_looks_when_it_is_told_to_and_ends_with_its_lease(here: Installation) -> None:
    controller = Controller(here.database, here.backend, here.applier.lease, period_seconds=3600)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            controller.run()
        except LeaseLost as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    first = here.add()
    wait_until(lambda: tell_until(here, first))
    second = here.add(root_path="/elsewhere")
    here.database.transact(notify)
    wait_until(lambda: bool(here.statuses(second)))
    leases.take(here.database, "another", alone=True)
    here.database.transact(notify)
    thread.join(30)
    controller.stop()
    assert [type(error) for error in ended] == [LeaseLost]


def tell_until(here: Installation, id: int) -> bool:
    """Told again and again, for nobody listens before the thread has connected."""
    here.database.transact(notify)
    return bool(here.statuses(id))


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the loop never looked"
        time.sleep(0.02)
