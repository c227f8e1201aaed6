"""Walking the folders of a session: which files are photos, and which are passed over."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trainyard.folders import is_excluded
from trainyard.photos import IMAGE_SUFFIXES


@dataclass(frozen=True)
class FoundFile:
    path: bytes
    size_bytes: int
    mtime_ns: int


def display_text(path: bytes) -> str:
    """A path as text; bytes that are not UTF-8 are shown as \\xNN."""
    return path.decode("utf-8", "backslashreplace")


@dataclass
class Walk:
    """One walk; iterate it once. `skipped` counts files passed over by extension, links and unreadable folders.

    Files come in the order the file system has them; rows are ordered by path. Links are not followed: what they
    lead to inside the root is found where it really is, and nothing outside the root is ever read.
    """

    roots: Sequence[bytes]
    exclude: Sequence[str]
    skipped: int = 0
    unreadable: list[bytes] = field(default_factory=list)
    fruitful: set[bytes] = field(default_factory=set)  # the roots in which a photo was found

    def __iter__(self) -> Iterator[FoundFile]:
        for root in self.roots:
            for found in self._folder(root):
                self.fruitful.add(root)
                yield found

    def _folder(self, folder: bytes) -> Iterator[FoundFile]:
        """A stack of folders, so that deep trees cost no recursion; entries are streamed, however many there are."""
        pending = [folder]
        while pending:
            current = pending.pop()
            for entry in self._entries(current):
                if is_excluded(entry.name, self.exclude):
                    continue
                if self._is_folder(entry):
                    pending.append(entry.path)
                else:
                    yield from self._file(entry)

    def _entries(self, folder: bytes) -> Iterator[os.DirEntry[bytes]]:
        try:
            with os.scandir(folder) as entries:
                yield from entries
        except OSError:  # closed to us, or gone since it was listed
            self._pass_over(folder)

    def _is_folder(self, entry: os.DirEntry[bytes]) -> bool:
        try:
            return entry.is_dir(follow_symlinks=False)
        except OSError:  # some file systems must be asked for every name; `_file` passes it over
            return False

    def _pass_over(self, unreadable: bytes) -> None:
        self.unreadable.append(unreadable)
        self.skipped += 1

    def _file(self, entry: os.DirEntry[bytes]) -> Iterator[FoundFile]:
        suffix = os.path.splitext(entry.name)[1].lower().decode("ascii", "replace")
        if suffix not in IMAGE_SUFFIXES:
            self.skipped += 1
            return
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # gone since it was listed
            return
        except OSError:  # its folder may be listed, but not entered
            self._pass_over(entry.path)
            return
        if stat.S_ISREG(found.st_mode):
            yield FoundFile(entry.path, found.st_size, found.st_mtime_ns)
        else:
            self.skipped += 1
