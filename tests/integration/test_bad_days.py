"""Bad days of a whole run: stores, disks, folders and workers that go away while it works.

The networks are fakes (tests/engines.py); files, decoders, PostgreSQL, Qdrant and controller are real.
"""

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from numpy.typing import NDArray

from jobs import streams
from jobs.walk import Walk
from local.data_dir import postgres_data
from tests import libraries
from tests.hand_jobs import HandJobs
from tests.local_runs import Run, data_directory, running
from tests.natural_keys import check_vectors
from tests.processes import trainyard
from trainyard import decoder_process
from trainyard.decoders import Decoder
from trainyard.progress import read_progress

PHOTOS = 40
NOTHING: Callable[..., None] = lambda *_: None  # noqa: E731


class Killed(BaseException):
    """A worker's sudden death: nothing in it gets to tidy up."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Run]:
    with data_directory() as folder, running(folder) as run:
        yield run


@pytest.fixture
def run(shared: Run) -> Iterator[Run]:
    """An installation that works; what the test hung on its networks is taken off again."""
    yield shared
    shared.engines.on_resolve = shared.engines.on_load = NOTHING
    shared.engines.fake_clip.on_encode = NOTHING


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return libraries.write_photos(tmp_path / "photos", PHOTOS)


def once(work: Callable[[], object]) -> Callable[..., None]:
    """`work`, at the first call alone."""
    left = [work]

    def act(*_: object) -> None:
        if left:
            left.pop()()

    return act


def when(network: str, work: Callable[[], object]) -> Callable[[str], None]:
    """`work`, at the first beginning of the step that uses this network."""
    act = once(work)
    return lambda kind: act() if kind == network else None


def kill_postgres(run: Run) -> None:
    pid = int((postgres_data(run.settings.data_dir) / "postmaster.pid").read_text().splitlines()[0])
    process = psutil.Process(pid)
    process.kill()
    process.wait()


def collected(run: Run, root: Path, files: int) -> None:
    """Wait until the newest session of this folder has written down so many files."""
    statement = (
        "SELECT 1 FROM shards h JOIN training_sessions s ON s.id = h.session_id "
        "WHERE h.step = 'discover' AND h.done = :files AND s.root_path = :root"
    )
    run.wait_for(lambda _: run.rows(statement, files=files, root=os.path.realpath(root)), f"{files} files to be found")


def codes(summary: dict[str, Any]) -> dict[str, str]:
    """Code of each failure by the file's name."""
    return {Path(failure["path"]).name: failure["code"] for failure in summary["failures"]}


def missing(run: Run, root: Path) -> int:
    statement = "SELECT path_text FROM image_assets WHERE missing_since IS NOT NULL"
    return sum(row.path_text.startswith(os.path.realpath(root)) for row in run.rows(statement))


# PostgreSQL


def test_a_postgresql_killed_while_photos_are_embedded_comes_back_and_nothing_is_lost(run: Run, photos: Path) -> None:
    run.engines.fake_clip.on_encode = once(lambda: kill_postgres(run))
    summary = run.run(photos)
    assert summary["overallStatus"] == "completed"
    assert (summary["images"]["processed"], summary["images"]["failed"]) == (PHOTOS, 0)
    check_vectors(run)


def test_a_postgresql_killed_during_discovery_makes_discovery_start_over(run: Run, photos: Path) -> None:
    """Its list of files is an unlogged table: empty after a crash."""

    def kill() -> None:
        collected(run, photos, PHOTOS)
        kill_postgres(run)

    run.engines.on_resolve = once(kill)
    summary = run.run(photos)
    assert (summary["images"]["total"], summary["images"]["processed"]) == (PHOTOS, PHOTOS)
    assert missing(run, photos) == 0


def test_a_successor_of_a_dead_discovery_counts_no_photo_twice(photos: Path) -> None:
    with data_directory() as folder, Run(folder) as run:

        def die() -> None:
            collected(run, photos, PHOTOS)
            raise Killed

        jobs = HandJobs(run)
        session = run.begin(photos, faces=False)
        jobs.settle()
        run.engines.on_resolve = once(die)
        with pytest.raises(Killed):
            jobs.work()
        jobs.work()
        jobs.work()
        assert run.ended(session)["images"] == {
            "total": PHOTOS, "processed": PHOTOS, "failed": 0, "unchanged": 0, "skipped": 0
        }  # fmt: skip


# Qdrant and the disk


def test_a_lost_folder_of_vectors_is_refilled_and_faces_keep_their_ids(photos: Path) -> None:
    ids = "SELECT id, cluster_id FROM face_instances ORDER BY id"
    with data_directory() as folder:
        with running(folder) as run:
            run.run(photos)
            before = run.rows(ids)
        shutil.rmtree(folder / "qdrant")
        with running(folder) as run:
            summary = run.run(photos)
            assert summary["overallStatus"] == "completed"
            assert summary["facesDetected"] == len(before)
            assert run.rows(ids) == before
            check_vectors(run)


def test_a_collection_of_another_model_is_refused_and_the_way_out_named(photos: Path) -> None:
    with data_directory() as folder:
        with running(folder, clip_weights="other weights") as run:
            run.run(photos, faces=False)
        with trainyard("run", photos, "--data-dir", folder, "--no-faces", "--json") as process:
            assert process.wait() == 1, process.errors
            failure = json.loads(process.output)["failure"]
        assert failure["code"] == "WrongCollection"
        assert "'images-fake'" in failure["message"]
        assert "Delete that collection" in failure["message"]


def test_a_full_disk_under_the_vectors_is_waited_for(photos: Path) -> None:
    with data_directory() as folder, small_disk(folder / "qdrant", kib=300) as enlarge:
        with running(folder) as run:
            session = run.begin(photos)
            run.waiting_code(session, "VectorsUnavailable")
            enlarge()
            summary = run.ended(session)
            assert (summary["overallStatus"], summary["images"]["failed"]) == ("completed", 0)
        with Run(folder) as again:  # what is on the disk, not what the engine kept in memory
            check_vectors(again)


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Callable[[], object]]:
    """A file system of its own on `folder`; yields what makes it large."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount a small disk")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_vectors_that_cannot_be_written_for_a_moment_are_written_then(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the edge of Qdrant's engine, where no disk can be filled: what SQLite says of a full one."""
    client = run.vectors._client
    write, full = client.upsert, [sqlite3.OperationalError("database or disk is full")]

    def upsert(*arguments: Any, **options: Any) -> Any:
        if full:
            raise full.pop()
        return write(*arguments, **options)

    monkeypatch.setattr(client, "upsert", upsert)
    assert run.run(photos)["images"]["failed"] == 0
    check_vectors(run)


# Folders and files


def test_a_folder_removed_during_the_walk_is_passed_over_and_told(photos: Path) -> None:
    walk = Walk([os.fsencode(photos)], ())
    files = iter(walk)
    first = next(files)
    shutil.rmtree(photos / "b")
    rest = list(files)
    assert {os.path.dirname(found.path) for found in [first, *rest]} == {os.fsencode(photos / "a")}
    assert walk.unreadable == [os.fsencode(photos / "b")]


def test_files_changed_during_discovery_are_taken_as_they_are_when_read(run: Run, photos: Path) -> None:
    gone, changed, new = photos / "b/photo 000.png", photos / "b/photo 002.png", photos / "b/new.png"

    def change() -> None:
        collected(run, photos, PHOTOS)
        gone.unlink()
        libraries.write_photo(changed, 900)
        libraries.write_photo(new, 901)

    run.engines.on_resolve = once(change)
    first, second = run.run(photos), run.run(photos)
    assert codes(first) == {gone.name: "not_found"}
    assert first["images"]["total"] == PHOTOS
    assert (second["images"]["processed"], second["images"]["unchanged"]) == (1, PHOTOS - 1)
    assert missing(run, photos) == 1
    check_vectors(run)


def test_files_that_vanish_between_steps_are_failures_of_their_own(run: Run, photos: Path) -> None:
    names = ["photo 000.png", "photo 002.png"]

    def vanish() -> None:
        for name in names:
            (photos / "b" / name).unlink()

    run.engines.on_load = when("face", vanish)
    summary = run.run(photos)
    assert summary["overallStatus"] == "completed"
    assert codes(summary) == dict.fromkeys(names, "not_found")
    assert summary["images"]["failed"] == 2


@pytest.mark.parametrize("network", ["clip", "face"])
def test_a_mount_that_vanishes_is_waited_for_and_no_photo_is_recorded_as_missing(
    run: Run, photos: Path, network: str
) -> None:
    away = photos.with_name("away")
    run.engines.on_load = when(network, lambda: photos.rename(away))
    session = run.begin(photos)
    run.waiting_code(session, "StorageUnavailable")
    away.rename(photos)
    summary = run.ended(session)
    assert (summary["overallStatus"], summary["images"]["failed"]) == ("completed", 0)
    assert summary["images"]["processed"] == PHOTOS
    assert missing(run, photos) == 0


def test_a_mount_that_vanishes_in_the_middle_of_a_batch_fails_none_of_it(photos: Path) -> None:
    """One stream and batches of two chunks: the second chunk of the first batch finds the folder gone."""
    away = photos.with_name("away")
    with data_directory() as folder, running(folder, loaders=1, embed_batch=16) as run:
        run.engines.fake_clip.on_encode = once(lambda: photos.rename(away))
        session = run.begin(photos, faces=False)
        run.waiting_code(session, "StorageUnavailable")
        away.rename(photos)
        assert run.ended(session)["failures"] == []


@pytest.mark.parametrize("network", ["clip", "face"])
def test_a_folder_that_becomes_a_link_leading_out_is_not_followed(
    run: Run, photos: Path, tmp_path: Path, network: str
) -> None:
    private = libraries.write_photos(tmp_path / "private", PHOTOS)

    def swap() -> None:
        (photos / "a").rename(tmp_path / "away")
        (photos / "a").symlink_to(private / "a")

    run.engines.on_load = when(network, swap)
    summary = run.run(photos)
    assert set(codes(summary).values()) == {"outside_roots"}
    assert summary["images"]["failed"] == PHOTOS // 2
    check_vectors(run)


def test_a_folder_that_becomes_a_link_to_another_of_its_session_is_followed(run: Run, photos: Path) -> None:
    def move() -> None:
        (photos / "a").rename(photos / "moved")
        (photos / "a").symlink_to("moved")

    run.engines.on_load = when("clip", move)
    assert run.run(photos)["failures"] == []


def test_photos_are_only_ever_read(run: Run, photos: Path) -> None:
    libraries.write_broken(photos)
    files = sorted(path for path in photos.rglob("*"))
    for path in files:
        path.chmod(0o555 if path.is_dir() else 0o444)

    def state() -> list[tuple[Any, ...]]:
        known = [(path, path.stat()) for path in sorted(photos.rglob("*"))]
        return [
            (path, found.st_mode, found.st_mtime_ns, found.st_ino, b"" if path.is_dir() else path.read_bytes())
            for path, found in known
        ]

    before = state()
    assert run.run(photos)["overallStatus"] == "completed"
    assert state() == before


def test_a_session_whose_every_photo_fails_has_failed(run: Run, tmp_path: Path) -> None:
    libraries.write_broken(tmp_path)
    session = run.begin(tmp_path)
    summary = run.ended(session)
    assert (summary["overallStatus"], summary["failure"]["code"]) == ("failed", "AllImagesFailed")
    assert summary["images"]["failed"] == 3
    phases = run.database.transact(lambda connection: read_progress(connection, session)).phases
    assert {name: phase.status for name, phase in phases.items()} == {
        "training": "failed",
        "faceDetection": "pending",
        "clustering": "pending",
    }


def test_a_session_without_photos_completes_and_skips_the_later_phases(tmp_path: Path) -> None:
    with data_directory() as folder, running(folder) as run:
        session = run.begin(tmp_path)
        assert run.ended(session)["images"]["total"] == 0
        progress = run.database.transact(lambda connection: read_progress(connection, session))
        assert (progress.overall_status, progress.percentage) == ("completed", 100.0)
        phases = {name: (phase.status, phase.percentage) for name, phase in progress.phases.items()}
        assert phases == {"training": ("completed", 100.0), "faceDetection": ("skipped", 0.0),
                          "clustering": ("skipped", 0.0)}  # fmt: skip


def test_files_that_are_gone_are_marked_but_not_where_most_are_gone(run: Run, photos: Path) -> None:
    run.run(photos)
    (photos / "a/photo 001.png").unlink()
    assert any("1 photos" in note and "marked missing" in note for note in run.run(photos)["notes"])
    assert missing(run, photos) == 1
    for path in sorted(photos.rglob("*.png"))[: PHOTOS * 3 // 4]:
        path.unlink()
    summary = run.run(photos)
    assert missing(run, photos) == 1
    assert any(str(PHOTOS * 3 // 4) in note for note in summary["notes"])


# Decoders and workers that die


def test_a_lack_of_open_files_is_waited_for_and_no_attempt_fails_of_it(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the edge of the system, which cannot be exhausted for a test alone: its answer to another process."""
    begin, lacking = subprocess.Popen, [True]

    def popen(*arguments: Any, **options: Any) -> Any:
        if lacking:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return begin(*arguments, **options)

    monkeypatch.setattr(decoder_process.subprocess, "Popen", popen)
    session = run.begin(photos, faces=False)
    run.waiting_code(session, "DecodersUnavailable")
    lacking.clear()
    summary = run.ended(session)
    assert (summary["overallStatus"], summary["images"]["failed"]) == ("completed", 0)
    (step,) = run.rows("SELECT attempt, failures FROM steps WHERE session_id = :id AND step = 'embed'", id=session)
    assert (step.attempt, step.failures) == (1, 0)


def test_a_photo_that_kills_its_decoders_fails_alone(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "deadly.py"
    script.write_text(
        "import os, signal\n"
        "from trainyard import decoder_child, photos\n"
        "decode = photos.clip_view\n"
        "def deadly(path):\n"
        "    if path.endswith(b'photo 007.png'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return decode(path)\n"
        "photos.clip_view = deadly\n"
        "decoder_child.main()\n"
    )
    command = (sys.executable, "-P", str(script))
    monkeypatch.setattr(streams, "Decoder", lambda seconds, memory: Decoder(seconds, memory, command))
    summary = run.run(photos, faces=False)
    assert codes(summary) == {"photo 007.png": "worker_crashed"}
    assert summary["images"]["processed"] == PHOTOS


def test_what_a_dead_worker_held_is_run_one_at_a_time_and_two_deaths_fail_the_photo(photos: Path) -> None:
    deadly = photos / "b/photo 006.png"
    deadly_pixels = Decoder().clip_view(os.fsencode(deadly))[1]
    batches: list[int] = []

    def die(pictures: NDArray[Any]) -> None:
        batches.append(len(pictures))
        if any((picture == deadly_pixels).all() for picture in pictures):
            raise Killed

    with data_directory() as folder, Run(folder) as run:
        jobs = HandJobs(run)
        session = run.begin(photos, faces=False)
        jobs.work_up_to("embed")
        run.engines.fake_clip.on_encode = die
        for _ in range(2):
            with pytest.raises(Killed):
                jobs.work()
        first_death = batches.index(8)
        jobs.work()
        summary = run.ended(session)
        attempts = run.rows("SELECT attempts, count(*) FROM training_jobs GROUP BY attempts ORDER BY attempts")
        (claims,) = run.rows("SELECT claim FROM shards WHERE step = 'embed'")
    assert codes(summary) == {deadly.name: "worker_crashed"}
    assert summary["images"]["processed"] == PHOTOS
    assert attempts[-1] == (2, 1)
    assert claims.claim >= 3
    assert set(batches[first_death:]) >= {8, 1}
