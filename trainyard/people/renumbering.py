"""Faces whose ids have changed although they are the same: whatever names them follows."""

from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from trainyard.tables import people_change_faces, people_change_suggestions

RENAMED = "unnest(CAST(:old AS uuid[]), CAST(:new AS uuid[])) AS r (old, new)"

COVERS = sa.text(f"UPDATE persons p SET cover_face_id = r.new FROM {RENAMED} WHERE p.cover_face_id = r.old")
PROTOTYPES = sa.text(f"UPDATE person_prototypes p SET face_id = r.new FROM {RENAMED} WHERE p.face_id = r.old")
GROUPS = sa.text(f"""
    UPDATE face_clusters c SET representative_face_id = r.new FROM {RENAMED} WHERE c.representative_face_id = r.old
""")


def follow_faces(connection: sa.Connection, renamed: Mapping[UUID, UUID | None]) -> None:
    """Have all that names a face by its old id name it by its new one; None: that id is another face's from now on."""
    if not renamed:
        return
    ids = {"old": list(renamed), "new": list(renamed.values())}
    for statement in (COVERS, PROTOTYPES, GROUPS):
        connection.execute(statement, ids)
    _follow_changes(connection, renamed, same_network=True)


def follow_to_network(connection: sa.Connection, taken: Mapping[UUID, UUID]) -> None:
    """Have persons' covers, and changes that can be undone, name another network's faces instead: {old: new}."""
    if taken:
        connection.execute(COVERS, {"old": list(taken), "new": list(taken.values())})
        _follow_changes(connection, taken, same_network=False)


def _follow_changes(connection: sa.Connection, renamed: Mapping[UUID, UUID | None], *, same_network: bool) -> None:
    for table in (people_change_faces, people_change_suggestions):
        # One parameter whatever their number: PostgreSQL takes 65,535, and a network has more faces.
        gone = sa.text(f"DELETE FROM {table.name} WHERE face_id = ANY(CAST(:faces AS uuid[])) RETURNING *")
        rows = [
            {**row, "face_id": new}
            for row in connection.execute(gone, {"faces": list(renamed)}).mappings()
            if (new := renamed[row["face_id"]]) is not None
        ]
        if not same_network and table is people_change_faces:
            rows = [{**row, "cluster_before": None} for row in rows]  # its groups are of its own faces
        if rows:
            connection.execute(_store(table), rows)


def _store(table: sa.Table) -> sa.Insert:
    """A change may be of the new face, too, as a merge is of every network's: what was done to the old one counts.

    That is what people saw, and what the new one says by now.
    """
    statement = insert(table)
    others = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    return statement.on_conflict_do_update(constraint=table.primary_key, set_=others)
