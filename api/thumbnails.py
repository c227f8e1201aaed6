"""Thumbnails of photos and faces, made by decoders in child processes and kept as files named after the content.

One of a photo, 320 px takes about 20 kB, so 100,000 photos take 2 GB; the folder may be emptied at any time.
"""

import asyncio
import logging
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from starlette.concurrency import run_in_threadpool

from trainyard.decoders import Decoder
from trainyard.folders import is_allowed
from trainyard.photos import Box, PhotoError
from trainyard.settings import Settings
from trainyard.thumbnail_files import face_digest

log = logging.getLogger(__name__)

DECODERS = 2  # side by side; each is a process of some 100 MiB, once it was needed
JPEG_BEGINS, JPEG_ENDS = b"\xff\xd8", b"\xff\xd9"
GONE = "The file is not in its place; run again to leave it out, or put it back."


@dataclass(frozen=True)
class Original:
    """A photo as its row has it: what its content was when it was last read, and the file's size and time then."""

    path: bytes
    content_sha256: bytes | None
    size_and_mtime: tuple[int | None, int | None]


@dataclass(frozen=True)
class View:
    """What is shown of a photo, in a square of so many px: all of it, or the face in a box with a margin."""

    side_px: int
    face: Box | None = None  # upright full-size px

    @property
    def name(self) -> str:
        """What tells it from other views of the same content."""
        return f"{self.side_px:d}" if self.face is None else f"face-{face_digest(self.face)}-{self.side_px:d}"


@dataclass(frozen=True)
class Thumbnail:
    jpeg: bytes
    of_content: bool  # of the content in the row; else of a file that has changed since, and not kept


class Thumbnails:
    """Makes thumbnails and keeps them. Used by one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.thumbnails_path
        self._threads = ThreadPoolExecutor(DECODERS, thread_name_prefix="thumbnails")
        self._decoders: SimpleQueue[Decoder] = SimpleQueue()
        for _ in range(DECODERS):
            self._decoders.put(Decoder(settings.photo_timeout_seconds, settings.photo_memory_mib << 20))
        self._being_made: dict[tuple[Original, View], asyncio.Future[Thumbnail]] = {}

    async def get(self, original: Original, view: View) -> Thumbnail:
        """The thumbnail, made unless it is kept; asked for twice at once, it is made once.

        Those who wait for a decoder take no thread from other requests. Raises as `Decoder.thumbnail`; a photo that
        is no longer inside the folders that may be read is not_found.
        """
        if kept := await run_in_threadpool(self._kept, original, view):
            return kept
        key = (original, view)
        if key not in self._being_made:
            making = asyncio.wrap_future(self._threads.submit(self._make, original, view))
            making.add_done_callback(lambda _: self._being_made.pop(key))
            self._being_made[key] = making
        return await asyncio.shield(self._being_made[key])

    def close(self) -> None:
        """End the decoders, once what they hold is done: that takes no longer than a photo may take."""
        self._threads.shutdown(cancel_futures=True)
        for _ in range(DECODERS):
            self._decoders.get().close()

    def _make(self, original: Original, view: View) -> Thumbnail:
        if kept := self._kept(original, view):  # made since it was looked for
            return kept
        path = self._confined(original.path)
        before = _size_and_mtime(path)
        jpeg = self._decoded(path, view)
        unchanged = original.size_and_mtime == before == _size_and_mtime(path)
        if unchanged and original.content_sha256:
            self._keep(original.content_sha256, view, jpeg)
        return Thumbnail(jpeg, of_content=unchanged)

    def _confined(self, path: bytes) -> bytes:
        """The real path, as a folder may have become a link that leads out since. Raises PhotoError."""
        real = os.path.realpath(path)
        if not is_allowed(os.fsdecode(real), self._settings.allowed_roots):
            raise PhotoError("not_found", GONE)
        return real

    def _decoded(self, path: bytes, view: View) -> bytes:
        decoder = self._decoders.get()
        try:
            if view.face is None:
                return decoder.thumbnail(path, view.side_px)
            return decoder.face_thumbnail(path, view.face, view.side_px)
        finally:
            self._decoders.put(decoder)

    def _kept(self, original: Original, view: View) -> Thumbnail | None:
        if original.content_sha256 is None:
            return None
        with suppress(OSError):
            jpeg = self._file(original.content_sha256, view).read_bytes()
            if jpeg.startswith(JPEG_BEGINS) and jpeg.endswith(JPEG_ENDS):  # a crash may have left it empty
                return Thumbnail(jpeg, of_content=True)
        return None

    def _keep(self, content_sha256: bytes, view: View, jpeg: bytes) -> None:
        file = self._file(content_sha256, view)
        try:
            for folder in (self._folder, file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(file, jpeg)
        except OSError as error:
            log.warning("thumbnails cannot be kept in %s: %s", self._folder, error)

    def _file(self, content_sha256: bytes, view: View) -> Path:
        name = content_sha256.hex()  # as `trainyard.thumbnail_files` finds it again
        return self._folder / name[:2] / f"{name}-{view.name}.jpg"


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing: others may be reading."""
    descriptor, draft = tempfile.mkstemp(dir=file.parent)
    try:
        with open(descriptor, "wb") as written:
            written.write(content)
        os.replace(draft, file)
    except OSError:
        os.unlink(draft)
        raise


def _size_and_mtime(path: bytes) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:  # the decoder says what is wrong
        return None
    return found.st_size, found.st_mtime_ns
