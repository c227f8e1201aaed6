"""Whether what is known of the cluster is all there is, and is still true."""

from collections.abc import Iterable

from controller.kubernetes.client import Watched

QUIET_SECONDS = 180.0  # bookmarks come about every minute, and a connection without any is made anew


def not_ready(watches: Iterable[Watched]) -> str | None:
    """What keeps the controller from knowing the cluster; None: nothing does, or nothing is watched yet."""
    for watch in watches:
        if not watch.synced:
            return f"The API server has not listed all {watch.resource} yet; the log has its words."
        if watch.fresh_seconds > QUIET_SECONDS:
            return f"The API server has said nothing about {watch.resource} for {watch.fresh_seconds:.0f} s."
    return None
