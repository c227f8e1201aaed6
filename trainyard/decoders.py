"""Decoding photos in a child process: one that hangs, crashes or eats memory costs only the photo it held."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainyard.decoder_messages import Message, facts_from_json
from trainyard.decoder_process import CHILD_COMMAND, ChildDied, ChildLate, ChildNotStarted, ChildProcess
from trainyard.photos import CLIP_SIDE_PX, PHOTO_ERROR_CODES, Box, PhotoError, PhotoFacts

__all__ = ["MEMORY_LIMIT_BYTES", "TIME_LIMIT_SECONDS", "ChildNotStarted", "Decoder"]

TIME_LIMIT_SECONDS: Final = 30.0
MEMORY_LIMIT_BYTES: Final = 2 << 30

_MAX_DEATHS: Final = 2
_Result = TypeVar("_Result")


class Decoder:
    """The five calls of `trainyard.photos`, each made in a child process.

    Used by one thread at a time; as many decoders run side by side as one likes. Every call raises PhotoError
    for what is wrong with the photo (also `timed_out` and `worker_crashed`), OSError for what is wrong with
    the system, and ChildNotStarted where no child can be brought up.

    `command` is what is run instead of our own child, with the limits as two more arguments.
    """

    def __init__(
        self,
        time_limit_seconds: float = TIME_LIMIT_SECONDS,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        command: Sequence[str] | None = None,
    ) -> None:
        self._time_limit_seconds = time_limit_seconds
        self._command = (*(command or CHILD_COMMAND), str(memory_limit_bytes), str(time_limit_seconds))
        self._child: ChildProcess | None = None

    def start(self) -> None:
        """Starts the child without waiting for it, so that it is ready when the first photo comes."""
        if self._child is None:
            self._child = ChildProcess(self._command)

    def close(self) -> None:
        """Ends the child. A later call starts another."""
        if self._child is not None:
            child, self._child = self._child, None
            child.end()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def clip_view(self, path: bytes) -> tuple[PhotoFacts, NDArray[np.uint8]]:
        """As `photos.clip_view`."""
        return self._ask(Message({"call": "clip_view"}, path), _clip_view)

    def detection_view(self, path: bytes, side_px: int) -> tuple[PhotoFacts, NDArray[np.uint8], float]:
        """As `photos.detection_view`. The photo is kept for `aligned_faces`, should that be the next call."""
        return self._ask(
            Message({"call": "detection_view", "side_px": side_px}, path),
            lambda reply: _detection_view(reply, side_px),
        )

    def aligned_faces(
        self,
        path: bytes,
        landmarks: NDArray[np.float32],
        crop_landmarks: NDArray[np.float32],
        crop_side_px: int,
    ) -> NDArray[np.uint8]:
        """As `photos.aligned_faces`."""
        points = np.concatenate([landmarks.reshape(-1, 5, 2), crop_landmarks.reshape(1, 5, 2)])
        header = {"call": "aligned_faces", "path_bytes": len(path), "crop_side_px": crop_side_px}
        shape = (len(points) - 1, crop_side_px, crop_side_px, 3)
        return self._ask(Message(header, path + points.astype("<f4").tobytes()), lambda reply: _pixels(reply, shape))

    def thumbnail(self, path: bytes, side_px: int) -> bytes:
        """As `photos.thumbnail`."""
        return self._ask(Message({"call": "thumbnail", "side_px": side_px}, path), lambda reply: reply.body)

    def face_thumbnail(self, path: bytes, box: Box, side_px: int) -> bytes:
        """As `photos.face_thumbnail`."""
        header = {"call": "face_thumbnail", "box": box, "side_px": side_px}
        return self._ask(Message(header, path), lambda reply: reply.body)

    def _ask(self, request: Message, read: Callable[[Message], _Result]) -> _Result:
        """The answer as `read` reads it; a child that dies of it is replaced, and asked once more."""
        how = ""
        for _ in range(_MAX_DEATHS):
            try:
                return self._ask_once(request, read)
            except ChildDied as death:
                how = death.how
        raise PhotoError(
            "worker_crashed",
            f"Two decoders in turn broke down on this photo, the last one {how}; restore the file from a "
            "copy, or open it in an image editor and save it again.",
        )

    def _ask_once(self, request: Message, read: Callable[[Message], _Result]) -> _Result:
        reply = self._exchange(request)
        try:
            return _read(reply, read)
        except ChildDied:
            self._replace()
            raise

    def _exchange(self, request: Message) -> Message:
        self.start()
        assert self._child is not None  # start has just seen to it
        try:
            return self._child.exchange(request, self._time_limit_seconds)
        except ChildLate:
            self._replace()
            raise self._timed_out() from None
        except ChildDied:
            self._replace()
            raise
        except BaseException:  # Ctrl-C half way: what comes next would be the rest of the old message
            self.close()
            raise

    def _replace(self) -> None:
        self.close()
        self.start()

    def _timed_out(self) -> PhotoError:
        limit = f"{self._time_limit_seconds:g} s"
        return PhotoError(
            "timed_out",
            f"Reading and decoding this photo took longer than {limit}; save it smaller or restore it from a "
            "copy, and retry.",
        )


def _read(reply: Message, read: Callable[[Message], _Result]) -> _Result:
    _raise_error(reply.header)
    try:
        return read(reply)
    except (KeyError, TypeError, ValueError) as error:
        raise ChildDied("sent an answer that is none") from error


def _raise_error(header: Mapping[str, Any]) -> None:
    match header:
        case {"photo_error": [str(code), str(message)]} if code in PHOTO_ERROR_CODES:
            raise PhotoError(code, message)  # type: ignore[arg-type]
        case {"os_error": [int(number), str(text)]}:
            raise OSError(number, text)
        case {"value_error": str(text)}:
            raise ValueError(text)


def _clip_view(reply: Message) -> tuple[PhotoFacts, NDArray[np.uint8]]:
    return facts_from_json(reply.header["facts"]), _pixels(reply, (CLIP_SIDE_PX, CLIP_SIDE_PX, 3))


def _detection_view(reply: Message, side_px: int) -> tuple[PhotoFacts, NDArray[np.uint8], float]:
    height, width, _ = shape = reply.header["shape"]
    scale = float(reply.header["scale"])
    if not (0 < height <= side_px and 0 < width <= side_px and 1.0 <= scale < math.inf):
        raise ValueError(f"a view of {shape} at {scale}")
    return facts_from_json(reply.header["facts"]), _pixels(reply, (height, width, 3)), scale


def _pixels(reply: Message, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(reply.body, dtype=np.uint8).reshape(shape)
