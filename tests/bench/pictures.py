"""Photos for the bench: real pictures enlarged to a camera's size, with a sensor's noise, each file its own."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tests.pictures import astronaut, chelsea, coffee, encoded, enlarged, group_photo, rocket

DISTINCT = 12  # pictures; files beyond are copies with a comment of their own, so that no two have the same bytes
QUALITY = 90
NOISE = 3.0  # standard deviation, of 255: what a phone leaves at ISO 400; it gives a 12 MP file its 4 to 6 MB
MARK_VIEW_PX = 16  # a mark's side as a fake detector sees it: whole cells of 8 px inside wherever the grid lies
MARKS_VIEW_PX = ((160, 160), (400, 240))
VIEW_SIDE_PX = 640


def write_photos(folder: Path, count: int, megapixels: float, marked: bool = False) -> list[bytes]:
    """`count` JPEGs of that size in `folder`; `marked` ones carry two faces for the fakes of `costly_onnx`."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = [encoded(picture, quality=QUALITY) for picture in _pictures(min(count, DISTINCT), megapixels, marked)]
    paths = [folder / f"photo-{index:05}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        path.write_bytes(with_comment(contents[index % len(contents)], str(index)))
    return [bytes(path) for path in paths]


def with_comment(jpeg: bytes, text: str) -> bytes:
    """The same picture in a file with other bytes."""
    comment = text.encode()
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def _pictures(count: int, megapixels: float, marked: bool) -> Iterator[Image.Image]:
    rng = np.random.default_rng(0)
    sources = (group_photo(), astronaut(), coffee(), chelsea(), rocket())
    for index in range(count):
        picture = _noisy(enlarged(_cropped(sources[index % len(sources)], rng), megapixels), rng)
        yield _marked(picture) if marked else picture


def _cropped(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """All of it but up to a tenth at each edge."""
    left, top, right, bottom = rng.uniform(0, 0.1, 4)
    width, height = picture.size
    return picture.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))


def _noisy(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture).astype(np.int16)
    tile = rng.normal(0, NOISE, (256, *pixels.shape[1:])).astype(np.int16)
    for top in range(0, len(pixels), len(tile)):
        band = pixels[top : top + len(tile)]
        band += np.roll(tile, int(rng.integers(pixels.shape[1])), axis=1)[: len(band)]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _marked(picture: Image.Image) -> Image.Image:
    """The picture in grey, as anything red is a face to the fakes, with two squares of pure red."""
    scale = max(picture.size) / VIEW_SIDE_PX
    grey = picture.convert("L").convert("RGB")
    draw = ImageDraw.Draw(grey)
    for left, top in MARKS_VIEW_PX:
        edges = [round(edge * scale) for edge in (left, top, left + MARK_VIEW_PX, top + MARK_VIEW_PX)]
        draw.rectangle([edges[0], edges[1], edges[2], edges[3]], fill=(255, 0, 0))
    return grey
