"""The process that decodes: `python -m trainyard.decoder_child MEMORY_BYTES TIME_LIMIT_SECONDS`.

It answers one message after another on its standard input and ends with it, that is, with its parent. See
`trainyard.decoders` for the other side.
"""

import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from trainyard import decoder_messages, photos
from trainyard.decoder_messages import LENGTHS, Message

# The parent ends a child that is late. Only a child without a parent lives to see its own alarm, later.
_ORPHAN_GRACE_SECONDS: Final = 10

_TOO_MUCH_MEMORY: Final = "Decoding this photo needs more memory than a decoder may use; save a smaller copy."


class Kept:
    """The photo that was last decoded for detection, as its faces are asked for next."""

    def __init__(self) -> None:
        self._path: bytes | None = None
        self._photo: photos.Photo | None = None

    def keep(self, path: bytes, photo: photos.Photo) -> None:
        """Holds on to `photo`, and to nothing else."""
        self._path, self._photo = path, photo

    def drop(self) -> None:
        """Frees the memory of the photo kept, before another is read."""
        self._path = self._photo = None

    def take(self, path: bytes) -> photos.Photo | None:
        """The photo kept if it is that at `path` and the file is unchanged; nothing is kept afterwards."""
        kept_path, photo = self._path, self._photo
        self.drop()
        if photo is None or kept_path != path:
            return None
        with suppress(OSError):
            status = os.stat(path)
            if (status.st_size, status.st_mtime_ns) == photo.size_and_mtime:
                return photo
        return None


def main() -> None:
    """Answers messages until the input ends."""
    memory_bytes, time_limit_seconds = int(sys.argv[1]), float(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, even within a decoder's loop
    _limit_memory(memory_bytes)
    source, sink = _claim_pipes()
    _send(sink, Message({"ready": True}))
    kept = Kept()
    while (request := _receive(source)) is not None:
        signal.alarm(math.ceil(time_limit_seconds) + _ORPHAN_GRACE_SECONDS)
        reply = answer(request, kept)
        signal.alarm(0)
        _send(sink, reply)


def _limit_memory(memory_bytes: int) -> None:
    with suppress(OSError, ValueError):  # macOS has the limit but does not always take it
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes of the parent; what a library prints goes to standard error, not in between the messages."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return source, sink


def _receive(source: BinaryIO) -> Message | None:
    prefix = source.read(LENGTHS.size)
    if len(prefix) < LENGTHS.size:
        return None
    header_bytes, body_bytes = decoder_messages.lengths_of(prefix)
    return decoder_messages.decode(source.read(header_bytes), source.read(body_bytes))


def _send(sink: BinaryIO, message: Message) -> None:
    sink.write(message.encode())
    sink.flush()


def answer(request: Message, kept: Kept) -> Message:
    """The result, or the error by its kind: one of the photo, one of the system, one of the arguments."""
    try:
        return _CALLS[request.header["call"]](request, kept)
    except photos.PhotoError as error:
        return Message({"photo_error": [error.code, error.message]})
    except MemoryError:
        return Message({"photo_error": ["too_large", _TOO_MUCH_MEMORY]})
    except OSError as error:
        return Message({"os_error": [error.errno, error.strerror]})
    except ValueError as error:
        return Message({"value_error": str(error)})


def _clip_view(request: Message, kept: Kept) -> Message:
    kept.drop()
    facts, view = photos.clip_view(request.body)
    return _reply(view, facts=decoder_messages.facts_as_json(facts))


def _detection_view(request: Message, kept: Kept) -> Message:
    kept.drop()
    photo = photos.Photo.read(request.body)
    facts, view, scale = photo.detection_view(request.header["side_px"])
    kept.keep(request.body, photo)
    return _reply(view, facts=decoder_messages.facts_as_json(facts), scale=scale)


def _aligned_faces(request: Message, kept: Kept) -> Message:
    path, points = _path_and_points(request)
    photo = kept.take(path) or photos.Photo.read(path)
    return _reply(photo.aligned_faces(points[:-1], points[-1], request.header["crop_side_px"]))


def _path_and_points(request: Message) -> tuple[bytes, NDArray[np.float32]]:
    split = request.header["path_bytes"]
    points = np.frombuffer(request.body, dtype="<f4", offset=split).reshape(-1, 5, 2)
    return request.body[:split], points.astype(np.float32)


def _thumbnail(request: Message, kept: Kept) -> Message:
    kept.drop()
    return Message({}, photos.thumbnail(request.body, request.header["side_px"]))


def _face_thumbnail(request: Message, kept: Kept) -> Message:
    kept.drop()
    left, top, right, bottom = request.header["box"]
    return Message({}, photos.face_thumbnail(request.body, (left, top, right, bottom), request.header["side_px"]))


def _reply(pixels: NDArray[np.uint8], **header: Any) -> Message:
    return Message({"shape": pixels.shape, **header}, pixels.tobytes())


_CALLS: Final[dict[str, Callable[[Message, Kept], Message]]] = {
    "clip_view": _clip_view,
    "detection_view": _detection_view,
    "aligned_faces": _aligned_faces,
    "face_thumbnail": _face_thumbnail,
    "thumbnail": _thumbnail,
}

if __name__ == "__main__":
    main()
