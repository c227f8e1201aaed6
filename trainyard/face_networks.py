"""The networks whose faces there are: which one people see, and how far another one has come beside it."""

from dataclasses import dataclass

import sqlalchemy as sa

READ = sa.text("""
    SELECT m.id, m.engine, m.name, m.collection, m.active,
           (SELECT count(*) FROM face_instances f WHERE f.model_id = m.id) AS faces,
           (SELECT count(DISTINCT f.person_id) FROM face_instances f WHERE f.model_id = m.id) AS persons
    FROM models m WHERE m.kind = 'face' ORDER BY m.active DESC, m.id
""")

# Photos that the active network has searched and the other one, as they are now, has not.
UNSEARCHED = """
    FROM face_scans s JOIN image_assets a ON a.id = s.asset_id
    WHERE s.model_id = :active_id AND a.missing_since IS NULL AND a.broken_code IS NULL AND NOT EXISTS (
        SELECT FROM face_scans n
        WHERE n.asset_id = a.id AND n.content_sha256 = a.content_sha256 AND n.model_id = :model_id
    )
"""
COUNT_UNSEARCHED = sa.text(f"SELECT count(*) {UNSEARCHED}")
ANY_UNSEARCHED = sa.text(f"SELECT EXISTS (SELECT {UNSEARCHED})")


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


def count_unsearched(connection: sa.Connection, active_id: int, model_id: int) -> int:
    """How many photos keep this network from taking the active one's place."""
    return int(connection.execute(COUNT_UNSEARCHED, {"active_id": active_id, "model_id": model_id}).scalar_one())


def has_searched_all(connection: sa.Connection, active_id: int, model_id: int) -> bool:
    """Whether there are none."""
    return not connection.execute(ANY_UNSEARCHED, {"active_id": active_id, "model_id": model_id}).scalar_one()
