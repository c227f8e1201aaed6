"""One whole run as a user starts it: the real command, real photos, CLIP (untrained weights) and dlib's faces."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.postgres import EmbeddedPostgres
from tests import pictures
from tests.local_runs import REPOSITORY, data_directory, wait_until
from tests.processes import settings_of_tests

EMBEDDING = """
    SELECT 1 FROM shards WHERE step = 'embed' AND finished_at IS NULL AND worker LIKE %s
        AND EXISTS (SELECT 1 FROM training_evidence)
"""


@contextmanager
def trainyard_run(photos: Path, data_dir: Path) -> Iterator["subprocess.Popen[str]"]:
    """`trainyard run --json`; killed at the end if it still runs."""
    command = [sys.executable, "-m", "cli.main", "run", str(photos), "--data-dir", str(data_dir), "--json"]
    process = subprocess.Popen(
        [*command, "--untrained", "--face-engine", "dlib"],
        cwd=REPOSITORY,
        env=settings_of_tests() | {"TRAINYARD_EMBED_BATCH": "1", "TRAINYARD_DETECT_BATCH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a run that ends by itself."""
    output, errors = process.communicate()
    assert output, errors
    return process.returncode, json.loads(output)


def await_first_photo(process: "subprocess.Popen[str]", data_dir: Path) -> None:
    """Wait until this very run embeds, and an embedding is committed."""

    def committed() -> bool:
        assert process.poll() is None, "the run ended too early"
        url = EmbeddedPostgres.url_of_running(data_dir)
        if url is None:
            return False
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            embedding = connection.execute(EMBEDDING, [f"%/{process.pid}/%"])
            return embedding.fetchone() is not None

    wait_until(committed, "a photo to be embedded")


def write_photos(folder: Path) -> None:
    folder.mkdir()
    group = pictures.group_photo().resize((960, 664))
    people = [group.crop((left, 120, left + 320, 500)) for left in (0, 320, 640)]
    for name, picture in {"group": group, "cat": pictures.chelsea(), "pilot": pictures.astronaut()}.items():
        (folder / f"{name}.jpg").write_bytes(pictures.encoded(picture))
    for number, picture in enumerate(people):
        (folder / f"person {number}.png").write_bytes(pictures.encoded(picture, "PNG"))
    (folder / "torn.jpg").write_bytes(pictures.encoded(group)[:5000])
    (folder / "film.mp4").write_bytes(b"no photo")


def test_a_run_completes_and_a_second_one_finds_everything_unchanged(tmp_path: Path) -> None:
    photos = tmp_path / "Meine Fotos"
    write_photos(photos)
    with data_directory() as data_dir:
        with trainyard_run(photos, data_dir) as run:
            code, whole = ended(run)
        with trainyard_run(photos, data_dir) as run:
            repeated_code, repeated = ended(run)
    assert (code, whole["overallStatus"]) == (0, "completed")
    assert whole["images"] == {"total": 7, "processed": 7, "failed": 1, "unchanged": 0, "skipped": 1}
    assert whole["facesDetected"] >= 6
    assert whole["clustersCreated"] >= 1
    torn = os.path.realpath(photos / "torn.jpg")
    assert [(failure["path"], failure["code"]) for failure in whole["failures"]] == [(torn, "truncated")]
    assert whole["models"]["clip"]["trained"] is False
    assert whole["models"]["face"]["engine"] == "dlib"
    assert set(whole["seconds"]) == {"discover", "training", "faceDetection", "clustering", "total"}
    assert repeated_code == 0
    assert repeated["images"] == {"total": 7, "processed": 0, "failed": 0, "unchanged": 7, "skipped": 1}


@pytest.mark.long  # with fake networks test_sessions_cli.py tests it every time
def test_a_run_is_killed_then_interrupted_then_taken_up_and_finished(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_photos(photos)
    with data_directory() as data_dir:
        with trainyard_run(photos, data_dir) as run:
            await_first_photo(run, data_dir)
        with trainyard_run(photos, data_dir) as run:
            await_first_photo(run, data_dir)
            run.send_signal(signal.SIGINT)
            code, interrupted = ended(run)
        assert (code, interrupted["overallStatus"]) == (130, "paused")
        with trainyard_run(photos, data_dir) as run:
            code, whole = ended(run)
    assert (code, whole["overallStatus"]) == (0, "completed")
    assert whole["sessionId"] == interrupted["sessionId"] == 1
    assert whole["images"]["processed"] == 7
