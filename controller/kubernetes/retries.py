"""Which requests are sent a second time, and when."""

from controller.kubernetes.errors import ClusterError, ClusterUnavailable, Throttled

RETRY_SECONDS = 5.0  # no try begins later than this after the first: the leader has a lease to renew
FIRST_PAUSE_SECONDS = 0.1


def pause_seconds(error: ClusterError, *, reads: bool, tries: int, elapsed_seconds: float) -> float | None:
    """How long to wait before the same request is sent again; None: it is not.

    A write whose answer was lost may have happened, so it is repeated only where the API server says that it did
    not begin: 429, and 503 with Retry-After.
    """
    away = isinstance(error, ClusterUnavailable) and (reads or error.retry_after_seconds is not None)
    if not (away or isinstance(error, Throttled)):
        return None
    pause = max(FIRST_PAUSE_SECONDS * 2 ** (tries - 1), error.retry_after_seconds or 0.0)
    return pause if elapsed_seconds + pause <= RETRY_SECONDS else None
