"""The networks whose faces there are: which one people see, and how far another one has come beside it."""

from dataclasses import dataclass

import sqlalchemy as sa

READ = sa.text("""
    SELECT m.id, m.engine, m.name, m.collection, m.active,
           (SELECT count(*) FROM face_instances f WHERE f.model_id = m.id) AS faces,
           (SELECT count(DISTINCT f.person_id) FROM face_instances f WHERE f.model_id = m.id) AS persons
    FROM models m WHERE m.kind = 'face' ORDER BY m.active DESC, m.id
""")

# Photos that the first has searched as they are, and the second has not.
UNSEARCHED = sa.text("""
    SELECT count(*) FROM face_scans s
    JOIN image_assets a ON a.id = s.asset_id
    WHERE s.model_id = :active AND a.missing_since IS NULL AND a.broken_code IS NULL AND NOT EXISTS (
        SELECT FROM face_scans n
        WHERE n.asset_id = a.id AND n.content_sha256 = a.content_sha256 AND n.model_id = :other
    )
""")


@dataclass(frozen=True)
class FaceNetwork:
    id: int
    engine: str
    name: str
    collection: str
    active: bool
    faces: int
    persons: int

    @property
    def title(self) -> str:
        return self.name if self.name == self.engine else f"{self.engine}'s {self.name}"


def read_networks(connection: sa.Connection) -> list[FaceNetwork]:
    """The active one first, then the oldest."""
    return [FaceNetwork(**row._mapping) for row in connection.execute(READ)]


def count_unsearched(connection: sa.Connection, active: FaceNetwork, other: FaceNetwork) -> int:
    return int(connection.execute(UNSEARCHED, {"active": active.id, "other": other.id}).scalar_one())
