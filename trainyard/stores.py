"""Everything that is kept of photos, in one place: for what goes across rows, vectors and thumbnails."""

from dataclasses import dataclass
from pathlib import Path

from trainyard.database import Database
from trainyard.vectors import Vectors


@dataclass(frozen=True)
class Stores:
    """`alone`: the data directory is held by whoever has this, so no worker can be at it, whatever rows say."""

    database: Database
    vectors: Vectors
    thumbnails: Path  # the folder; it need not be there
    alone: bool = False
