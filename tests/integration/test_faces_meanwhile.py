"""What people say of a photo's faces at the very moment at which a worker looks at that photo again.

The networks are fakes (tests/engines.py); everything else is real.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import activation
from jobs.deciding import Deciding
from jobs.embed import EmbedStep
from jobs.found_faces import FoundFaces
from tests import libraries
from tests.hand_jobs import HandJobs
from tests.local_runs import Run, data_directory
from tests.named_faces import call, faces_of, names_in, person, tell
from tests.natural_keys import check_payloads
from trainyard.lifecycle import ENDED
from trainyard.people import faces, persons
from trainyard.people.errors import NoSuchFace
from trainyard.summary import read_summary

ANNA, BELA = 0, 1  # as tests.libraries plants them
LOWER = {"min_face_size_px": 10.0}


@pytest.fixture
def run() -> Iterator[Run]:
    with data_directory() as folder, Run(folder, loaders=1) as run:
        yield run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """The only one there is."""
    photo = tmp_path / "photos/two.png"
    libraries.write_photo(photo, 1, (ANNA, BELA))
    return photo


def end(run: Run, jobs: HandJobs, session: int) -> None:
    """Do the Jobs there are until the session has ended."""

    def status(connection: sa.Connection) -> str:
        return str(read_summary(connection, session)["overallStatus"])

    jobs.settle()
    while run.database.transact(status) not in ENDED:
        jobs.work()


def searched(run: Run, photo: Path) -> HandJobs:
    jobs = HandJobs(run)
    end(run, jobs, run.begin(photo.parent))
    return jobs


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str, Callable[[], object]], None]:
    """Have somebody act as soon as a method has returned for the first time."""

    def arrange(of: Any, method: str, act: Callable[[], object]) -> None:
        original, left = getattr(of, method), [act]

        def then(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            if left:
                left.pop()()
            return result

        monkeypatch.setattr(of, method, then)

    return arrange


def test_a_name_given_while_the_faces_are_written_stays(run: Run, photo: Path, after: Any) -> None:
    jobs = searched(run, photo)
    first, _ = faces_of(run, photo)
    after(FoundFaces, "_hold_persons", lambda: call(run, "Anna", first.id))
    end(run, jobs, run.begin(photo.parent, **LOWER))
    assert names_in(run, photo) == ["Anna", None]
    check_payloads(run)


def test_a_face_taken_from_somebody_before_its_point_is_written_is_nobodys_there_too(
    run: Run, photo: Path, after: Any
) -> None:
    jobs = searched(run, photo)
    first, _ = faces_of(run, photo)
    call(run, "Anna", first.id)
    tell(run)

    def take_back() -> None:
        run.database.transact(lambda connection: faces.unassign(connection, [first.id]))
        tell(run)

    after(Deciding, "decide", take_back)
    end(run, jobs, run.begin(photo.parent, **LOWER))
    assert names_in(run, photo) == [None, None]
    check_payloads(run)


def test_a_face_of_somebody_who_is_deleted_before_its_row_is_written_is_nobodys(
    run: Run, photo: Path, after: Any
) -> None:
    jobs = searched(run, photo)
    call(run, "Anna", faces_of(run, photo)[0].id)
    tell(run)
    another = photo.with_name("another.png")
    libraries.write_photo(another, 2, (ANNA,))

    def delete() -> None:
        run.database.transact(lambda connection: persons.delete(connection, person(run, "Anna")))
        tell(run)

    after(Deciding, "decide", delete)
    end(run, jobs, run.begin(photo.parent))
    assert names_in(run, another) == [None]
    check_payloads(run)


@pytest.mark.parametrize(
    ("seam", "before", "then"), [("_persons", "Anna", None), ("publish", "Anna", "Bela"), ("store", None, "Bela")]
)
def test_a_photo_embedded_again_says_who_is_in_it_by_then(
    run: Run, photo: Path, after: Any, seam: str, before: str | None, then: str | None
) -> None:
    jobs = searched(run, photo)
    first, _ = faces_of(run, photo)
    if before:
        call(run, before, first.id)
        tell(run)
    libraries.write_photo(photo, 3, (ANNA, BELA))

    def change_ones_mind() -> None:
        run.database.transact(lambda connection: faces.unassign(connection, [first.id]))
        if then:
            call(run, then, first.id)
        tell(run)

    after(EmbedStep, seam, change_ones_mind)
    run.begin(photo.parent)
    jobs.work_up_to("detect")
    tell(run)
    check_payloads(run)


def test_nobody_names_a_face_of_the_network_that_is_just_being_replaced(run: Run, photo: Path, after: Any) -> None:
    """They wait until the other one's are shown, and are told to look again: their word would go with the old faces."""
    jobs = searched(run, photo)
    first, second = faces_of(run, photo)
    call(run, "Anna", first.id)
    tell(run)
    known = run.engines.fake_faces.card
    run.engines.fake_faces.card = replace(known, name="another", weights_sha256="9" * 64, collection="faces-another")
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    named: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:

        def name() -> None:
            named.append(pool.submit(call, run, "Bela", second.id))
            while not named[0].done() and not run.rows(waiting):
                continue

        after(activation, "carry_over", name)
        end(run, jobs, run.begin(photo.parent))
        with pytest.raises(NoSuchFace, match="look again"):
            named[0].result()
    assert names_in(run, photo) == ["Anna", None]
    check_payloads(run)
