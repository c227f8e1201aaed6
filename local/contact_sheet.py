"""Contact sheets: one JPEG for each group of faces, so that people can see who was put together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from pathlib import Path

import sqlalchemy as sa
from PIL import Image, ImageDraw, ImageFont

from trainyard.database import Database
from trainyard.decoders import Decoder
from trainyard.photos import PhotoError

TILE_PX = 160
GAP_PX = 8
TITLE_PX = 40
COLUMNS = 6
MOST_FACES = 60  # of a group; the best ones
MARGIN = 0.3  # of the box's side, on each of the face's

PAPER, INK, EMPTY = (250, 250, 248), (40, 40, 40), (210, 210, 210)

READ_FACES = sa.text("""
    SELECT cluster_id, size, box_left, box_top, box_right, box_bottom, path, width, height, photos
    FROM (
        SELECT f.cluster_id, c.size, f.box_left, f.box_top, f.box_right, f.box_bottom, a.path, a.width, a.height,
               (SELECT count(DISTINCT o.asset_id) FROM face_instances o WHERE o.cluster_id = c.id) AS photos,
               row_number() OVER (
                   PARTITION BY f.cluster_id ORDER BY f.quality DESC, a.path_sha256, f.box_left, f.box_top
               ) AS rank
        FROM face_clusters c
        JOIN face_instances f ON f.cluster_id = c.id
        JOIN image_assets a ON a.id = f.asset_id
        WHERE c.model_id = :model_id AND c.closed_at IS NULL
    ) ranked
    WHERE rank <= :most
    ORDER BY size DESC, cluster_id, rank
""")


@dataclass(frozen=True)
class Face:
    """One face to show: its box (left, top, right, bottom) in upright, full-size px of its photo."""

    path: bytes
    photo_side_px: int  # the photo's longer side
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Group:
    id: int
    size: int
    photos: int
    faces: Sequence[Face]  # best quality first, at most MOST_FACES


def write_contact_sheets(database: Database, out_dir: Path, model_id: int) -> list[Path]:
    """A JPEG `group-<id>.jpg` in `out_dir` for each open group of the face model, the largest group first.

    `model_id` is the model's row in `models`. A face whose photo cannot be decoded any more is an empty tile.
    Sheets of groups that are no longer open are removed. Photos are decoded in a child process.
    """
    groups = database.transact(lambda connection: _read_groups(connection, model_id))
    out_dir.mkdir(parents=True, exist_ok=True)
    written = []
    with Decoder() as decoder:
        for group in groups:
            path = out_dir / f"group-{group.id}.jpg"
            _sheet(group, decoder).save(path, "JPEG", quality=88)
            written.append(path)
    for old in set(out_dir.glob("group-*.jpg")) - set(written):
        old.unlink()
    return written


def _read_groups(connection: sa.Connection, model_id: int) -> list[Group]:
    faces: dict[int, list[Face]] = defaultdict(list)
    facts: dict[int, tuple[int, int]] = {}
    for row in connection.execute(READ_FACES, {"model_id": model_id, "most": MOST_FACES}):
        box = (row.box_left, row.box_top, row.box_right, row.box_bottom)
        faces[row.cluster_id].append(Face(row.path, max(row.width, row.height), box))
        facts[row.cluster_id] = (row.size, row.photos)
    return [Group(id, *facts[id], faces=members) for id, members in faces.items()]


def _sheet(group: Group, decoder: Decoder) -> Image.Image:
    columns = min(COLUMNS, len(group.faces))
    rows = ceil(len(group.faces) / columns)
    step = TILE_PX + GAP_PX
    width = max(columns * step + GAP_PX, 3 * step + GAP_PX)  # room for the title
    sheet = Image.new("RGB", (width, TITLE_PX + rows * step + GAP_PX), PAPER)
    font = ImageFont.load_default(size=18)
    ImageDraw.Draw(sheet).text((GAP_PX + 2, TITLE_PX // 2), _title(group), INK, font, anchor="lm")
    for i, face in enumerate(group.faces):
        place = (GAP_PX + i % columns * step, TITLE_PX + i // columns * step)
        sheet.paste(_tile(face, decoder), place)
    return sheet


def _title(group: Group) -> str:
    best = f", the best {len(group.faces)}" if group.size > len(group.faces) else ""
    return f"Group {group.id}: {group.size} faces in {group.photos} photos{best}"


def _tile(face: Face, decoder: Decoder) -> Image.Image:
    """The face with some of what is around it, TILE_PX squared; plain when its photo cannot be had."""
    left, top, right, bottom = _square(face.box)
    needed = TILE_PX / max(right - left, 1.0)  # tile px per full-size px: the photo is decoded no larger
    side_px = max(1, min(face.photo_side_px, round(face.photo_side_px * needed)))
    try:
        content = decoder.thumbnail(face.path, side_px)
    except (PhotoError, OSError):
        return Image.new("RGB", (TILE_PX, TILE_PX), EMPTY)
    with Image.open(BytesIO(content)) as photo:
        scale = max(photo.size) / face.photo_side_px
        cut = Image.new("RGB", (round((right - left) * scale), round((bottom - top) * scale)), EMPTY)
        cut.paste(photo, (-round(left * scale), -round(top * scale)))
        return cut.resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)


def _square(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """A square around the box's middle, with margins."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (0.5 + MARGIN)
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - half, y - half, x + half, y + half
