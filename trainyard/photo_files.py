"""Reads a photo's bytes, once, and tells errors of the file from errors of the system."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from io import FileIO
from typing import Final

from trainyard.photo_errors import PhotoError, PhotoErrorCode

MAX_FILE_BYTES: Final = 1 << 30  # read whole into memory, and no photo within MAX_PIXELS needs more

# Errors that speak of the file itself. All others (ESTALE, ENOTCONN, ENOMEM, EMFILE, ...) speak of the mount
# or the machine, would be the same for every photo, and stay OSErrors.
_FILE_ERRORS: Final[dict[int, tuple[PhotoErrorCode, str]]] = {
    errno.ENOENT: ("not_found", "The file is gone; run again to leave it out, or put it back."),
    errno.ENOTDIR: (
        "not_found",
        "The folder of this file is gone; run again to leave it out, or put it back.",
    ),
    errno.EACCES: ("unreadable", "This user may not read the file; change its permissions or its owner."),
    errno.EPERM: ("unreadable", "This user may not read the file; change its permissions or its owner."),
    errno.EISDIR: ("unreadable", "This is a folder, not a file; move it or give it another name."),
    errno.ELOOP: ("unreadable", "This symbolic link leads back to itself; remove or correct it."),
    errno.ENAMETOOLONG: (
        "unreadable",
        "The path is longer than the system can open; shorten the names in it.",
    ),
    errno.ENXIO: ("unreadable", "This is a socket or a device, not a photo; remove it from the library."),
    errno.ENODEV: ("unreadable", "This is a socket or a device, not a photo; remove it from the library."),
    errno.EIO: ("unreadable", "The disk cannot read this file; restore it from a copy and check the disk."),
}
_NOT_A_FILE: Final = "This is a folder, a pipe or a device, not a photo; remove it from the library."


@dataclass(frozen=True)
class PhotoFile:
    """A photo's bytes with what the file system says of them.

    `sha256` is the digest (32 bytes) of `content`, `mtime_ns` the time of change just before it was read, so
    a file that changes meanwhile is seen as changed by the next discovery.
    """

    content: bytes
    sha256: bytes
    mtime_ns: int


def read_photo_file(path: bytes) -> PhotoFile:
    """The bytes of the file at `path`, which may be a symbolic link to one. Nothing is ever written.

    Raises PhotoError (not_found, unreadable, too_large) for what is wrong with this file, OSError for what is
    wrong with the system.
    """
    with _telling_whose_fault_it_is(), _opened(path) as file:
        mtime_ns = os.fstat(file.fileno()).st_mtime_ns
        content = file.readall() or b""
    return PhotoFile(content, sha256(content).digest(), mtime_ns)


def photo_file_sha256(path: bytes) -> bytes:
    """The digest (32 bytes) of that file, which is never held in memory whole. Raises as `read_photo_file`."""
    with _telling_whose_fault_it_is(), _opened(path) as file:
        return file_digest(file, "sha256").digest()


@contextmanager
def _telling_whose_fault_it_is() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FILE_ERRORS:
            raise
        raise PhotoError(*_FILE_ERRORS[error.errno]) from error


@contextmanager
def _opened(path: bytes) -> Iterator[FileIO]:
    # Without O_NONBLOCK opening a pipe would wait for a writer for ever; regular files ignore the flag.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        _refuse_what_is_no_photo(os.fstat(descriptor))
        yield file


def _refuse_what_is_no_photo(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError("unreadable", _NOT_A_FILE)
    if status.st_size > MAX_FILE_BYTES:
        raise PhotoError(
            "too_large",
            f"The file has {status.st_size / 2**20:,.0f} MiB, more than the limit of "
            f"{MAX_FILE_BYTES >> 20:,} MiB; save a smaller copy.",
        )
