"""What the launcher says of itself: one line a step, with the seconds it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(what: str) -> Iterator[None]:
    """Tells how long the block took; one that fails says so by what it raises."""
    begun = time.monotonic()
    print(f"{what} …", file=sys.stderr, flush=True)
    yield
    print(f"{what}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
