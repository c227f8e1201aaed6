"""How many photos lie in each subdirectory a session was asked for."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable

import sqlalchemy as sa

from jobs.context import Session
from jobs.walk import FoundFile

STORE = sa.text("""
    UPDATE training_subdirectories s SET image_count = r.images
    FROM unnest(CAST(:paths AS text[]), CAST(:images AS bigint[])) AS r (path, images)
    WHERE s.session_id = :session_id AND s.path = r.path
""")


class SubdirectoryCounts:
    """Counts while the folders are walked; a photo counts in each subdirectory that it lies in."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: dict[bytes, list[str]] = defaultdict(list)  # of each folder as it really is
        for name in session.subdirectories:
            self._names[os.fsencode(os.path.realpath(os.path.join(session.root_path, name)))].append(name)
        self._found: Counter[bytes] = Counter()  # by the folder the photos lie in

    def add(self, files: Iterable[FoundFile]) -> None:
        if self._names:
            self._found.update(os.path.dirname(file.path) for file in files)

    def store(self, connection: sa.Connection) -> None:
        if not self._names:
            return
        images: Counter[str] = Counter(dict.fromkeys(self._session.subdirectories, 0))
        for folder, count in self._found.items():
            for above in _upwards(folder):
                for name in self._names.get(above, ()):
                    images[name] += count
        parameters = {"session_id": self._session.id, "paths": list(images), "images": list(images.values())}
        connection.execute(STORE, parameters)


def _upwards(folder: bytes) -> Iterable[bytes]:
    """The folder and every one above it."""
    yield folder
    while (above := os.path.dirname(folder)) != folder:
        yield (folder := above)
