"""Riding out an outage: try again for a while, say so in the shard's row, then come back another time."""

import errno
import os
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from jobs.context import Context
from jobs.outcomes import ComeBackLater
from trainyard import shards
from trainyard.shards import Shard

T = TypeVar("T")

LOOK_SECONDS = 1.0
# Errors of the mount, not of the file that met them.
MOUNT_ERRORS = frozenset(
    {errno.ESTALE, errno.ENOTCONN, errno.EIO, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO}
)
# The machine has no room for another process just now: open files, memory, processes.
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})


def ride_out(
    context: Context, shard: Shard, code: str, work: Callable[[], T], errors: tuple[type[Exception], ...]
) -> T:
    """What `work` returns once it stops raising one of `errors`. Raises ComeBackLater after the longest wait."""
    deadline = time.monotonic() + context.settings.outage_seconds
    waiting = False
    while True:
        try:
            result = work()
        except errors as error:
            message = str(error)
            context.database.transact(partial(shards.wait_for, shard=shard, code=code, message=message))
            waiting = True
            if time.monotonic() > deadline or context.stop.wait(LOOK_SECONDS):
                raise ComeBackLater(message) from error
        else:
            if waiting:
                context.database.transact(lambda connection: shards.stop_waiting(connection, shard))
            return result


class StorageUnavailable(Exception):
    """The folder of photos itself is gone; none of its photos is missing."""


class DecodersUnavailable(Exception):
    """The machine has no room for the processes that decode; no photo has to do with it."""


def is_there(root: str) -> bool:
    try:
        check_root(root)
    except StorageUnavailable:
        return False
    return True


def check_root(root: str) -> None:
    """Raises StorageUnavailable when the folder is absent or empty: a mount that is gone looks like that."""
    try:
        with os.scandir(root) as entries:
            if any(True for _ in entries):
                return
        reason = "it is empty"
    except OSError as error:
        reason = error.strerror or str(error)
    raise StorageUnavailable(f"The folder {root} cannot be read ({reason}); mount it again.")
