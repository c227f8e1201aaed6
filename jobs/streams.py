"""Threads that decode and infer side by side, each with its own decoder process.

On CPU there is one a core: a thread waits for its decoder, then runs the network on one thread, so that as many
cores are busy as there are. On CUDA and MPS several threads decode while one at a time uses the network.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from trainyard.cores import cpu_count
from trainyard.decoders import ChildNotStarted, Decoder
from trainyard.settings import Settings

LOADERS_BESIDE_AN_ACCELERATOR = 4

P = TypeVar("P")
R = TypeVar("R")


def loader_count(settings: Settings, device: str) -> int:
    return settings.loaders or (cpu_count() if device == "cpu" else LOADERS_BESIDE_AN_ACCELERATOR)


class Streams:
    def __init__(self, settings: Settings, device: str) -> None:
        count = loader_count(settings, device)
        self._settings = settings
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="stream")
        self._idle = [self._decoder() for _ in range(count)]  # used as a stack; append and pop are atomic
        self.count = count
        self.network = threading.BoundedSemaphore(count if device == "cpu" else 1)

    def _decoder(self) -> Decoder:
        return Decoder(self._settings.photo_timeout_seconds, self._settings.photo_memory_mib << 20)

    def __enter__(self) -> Self:
        with suppress(ChildNotStarted):  # the first photo that needs it tries again, and says so
            for decoder in self._idle:
                decoder.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for decoder in self._idle:
            decoder.close()

    def submit(self, work: Callable[[Sequence[P], Decoder], R], photos: Sequence[P]) -> Future[R]:
        return self._threads.submit(self._run, work, photos)

    def _run(self, work: Callable[[Sequence[P], Decoder], R], photos: Sequence[P]) -> R:
        decoder = self._idle.pop()
        try:
            return work(photos, decoder)
        finally:
            self._idle.append(decoder)
