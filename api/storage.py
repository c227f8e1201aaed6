"""Work on the photos' file system in threads of its own: a mount that hangs holds up nothing else."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import CapacityLimiter, fail_after, to_thread
from anyio.lowlevel import RunVar

from api.problems import RETRY_SECONDS, Problem

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

STORAGE_THREADS = 4
PATIENCE_SECONDS = 5.0

_threads: RunVar[CapacityLimiter] = RunVar("storage_threads")  # one in each event loop


async def in_storage_thread(work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """What `work` gives, called in one of few threads that are for the photos' file system alone.

    Raises what it raises, and Problem (503 StorageBusy) when no thread comes free in time. `work` is waited for as
    long as it takes, and its thread is taken as long as it hangs.
    """
    threads, caller = _limiter(), object()
    try:
        with fail_after(PATIENCE_SECONDS):
            await threads.acquire_on_behalf_of(caller)
    except TimeoutError:
        raise _busy() from None
    try:
        return await to_thread.run_sync(work, *arguments, limiter=CapacityLimiter(1))
    finally:
        threads.release_on_behalf_of(caller)


def _limiter() -> CapacityLimiter:
    try:
        return _threads.get()
    except LookupError:
        limiter = CapacityLimiter(STORAGE_THREADS)
        _threads.set(limiter)
        return limiter


def _busy() -> Problem:
    detail = (
        "The photos' storage does not keep up: other requests wait for it already. Try again in a moment; if that "
        "lasts, look whether a mount hangs."
    )
    return Problem(503, "StorageBusy", detail, headers={"Retry-After": RETRY_SECONDS})
