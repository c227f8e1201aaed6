"""dlib's face descriptors, computed in child processes.

dlib holds Python's interpreter lock for the whole of a descriptor (about 65 ms a face on one core), which
would stop every other thread of the process. Its detector lets the lock go, so only descriptors are computed
here. The child reads crops on stdin, writes descriptors to stdout and ends when its parent does (end of file
on stdin).
"""

import queue
import struct
import subprocess
import sys
import weakref
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

CHIP_SIDE_PX = 150
DESCRIPTOR_DIMENSION = 128
_CHIP_BYTES = CHIP_SIDE_PX * CHIP_SIDE_PX * 3
_DESCRIPTOR_BYTES = DESCRIPTOR_DIMENSION * 8
_COUNT = struct.Struct("<I")


class DescriptorFailed(RuntimeError):
    """A child process died: an engine error, of no photo in particular."""


class DescriptorPool:
    """At most `size` children, started when first needed. `describe` may be called from any thread."""

    def __init__(self, model: Path, size: int) -> None:
        self._model = model
        self._places: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(size):
            self._places.put(None)
        self._children: set[subprocess.Popen[bytes]] = set()
        weakref.finalize(self, _end_all, self._children)

    def describe(self, chips: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Descriptors, (n, 128) float64 as dlib gives them, of chips, (n, 150, 150, 3) uint8 RGB.

        Raises DescriptorFailed if the child dies; the next call starts another.
        """
        child = self._places.get()
        try:
            child = child or self._start()
            descriptors = _ask(child, chips)
        except BaseException:
            self._places.put(None)
            if child is not None:
                _end(child)
                self._children.discard(child)
            raise
        self._places.put(child)
        return descriptors

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: this file's folder holds a dlib.py of ours, which must not stand for the library. A session of
        # its own: Ctrl-C is the parent's to handle.
        command = [sys.executable, "-P", str(Path(__file__).resolve()), str(self._model)]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._children.add(child)
        return child


def _ask(child: subprocess.Popen[bytes], chips: NDArray[np.uint8]) -> NDArray[np.float64]:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(_COUNT.pack(len(chips)))
        child.stdin.write(np.ascontiguousarray(chips).data)
        child.stdin.flush()
        answer = _read(child.stdout, len(chips) * _DESCRIPTOR_BYTES)
    except OSError:  # a broken pipe
        answer = None
    if answer is None:
        raise DescriptorFailed(
            f"the process that computes dlib's descriptors ended with status {child.wait()} while it held "
            f"{len(chips)} faces; -9 usually means that memory ran out"
        )
    return np.frombuffer(answer, "<f8").reshape(len(chips), DESCRIPTOR_DIMENSION)


def _read(stream: IO[bytes], size: int) -> bytes | None:
    """Exactly `size` bytes, None if the stream ends before."""
    data = stream.read(size)
    return data if len(data) == size else None


def _end_all(children: set[subprocess.Popen[bytes]]) -> None:
    for child in children:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for stream in (child.stdin, child.stdout):
        try:
            if stream is not None:
                stream.close()
        except OSError:  # what was still to be written has no reader any more
            pass
    child.wait()


def main() -> None:
    """The child: read a count and that many chips, write their descriptors, until end of file."""
    import dlib

    network = dlib.face_recognition_model_v1(sys.argv[1])
    while header := _read(sys.stdin.buffer, _COUNT.size):
        (count,) = _COUNT.unpack(header)
        chips = _read(sys.stdin.buffer, count * _CHIP_BYTES)
        if chips is None:
            return
        sys.stdout.buffer.write(_descriptors(network, chips))
        sys.stdout.buffer.flush()


def _descriptors(network: object, chips: bytes) -> bytes:
    """One chip a pass: a face's bytes do not depend on its neighbours (larger batches are no faster)."""
    pictures = np.frombuffer(chips, np.uint8).reshape(-1, CHIP_SIDE_PX, CHIP_SIDE_PX, 3)
    describe = network.compute_face_descriptor  # type: ignore[attr-defined]
    return b"".join(np.asarray(describe(picture), "<f8").tobytes() for picture in pictures)


if __name__ == "__main__":
    main()
