"""How many photos lie in folders, as far as a moment's look can tell: nobody waits here for a walk of millions."""

import os
import time
from collections.abc import Sequence

from api.schemas import Out
from trainyard.folders import is_excluded
from trainyard.photos import IMAGE_SUFFIXES

# Looked at for one answer, however many folders it is about and however much lies in them.
MOST_ENTRIES = 100_000
MOST_ENTRIES_OF_A_FOLDER = 10_000
MOST_SECONDS = 1.0


class ImageCount(Out):
    """Photos in a folder and all folders in it. Not exact: at least so many, as not all of them was looked at."""

    count: int
    exact: bool
    text: str


class Look:
    """What may still be looked at: so many entries, and so long."""

    def __init__(self, entries: int, seconds: float) -> None:
        self.entries = entries
        self._deadline = time.monotonic() + seconds

    def more(self) -> bool:
        """Whether one more entry may be looked at; it counts as looked at."""
        if self.entries <= 0 or self.seconds <= 0:
            return False
        self.entries -= 1
        return True

    @property
    def seconds(self) -> float:
        return self._deadline - time.monotonic()


def count_images(folders: Sequence[str], exclude: Sequence[str]) -> list[ImageCount]:
    """A count for each folder. Each may take an equal share of what those before it have left."""
    whole = Look(MOST_ENTRIES, MOST_SECONDS)
    counts = []
    for position, folder in enumerate(folders):
        sharing = len(folders) - position
        share = Look(min(whole.entries // sharing, MOST_ENTRIES_OF_A_FOLDER), whole.seconds / sharing)
        given = share.entries
        counts.append(_shown(*_count(os.fsencode(folder), exclude, share)))
        whole.entries -= given - share.entries
    return counts


def _count(folder: bytes, exclude: Sequence[str], look: Look) -> tuple[int, bool]:
    """Photos as discovery finds them, and whether all was seen; a folder closed to us leaves that open."""
    count, exact, pending = 0, True, [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if not look.more():
                        return count, False
                    if is_excluded(entry.name, exclude):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        count += _is_photo(entry)
        except OSError:
            exact = False
    return count, exact


def _is_photo(entry: os.DirEntry[bytes]) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower().decode("ascii", "replace")
    return suffix in IMAGE_SUFFIXES and entry.is_file(follow_symlinks=False)


def _shown(count: int, exact: bool) -> ImageCount:
    return ImageCount(count=count, exact=exact, text=f"{count:,}" if exact else f"{count:,}+")


def together(counts: Sequence[ImageCount]) -> ImageCount:
    """One count of folders of which none lies in another."""
    return _shown(sum(count.count for count in counts), all(count.exact for count in counts))
