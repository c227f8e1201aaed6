"""What a session would cost, over HTTP: photos in the folder, less those that are known, times what each took."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.rows import add_model, add_session, add_step
from tests.served_rows import ServedRows, served_rows

UNITS = 100  # photos and faces of each session that was measured
SECONDS = {"embed": 10.0, "detect": 200.0, "cluster": 1.0}
FACES = 150  # in its photos


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "photos"
    for name in ("a/1.jpg", "a/2.jpg", "a/deep/3.jpg", "b/4.jpg", "notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def server(database_url: str, tmp_path: Path, root: Path) -> Iterator[ServedRows]:
    with served_rows(database_url, tmp_path / "data", image_roots=str(root)) as found:
        yield found


def estimate(server: ServedRows, root: Path, **query: Any) -> Any:
    answer = server.client.get("/api/v1/training/estimate", params={"rootPath": str(root), **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def do(server: ServedRows, work: Any, *arguments: Any, **named: Any) -> Any:
    return server.services.database.transact(lambda connection: work(connection, *arguments, **named))


@pytest.fixture
def models(server: ServedRows) -> dict[str, Any]:
    """Those of the sessions that were measured."""
    clip, face = (do(server, add_model, kind) for kind in ("clip", "face"))
    return {"clip": {"id": clip}, "face": {"id": face}, "device": "cpu"}


def measured(server: ServedRows, models: dict[str, Any], slower: float = 1.0) -> None:
    session = do(server, add_session, models=models, status="completed")
    for step, seconds in SECONDS.items():
        counts = {"faces": FACES} if step == "detect" else {}
        values = {"total": UNITS, "done": UNITS, "seconds": seconds * slower, "counts": counts}
        do(server, add_step, session, step, "completed", **values)


KNOWN = """
    WITH photo AS (
        INSERT INTO image_assets (path, path_sha256, path_text, content_sha256)
        SELECT convert_to(p, 'UTF8'), sha256(convert_to(p, 'UTF8')), p, 'content' FROM unnest(CAST(:paths AS text[])) p
        RETURNING id
    ), evidence AS (
        INSERT INTO training_evidence
            (asset_id, content_sha256, model_id, embedding_sha256, trained, session_id, seconds)
        SELECT id, 'content', :clip, '', true, 1, 0 FROM photo
    )
    INSERT INTO face_scans (asset_id, content_sha256, model_id, min_confidence, min_face_size_px, faces, session_id)
    SELECT id, 'content', :face, 0.5, 20, 1, 1 FROM photo WHERE :searched
"""


def know(server: ServedRows, models: dict[str, Any], *paths: Path, searched: bool = True) -> None:
    asked = {"paths": [str(path) for path in paths], "searched": searched}
    networks = {"clip": models["clip"]["id"], "face": models["face"]["id"]}
    do(server, lambda connection: connection.execute(sa.text(KNOWN), {**asked, **networks}))


def test_before_the_first_session_photos_are_counted_and_nobody_knows_how_long(server: ServedRows, root: Path) -> None:
    found = estimate(server, root)
    assert found["images"] == {"count": 4, "exact": True, "text": "4"}
    assert (found["seconds"], found["sessionsMeasured"]) == (None, 0)
    assert found["phases"]["training"] == found["phases"]["faceDetection"] == {"units": 4, "seconds": None}


def test_it_takes_what_it_took_before_for_each_photo(server: ServedRows, root: Path, models: dict[str, Any]) -> None:
    measured(server, models)
    measured(server, models, slower=3.0)
    found = estimate(server, root)
    assert found["phases"] == {
        "training": {"units": 4, "seconds": pytest.approx(4 * 0.2)},
        "faceDetection": {"units": 4, "seconds": pytest.approx(4 * 4.0)},
        "clustering": {"units": 6, "seconds": pytest.approx(6 * 0.02)},  # 1.5 faces a photo
    }
    assert found["seconds"] == pytest.approx(0.8 + 16 + 0.12)
    assert found["sessionsMeasured"] == 2


def test_photos_that_are_known_are_not_done_again(server: ServedRows, root: Path, models: dict[str, Any]) -> None:
    measured(server, models)
    know(server, models, root / "a/1.jpg", root / "b/4.jpg", Path(f"{root}-beside/5.jpg"))
    know(server, models, root / "a/2.jpg", searched=False)
    found = estimate(server, root)
    assert found["known"] == {"embedded": 3, "searched": 2}
    assert [found["phases"][phase]["units"] for phase in ("training", "faceDetection")] == [1, 2]
    for gone in ("missing_since = now()", "content_sha256 = 'another'"):
        do(server, lambda connection, gone=gone: connection.execute(sa.text(f"UPDATE image_assets SET {gone}")))
        assert estimate(server, root)["known"] == {"embedded": 0, "searched": 0}


def test_folders_and_phases_that_are_left_out_cost_nothing(
    server: ServedRows, root: Path, models: dict[str, Any]
) -> None:
    measured(server, models)
    know(server, models, root / "a/1.jpg", root / "b/4.jpg")
    some = estimate(server, root, subdirectory=["a/deep", "b"])
    assert (some["images"]["count"], some["known"]["embedded"]) == (2, 1)
    without = estimate(server, root, faces=False)
    nothing = {"units": 0, "seconds": 0}
    assert without["phases"]["faceDetection"] == without["phases"]["clustering"] == nothing
    assert without["seconds"] == without["phases"]["training"]["seconds"] == pytest.approx(2 * 0.1)


def test_what_was_measured_of_other_networks_says_nothing(
    server: ServedRows, root: Path, models: dict[str, Any]
) -> None:
    measured(server, models)
    do(server, add_session, models={**models, "clip": {"id": models["clip"]["id"] + 100}})
    found = estimate(server, root)
    assert found["phases"]["training"]["seconds"] is None
    assert found["phases"]["faceDetection"]["seconds"] is not None
    assert found["seconds"] is None


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"rootPath": "/etc"}, "OutsideImageRoots"),
        ({"rootPath": "photos"}, "RootNotAbsolute"),
        ({"rootPath": "{root}/nowhere"}, "RootNotFound"),
        ({"rootPath": "{root}", "subdirectory": ".."}, "OutsideRoot"),
        ({"rootPath": "{root}", "faces": "perhaps"}, "InvalidRequest"),
        ({}, "InvalidRequest"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_as_a_session_of_it_would_be(
    server: ServedRows, root: Path, query: dict[str, str], code: str
) -> None:
    asked = {name: value.format(root=root) for name, value in query.items()}
    answer = server.client.get("/api/v1/training/estimate", params=asked)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
