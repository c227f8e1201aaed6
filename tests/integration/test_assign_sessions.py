"""Sessions that only assign: whose are the faces nobody knows, once people have named more of them?

The networks are fakes (tests/engines.py); everything else is real.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import assign
from jobs.assign import Assigning
from tests import libraries
from tests.hand_jobs import HandJobs
from tests.local_runs import Run, data_directory, running
from tests.named_faces import answer_no, call, faces_of, ignore, names_in, person, tell
from tests.natural_keys import check_payloads, check_vectors, everything
from tests.people_libraries import PHOTOS, Library, copied, library
from tests.rows import session_row
from trainyard.database import Database
from trainyard.people import persons
from trainyard.progress import Progress, read_progress
from trainyard.sessions import ALL_PHOTOS, NewSession, create
from trainyard.shards import Overtaken
from trainyard.vectors import VectorsUnavailable

# Photo i shows person i % 4 first, every third one the next person, too.
ANNA = (0, 4, 8, 12, 16, 20)  # those whose first face is hers
NAMED = ANNA[1:3]  # nobody else is in these photos
UNKNOWN = PHOTOS - len(NAMED)  # photos with faces that nobody has named
ASSIGN_ONLY = {"faces": True, "untrained": True, "training": False, "assign": True}


class Killed(BaseException):
    """A worker's sudden death: nothing in it gets to tidy up."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Photos that were searched; two of Anna's faces are named."""
    with library(tmp_path_factory.mktemp("assign")) as made:
        with running(made.data_dir) as run:
            for number in NAMED:
                call(run, "Anna", first_face(run, made.photos, number).id)
            tell(run)
        yield made


@pytest.fixture
def copy(original: Library, tmp_path: Path) -> Iterator[Library]:
    with copied(original, tmp_path) as copy:
        yield copy


@pytest.fixture
def photos(copy: Library) -> Path:
    return copy.photos


@pytest.fixture
def run(copy: Library) -> Iterator[Run]:
    with running(copy.data_dir) as run:
        yield run


def path_of(photos: Path, number: int) -> Path:
    return photos / ("a" if number % 2 else "b") / f"photo {number:03}.png"


def first_face(run: Run, photos: Path, number: int) -> Any:
    return faces_of(run, path_of(photos, number))[0]


def ask(run: Run, source: int | None = None) -> int:
    """Ask for a session over a session's photos, or over all; returns its id."""

    def work(connection: sa.Connection) -> int:
        root = ALL_PHOTOS if source is None else session_row(connection, source)["root_path"]
        return create(connection, NewSession(root, options=ASSIGN_ONLY, source_session_id=source))[0]

    session = run.database.transact(work)
    run.controller.look.set()
    return session


def progress_of(run: Run, session: int) -> Progress:
    return run.database.transact(lambda connection: read_progress(connection, session))


def suggested(run: Run) -> list[tuple[str, str]]:
    """(person, status) of every suggestion."""
    rows = run.rows(
        "SELECT p.name, s.status FROM face_suggestions s JOIN persons p ON p.id = s.person_id ORDER BY p.name, s.status"
    )
    return [(row.name, row.status) for row in rows]


def test_unknown_faces_are_given_to_the_persons_they_are_like(run: Run, photos: Path) -> None:
    summary = run.ended(ask(run))
    assert summary["overallStatus"] == "completed"
    found = {number for number in range(PHOTOS) if "Anna" in names_in(run, path_of(photos, number))}
    assert found == {*ANNA, *(number for number in range(0, PHOTOS, 3) if (number + 1) % 4 == 0)}
    assert first_face(run, photos, 0).assigned_by == "engine"
    assert first_face(run, photos, 0).similarity > 0.9
    assert {first_face(run, photos, number).assigned_by for number in NAMED} == {"person"}
    assert summary["facesAssignedToPersons"] == len(found) - len(NAMED)
    check_vectors(run)
    check_payloads(run)


def test_no_photo_and_no_network_is_opened(run: Run, photos: Path) -> None:
    asked: list[object] = []
    run.engines.on_resolve = lambda: asked.append("resolved")
    run.engines.on_load = asked.append
    for photo in photos.rglob("*.png"):
        photo.unlink()
    assert run.ended(ask(run))["facesAssignedToPersons"] > 0
    assert asked == []


def test_training_and_clustering_are_skipped_and_the_bar_is_that_of_the_faces(run: Run) -> None:
    session = ask(run)
    summary = run.ended(session)
    progress = progress_of(run, session)
    statuses = {name: phase.status for name, phase in progress.phases.items()}
    assert statuses == {"training": "skipped", "faceDetection": "completed", "clustering": "skipped"}
    assert {name: step.status for name, step in progress.steps.items()} == {
        "discover": "completed", "embed": "skipped", "assign": "completed", "cluster": "skipped"
    }  # fmt: skip
    faces = progress.phases["faceDetection"]
    assert (faces.current, faces.total, progress.percentage) == (UNKNOWN, UNKNOWN, 100.0)
    assert summary["images"] == {"total": UNKNOWN, "processed": UNKNOWN, "failed": 0, "unchanged": 0, "skipped": 0}
    (row,) = run.rows("SELECT * FROM face_detection_sessions WHERE id = :id", id=session)
    assert (row.status, row.total_images, row.processed_images) == ("completed", UNKNOWN, UNKNOWN)
    assert row.faces_assigned_to_persons == summary["facesAssignedToPersons"]


def test_without_a_face_that_is_unknown_it_is_completed(run: Run, photos: Path) -> None:
    ignore(run, *(row.id for row in run.rows("SELECT id FROM face_instances WHERE person_id IS NULL")))
    session = ask(run)
    summary = run.ended(session)
    assert (summary["overallStatus"], summary["images"]["total"]) == ("completed", 0)
    assert progress_of(run, session).percentage == 100.0


def test_before_anybody_looked_for_faces_it_is_completed() -> None:
    with data_directory() as folder, running(folder) as run:
        assert run.ended(ask(run))["overallStatus"] == "completed"


def test_it_is_about_the_photos_of_the_session_it_was_asked_for(run: Run, photos: Path) -> None:
    source = run.begin(photos / "b")
    run.ended(source)
    assert run.ended(ask(run, source))["images"]["total"] == PHOTOS // 2 - len(NAMED)
    assert names_in(run, path_of(photos, 0)) == ["Anna", None]
    assert "Anna" not in names_in(run, path_of(photos, 3))


def test_faces_that_people_refused_or_ignored_are_left_alone(run: Run, photos: Path) -> None:
    refused, ignored = first_face(run, photos, 0).id, first_face(run, photos, 12).id
    ask_about(run, "Anna", refused)
    answer_no(run, "Anna", refused)
    ignore(run, ignored)
    run.ended(ask(run))
    assert names_in(run, path_of(photos, 0))[0] is None
    assert names_in(run, path_of(photos, 12))[0] is None
    assert suggested(run) == [("Anna", "rejected")]


def ask_about(run: Run, name: str, face_id: Any) -> None:
    """As an earlier session did."""
    run.database.transact(
        lambda connection: connection.execute(
            sa.text("INSERT INTO face_suggestions (face_id, person_id, similarity) VALUES (:face, :person, 0.5)"),
            {"face": face_id, "person": person(run, name)},
        )
    )


def test_faces_like_two_persons_are_asked_about_and_later_answers_settle_it(run: Run, photos: Path) -> None:
    call(run, "Twin", first_face(run, photos, 12).id)
    tell(run)
    summary = run.ended(ask(run))
    assert summary["facesAssignedToPersons"] == 0
    assert summary["suggestionsCreated"] == len(suggested(run)) > 3
    first = run.rows("SELECT face_id, similarity FROM face_suggestions ORDER BY face_id")
    assert run.ended(ask(run))["suggestionsCreated"] == len(first)
    assert run.rows("SELECT face_id, similarity FROM face_suggestions ORDER BY face_id") == first
    run.database.transact(lambda c: persons.merge(c, person(run, "Anna"), [person(run, "Twin")]))
    tell(run)
    assert run.ended(ask(run))["facesAssignedToPersons"] == len(first)
    assert suggested(run) == []
    check_payloads(run)


def test_a_suggestion_that_holds_no_longer_is_withdrawn(run: Run, photos: Path) -> None:
    stranger = first_face(run, photos, 1).id
    ask_about(run, "Anna", stranger)
    ask_about(run, "Bela", stranger)
    run.ended(ask(run))
    assert suggested(run) == []


def test_groups_whose_every_face_is_known_now_are_closed(run: Run) -> None:
    run.ended(ask(run))
    open_groups = "SELECT count(*) AS n FROM face_clusters WHERE closed_at IS NULL"
    grouped = "SELECT count(DISTINCT cluster_id) AS n FROM face_instances WHERE cluster_id IS NOT NULL"
    assert run.rows(open_groups) == run.rows(grouped)
    assert run.rows("SELECT id FROM face_instances WHERE cluster_id IS NOT NULL AND person_id IS NOT NULL") == []


def test_photos_that_are_gone_are_left_out(run: Run, photos: Path) -> None:
    path_of(photos, 0).unlink()
    run.run(photos)
    assert run.ended(ask(run))["images"]["total"] == UNKNOWN - 1


# What people do meanwhile


def test_what_people_did_since_a_batch_was_read_is_left_as_it_is(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, ignored, refused = (first_face(run, photos, number).id for number in (0, 12, 16))
    ask_about(run, "Anna", refused)

    def people_act() -> None:
        call(run, "Zoe", named)
        ignore(run, ignored)
        answer_no(run, "Anna", refused)

    monkeypatch.setattr(Assigning, "_decide", then(Assigning._decide, people_act))
    run.ended(ask(run))
    assert [names_in(run, path_of(photos, number))[0] for number in (0, 12, 16, 20)] == ["Zoe", None, None, "Anna"]
    assert first_face(run, photos, 0).assigned_by == "person"
    assert suggested(run) == [("Anna", "rejected")]
    check_payloads(run)


def test_nobody_is_given_to_a_person_who_was_deleted_since(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete() -> None:
        run.database.transact(lambda connection: persons.delete(connection, person(run, "Anna")))

    monkeypatch.setattr(Assigning, "_decide", then(Assigning._decide, delete))
    assert run.ended(ask(run))["facesAssignedToPersons"] == 0
    assert run.rows("SELECT id FROM face_instances WHERE person_id IS NOT NULL") == []


def test_the_prototypes_that_stood_when_it_began_decide(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def others_are_named() -> None:
        call(run, "Bela", first_face(run, photos, 1).id)
        tell(run)

    monkeypatch.setattr(assign, "PHOTOS_PER_BATCH", 4)
    monkeypatch.setattr(Assigning, "_decide", then(Assigning._decide, others_are_named))
    run.ended(ask(run))
    named = {name for number in range(PHOTOS) for name in names_in(run, path_of(photos, number))}
    assert named == {"Anna", "Bela", None}
    assert len(run.rows("SELECT id FROM face_instances WHERE person_id = :id", id=person(run, "Bela"))) == 1


def test_whoever_is_named_while_faces_are_found_is_looked_for_among_them_afterwards(run: Run, photos: Path) -> None:
    """A session compares its faces with the prototypes that stood when it began to look for them."""

    def name_bela(kind: str) -> None:
        if kind == "face":
            run.engines.fake_faces.on_detect = once(lambda: named_now(run, "Bela", first_face(run, photos, 1).id))

    run.engines.on_load = name_bela
    for number in (601, 602):
        libraries.write_photo(photos / f"{number}.png", number, (1,))
    assert run.run(photos)["facesDetected"] == 2
    asked = run.wait_for(lambda _: run.rows(ASKED), "a session to be asked for")
    assert [(row.source_session_id, row.asked_by) for row in asked] == [(None, "changes")]
    assert run.ended(asked[0].id)["facesAssignedToPersons"] >= 2
    assert names_in(run, photos / "601.png") == names_in(run, photos / "602.png") == ["Bela"]
    run.engines.on_load = lambda kind: None
    run.run(photos)
    assert len(run.rows(ASKED)) == 1  # nobody was named since


ASKED = """
    SELECT id, source_session_id, options ->> 'asked_by' AS asked_by FROM training_sessions
    WHERE CAST(options ->> 'assign' AS boolean)
"""


def named_now(run: Run, name: str, face_id: Any) -> None:
    call(run, name, face_id)
    tell(run)


def once(work: Callable[[], object]) -> Callable[[], object]:
    left = [work]
    return lambda: left.pop()() if left else None


def then(work: Callable[..., Any], after: Callable[[], object]) -> Callable[..., Any]:
    """`work`, and something more at its first call."""
    left = [after]

    def act(*arguments: Any) -> Any:
        result = work(*arguments)
        if left:
            left.pop()()
        return result

    return act


# Interruptions


def jobs_left(jobs: HandJobs) -> bool:
    jobs.settle()
    return jobs.waiting() is not None


@pytest.fixture(scope="module")
def undisturbed(original: Library, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All that was made by a session in one go."""
    with copied(original, tmp_path_factory.mktemp("undisturbed")) as copy, running(copy.data_dir) as run:
        run.ended(ask(run))
        return everything(run)


@pytest.mark.parametrize("seam", ["_decide", "_store"])
def test_a_killed_worker_is_succeeded_where_it_committed(
    copy: Library, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, seam: str
) -> None:
    monkeypatch.setattr(assign, "PHOTOS_PER_BATCH", 5)
    with Run(copy.data_dir) as run:
        jobs, session = HandJobs(run), ask(run)
        jobs.work_up_to("assign")
        with monkeypatch.context() as dying:
            dying.setattr(Assigning, seam, deadly(getattr(Assigning, seam), calls=3))
            with pytest.raises(Killed):
                jobs.work()
        assert progress_of(run, session).phases["faceDetection"].current == 10
        while jobs_left(jobs):
            jobs.work()
        assert run.ended(session)["overallStatus"] == "completed"
        check_payloads(run)
        made = everything(run)
    for name, rows in undisturbed.items():
        assert made[name] == rows, name


def deadly(work: Callable[..., Any], calls: int) -> Callable[..., Any]:
    """`work`, which kills its worker at the end of so many calls."""
    left = [calls]

    def act(*arguments: Any) -> Any:
        result = work(*arguments)
        left[0] -= 1
        if not left[0]:
            raise Killed
        return result

    return act


def test_it_pauses_and_resumes(run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assign, "PHOTOS_PER_BATCH", 4)

    def pause() -> None:
        run.ask(session[0], "pause")
        run.wait_for(lambda _: any(job.state == "stopping" for job in run.jobs.observe()), "the worker to be stopped")

    monkeypatch.setattr(Assigning, "_decide", then(Assigning._decide, pause))
    with run.database.engine.begin() as connection:  # nothing begins before the id is known
        session = [create(connection, NewSession(ALL_PHOTOS, options=ASSIGN_ONLY))[0]]
    run.controller.look.set()
    paused = run.wait_for(
        lambda connection: (look := read_progress(connection, session[0])).overall_status == "paused" and look,
        "the session to pause",
    )
    assert paused.phases["faceDetection"].status == "paused"
    assert 0 < paused.phases["faceDetection"].current < UNKNOWN
    run.ask(session[0], "resume")
    run.controller.look.set()
    summary = run.ended(session[0])
    assert (summary["overallStatus"], summary["images"]["processed"]) == ("completed", UNKNOWN)
    assert summary["facesAssignedToPersons"] > 0


def test_vectors_that_are_away_are_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    retrieve, away = run.vectors.retrieve, [VectorsUnavailable("The disk is full.")]

    def retrieve_then(*arguments: Any) -> Any:
        if away:
            raise away.pop()
        return retrieve(*arguments)

    monkeypatch.setattr(run.vectors, "retrieve", retrieve_then)
    assert run.ended(ask(run))["facesAssignedToPersons"] > 0
    assert away == []


def test_without_its_vectors_a_face_stays_unknown(run: Run, photos: Path) -> None:
    lost = first_face(run, photos, 0)
    run.vectors.delete("faces-fake", [lost.id])
    assert run.ended(ask(run))["overallStatus"] == "completed"
    assert names_in(run, path_of(photos, 0))[0] is None
    run.vectors.delete_collection("faces-fake")
    assert run.ended(ask(run))["overallStatus"] == "completed"


def test_a_commit_whose_answer_was_lost_counts_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, once, stored = Assigning._commit, Database._once, []

    def counted(*arguments: Any, **options: Any) -> Any:
        stored.append(1)
        return commit(*arguments, **options)

    def losing_the_first_answer(database: Database, work: Any) -> Any:
        before = len(stored)
        result = once(database, work)
        if (before, len(stored)) == (0, 1):
            raise sa.exc.OperationalError("COMMIT", None, Exception("gone"), connection_invalidated=True)
        return result

    monkeypatch.setattr(Assigning, "_commit", counted)
    monkeypatch.setattr(Database, "_once", losing_the_first_answer)
    summary = run.ended(ask(run))
    assert len(stored) == 2
    given = run.rows("SELECT id FROM face_instances WHERE assigned_by = 'engine'")
    assert summary["facesAssignedToPersons"] == len(given) > 0


def test_a_worker_that_was_overtaken_writes_nothing_more(copy: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(copy.data_dir) as run:
        jobs, session = HandJobs(run), ask(run)
        jobs.work_up_to("assign")

        def overtake() -> None:
            claimed = sa.text("UPDATE shards SET claim = claim + 1 WHERE step = 'assign'")
            run.database.transact(lambda connection: connection.execute(claimed))

        monkeypatch.setattr(Assigning, "_decide", then(Assigning._decide, overtake))
        with pytest.raises(Overtaken):
            jobs.work()
        assert run.rows("SELECT id FROM face_instances WHERE assigned_by = 'engine'") == []
        jobs.work()
        assert run.ended(session)["facesAssignedToPersons"] > 0
