"""The messages between a decoder and its child: a JSON header, then raw bytes.

The child decodes untrusted files and is not trusted itself: nothing it sends is unpickled or taken as it is.
A message is two lengths (header and body, 32 bits each, big-endian), the header as UTF-8 JSON, and the body.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from trainyard.photos import PhotoFacts

LENGTHS: Final = struct.Struct(">II")
MAX_HEADER_BYTES: Final = 1 << 20
MAX_BODY_BYTES: Final = 1 << 30


class BrokenMessage(Exception):
    """What came cannot be a message of the other side: it must be ended and replaced."""


@dataclass(frozen=True)
class Message:
    """`header` is what JSON can hold, `body` raw bytes."""

    header: Mapping[str, Any]
    body: bytes = b""

    def encode(self) -> bytes:
        """The message as it goes over the pipe."""
        header = json.dumps(dict(self.header)).encode()
        return LENGTHS.pack(len(header), len(self.body)) + header + self.body


def lengths_of(prefix: bytes) -> tuple[int, int]:
    """Bytes of header and body, given the first `LENGTHS.size` bytes of a message. Raises BrokenMessage."""
    header_bytes, body_bytes = LENGTHS.unpack(prefix)
    if header_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise BrokenMessage(f"a message of {header_bytes} and {body_bytes} bytes")
    return header_bytes, body_bytes


def decode(header: bytes, body: bytes) -> Message:
    """The message of these two parts. Raises BrokenMessage."""
    try:
        content = json.loads(header)
    except ValueError as error:
        raise BrokenMessage("a header that is not JSON") from error
    if not isinstance(content, dict):
        raise BrokenMessage("a header that is not an object")
    return Message(content, body)


class Incoming:
    """A message as it arrives, in pieces."""

    def __init__(self) -> None:
        self.message: Message | None = None
        self._received = bytearray()
        self._lengths: tuple[int, int] | None = None

    def add(self, received: bytes) -> None:
        """Raises BrokenMessage for what is not one message."""
        self._received += received
        if self._lengths is None and len(self._received) >= LENGTHS.size:
            self._lengths = lengths_of(bytes(self._received[: LENGTHS.size]))
        if self._lengths is None:
            return
        body_start = LENGTHS.size + self._lengths[0]
        missing = body_start + self._lengths[1] - len(self._received)
        if missing < 0:
            raise BrokenMessage("more than one message")
        if missing == 0:
            whole = memoryview(self._received)
            self.message = decode(bytes(whole[LENGTHS.size : body_start]), bytes(whole[body_start:]))


def facts_as_json(facts: PhotoFacts) -> dict[str, Any]:
    """`facts` as JSON can hold them."""
    return {
        "sha256": facts.sha256.hex(),
        "size_bytes": facts.size_bytes,
        "mtime_ns": facts.mtime_ns,
        "width": facts.width,
        "height": facts.height,
        "taken_at": facts.taken_at.isoformat() if facts.taken_at else None,
    }


def facts_from_json(content: Mapping[str, Any]) -> PhotoFacts:
    """The way back. Raises KeyError, TypeError or ValueError for what `facts_as_json` never makes."""
    taken_at = content["taken_at"]
    return PhotoFacts(
        sha256=bytes.fromhex(content["sha256"]),
        size_bytes=int(content["size_bytes"]),
        mtime_ns=int(content["mtime_ns"]),
        width=int(content["width"]),
        height=int(content["height"]),
        taken_at=None if taken_at is None else datetime.fromisoformat(taken_at),
    )
