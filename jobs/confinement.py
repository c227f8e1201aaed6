"""Which photos a worker may open: those that really lie in the folders that may be read.

Discovery follows no link, but a folder may have become one since, and rows know photos of folders that were allowed
once.
"""

import os

from jobs.context import Session
from trainyard.folders import is_allowed
from trainyard.photos import PhotoError
from trainyard.settings import Settings

OUTSIDE = (
    "This photo is not in the folders that may be read, or a link on the way to it leads out of them; put it back in "
    "its place, or make a session of the folder that it really lies in."
)


class Confinement:
    """To the roots of this installation; where it has none, to the session's own folders."""

    def __init__(self, settings: Settings, session: Session) -> None:
        self._roots = settings.allowed_roots or session.folders

    def refusal(self, path: bytes) -> PhotoError | None:
        """Why a photo must not be opened; None: it may be."""
        if is_allowed(os.fsdecode(os.path.realpath(path)), self._roots):
            return None
        return PhotoError("outside_roots", OUTSIDE)
