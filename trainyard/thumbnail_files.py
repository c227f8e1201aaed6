"""Thumbnails as files, named after a photo's content: which there are, and removing them.

`ab/ab12…-320.jpg` is of a photo, `ab/ab12…-face-0123456789abcdef-160.jpg` of a face in it: two folders of names, so
that none has millions. They may be removed at any time; whoever needs one makes it anew.
"""

import hashlib
import os
import re
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

DIGEST_CHARACTERS = 16  # of a face's box, in hex
NAME = re.compile(r"([0-9a-f]{64})-(?:face-([0-9a-f]{16})-)?\d+\.jpg")

Box = tuple[float, float, float, float]  # left, top, right, bottom: upright full-size px


def face_digest(box: Box) -> str:
    """What tells a face's thumbnails from those of others in the photo."""
    return hashlib.sha256(struct.pack("<4d", *box)).hexdigest()[:DIGEST_CHARACTERS]


def remove_of_photos(folder: Path, contents: Collection[bytes]) -> int:
    """Remove the thumbnails of these contents, their faces' among them; returns how many there were."""
    wanted = {content.hex() for content in contents}
    prefixes = {name[:2] for name in wanted}
    found = (file for prefix in prefixes for content, _, file in _files(folder / prefix) if content in wanted)
    return _remove(found)


def remove_of_faces(folder: Path, faces: Collection[tuple[bytes, Box]]) -> int:
    """The same of faces, each the content of its photo and its box."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for content, box in faces:
        wanted[content.hex()].add(face_digest(box))
    prefixes = {name[:2] for name in wanted}
    found = (
        file
        for prefix in prefixes
        for content, face, file in _files(folder / prefix)
        if face and face in wanted.get(content, ())
    )
    return _remove(found)


def remove_all(folder: Path, *, faces_only: bool = False) -> int:
    """Every thumbnail, or every face's; other files are left alone."""
    return _remove(
        file for inside in folders(folder) for _, face, file in _files(inside) if face is not None or not faces_only
    )


def folders(folder: Path) -> list[Path]:
    """Those that hold thumbnails."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def contents_in(folder: Path) -> set[bytes]:
    """The contents that one of `folders` has thumbnails of."""
    return {bytes.fromhex(content) for content, _, _ in _files(folder)}


def _files(folder: Path) -> Iterator[tuple[str, str | None, str]]:
    """(content in hex, face's digest or None, path) of each thumbnail in one of `folders`."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if named := NAME.fullmatch(entry.name):
            yield named[1], named[2], entry.path


def _remove(files: Iterator[str]) -> int:
    removed = 0
    for file in files:
        with suppress(FileNotFoundError):
            os.unlink(file)
            removed += 1
    return removed
