"""Contact sheets from rows of a real database and real photos."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from local.contact_sheet import EMPTY, GAP_PX, TILE_PX, TITLE_PX, write_contact_sheets
from tests.pictures import group_photo, oriented, written
from trainyard.database import Database
from trainyard.tables import face_clusters, face_instances, image_assets, models, training_sessions

SIDE_PX = 200  # of the photos here; a face fills the middle half


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def model_id(database: Database) -> int:
    row = {"kind": "face", "engine": "dlib", "name": "dlib", "weights_sha256": "00", "preprocess_version": 1}
    return insert(database, models, {**row, "dimension": 128, "collection": "faces-dlib", "trained": True})


def insert(database: Database, table: sa.Table, row: dict[str, object]) -> int:
    statement = sa.insert(table).values(row).returning(table.c.id)
    return database.transact(lambda connection: connection.execute(statement).scalar_one())


def add_group(database: Database, model_id: int, size: int, closed: bool = False) -> int:
    session_id = insert(database, training_sessions, {"root_path": "/photos"})
    row = {"model_id": model_id, "session_id": session_id, "size": size}
    return insert(database, face_clusters, {**row, "closed_at": sa.func.now() if closed else None})


def add_face(
    database: Database, group: int, path: Path, quality: float, box: tuple[float, ...] = (50, 50, 150, 150)
) -> None:
    """A face of the group; `box` is in a photo of 200 × 200 px."""
    asset = {"path": bytes(path), "path_sha256": uuid4().bytes, "path_text": str(path), "width": SIDE_PX}
    cluster = sa.select(face_clusters.c.model_id, face_clusters.c.session_id).where(face_clusters.c.id == group)
    owner = database.transact(lambda connection: connection.execute(cluster).one())
    face = {"id": uuid4(), "asset_id": insert(database, image_assets, {**asset, "height": SIDE_PX}), "ordinal": 0}
    edges = dict(zip(("box_left", "box_top", "box_right", "box_bottom"), box, strict=True))
    face |= {"content_sha256": b"", "embedding_sha256": b"", "confidence": 1.0, "quality": quality, **edges}
    insert(database, face_instances, {**face, "cluster_id": group, **owner._mapping})


def plain_photo(path: Path, colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", (SIDE_PX, SIDE_PX), colour).save(path)
    return path


def tile_colour(sheet: Path, column: int) -> tuple[int, ...]:
    with Image.open(sheet) as picture:
        left = GAP_PX + column * (TILE_PX + GAP_PX)
        tile = np.asarray(picture.crop((left, TITLE_PX, left + TILE_PX, TITLE_PX + TILE_PX)))
    return tuple(int(value) for value in np.median(tile.reshape(-1, 3), axis=0))


def close_to(colour: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 4 for a, b in zip(colour, other, strict=True))


def test_each_open_group_gets_a_sheet_the_largest_first(database: Database, model_id: int, tmp_path: Path) -> None:
    photo = plain_photo(tmp_path / "photo.png", (200, 0, 0))
    small, large, closed = (add_group(database, model_id, size, closed=size == 9) for size in (1, 2, 9))
    for group in (small, large, large, closed):
        add_face(database, group, photo, 0.5)

    sheets = write_contact_sheets(database, tmp_path / "sheets", model_id)

    assert [sheet.name for sheet in sheets] == [f"group-{large}.jpg", f"group-{small}.jpg"]
    assert sorted((tmp_path / "sheets").iterdir()) == sorted(sheets)


def test_faces_are_sorted_by_quality(database: Database, model_id: int, tmp_path: Path) -> None:
    group = add_group(database, model_id, 2)
    red, blue = (200, 0, 0), (0, 0, 200)
    add_face(database, group, plain_photo(tmp_path / "poor.png", red), 0.4)
    add_face(database, group, plain_photo(tmp_path / "good.png", blue), 0.9)

    (sheet,) = write_contact_sheets(database, tmp_path / "sheets", model_id)

    assert close_to(tile_colour(sheet, 0), blue)
    assert close_to(tile_colour(sheet, 1), red)


def test_photos_that_are_broken_or_gone_leave_empty_tiles(database: Database, model_id: int, tmp_path: Path) -> None:
    group = add_group(database, model_id, 3)
    green = (0, 150, 0)
    add_face(database, group, tmp_path / "gone.jpg", 0.9)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    add_face(database, group, tmp_path / "broken.jpg", 0.8)
    add_face(database, group, plain_photo(tmp_path / "whole.png", green), 0.7)

    (sheet,) = write_contact_sheets(database, tmp_path / "sheets", model_id)

    assert [close_to(tile_colour(sheet, column), EMPTY) for column in range(3)] == [True, True, False]
    assert close_to(tile_colour(sheet, 2), green)


def test_a_face_is_cut_from_the_upright_photo(database: Database, model_id: int, tmp_path: Path) -> None:
    picture = Image.new("RGB", (SIDE_PX, SIDE_PX), (0, 0, 0))
    picture.paste((250, 250, 0), (100, 0, 200, 100))  # the upper right quarter, once upright
    path = Path(written(tmp_path / "turned.jpg", oriented(picture, 6)).decode())
    group = add_group(database, model_id, 1)
    add_face(database, group, path, 0.9, box=(120, 20, 180, 80))

    (sheet,) = write_contact_sheets(database, tmp_path / "sheets", model_id)

    assert close_to(tile_colour(sheet, 0), (250, 250, 0))


def test_a_tiny_face_at_the_edge_of_its_photo_is_shown(database: Database, model_id: int, tmp_path: Path) -> None:
    path = tmp_path / "group.jpg"
    group_photo().resize((SIDE_PX, SIDE_PX)).save(path)
    group = add_group(database, model_id, 1)
    add_face(database, group, path, 0.9, box=(0, 0, 4, 4))

    (sheet,) = write_contact_sheets(database, tmp_path / "sheets", model_id)

    assert not close_to(tile_colour(sheet, 0), EMPTY)


def test_the_sheet_of_a_group_that_is_no_longer_open_is_removed(
    database: Database, model_id: int, tmp_path: Path
) -> None:
    group = add_group(database, model_id, 1)
    add_face(database, group, plain_photo(tmp_path / "photo.png", (9, 9, 9)), 0.5)
    write_contact_sheets(database, tmp_path, model_id)
    closing = sa.update(face_clusters).where(face_clusters.c.id == group).values(closed_at=sa.func.now())
    database.transact(lambda connection: connection.execute(closing))

    assert write_contact_sheets(database, tmp_path, model_id) == []
    assert not list(tmp_path.glob("group-*.jpg"))
