"""People: what they did, so that it can be undone, and what Qdrant and prototypes have yet to be told of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Before, each network that was ever used was active; it is that which was used last.
ONE_FACE_MODEL = """
UPDATE models SET active = (id = (
    SELECT m.id FROM models m LEFT JOIN face_scans s ON s.model_id = m.id
    WHERE m.kind = 'face' GROUP BY m.id ORDER BY max(s.session_id) DESC NULLS LAST, m.id DESC LIMIT 1
)) WHERE kind = 'face'
"""

# Points have yet to be told when their photos were taken, and who is in them.
TELL_ALL = "INSERT INTO outbox (asset_id) SELECT DISTINCT asset_id FROM training_evidence"


def upgrade() -> None:
    op.add_column("persons", sa.Column("cover_face_id", sa.Uuid()))
    op.create_index(
        "uq_persons_name",
        "persons",
        [sa.text("lower(name)")],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.add_column("face_clusters", _time("dismissed_at"))
    op.add_column("face_instances", _time("ignored_at"))
    op.add_column("face_instances", sa.Column("photo_width", sa.Integer()))
    op.add_column("face_instances", sa.Column("photo_height", sa.Integer()))
    op.alter_column("face_suggestions", "session_id", nullable=True)
    op.create_index(op.f("ix_face_suggestions_person_id_status"), "face_suggestions", ["person_id", "status"])
    op.create_index(op.f("ix_image_assets_taken_at_id"), "image_assets", ["taken_at", "id"])
    op.create_index(
        "ix_image_assets_shown",
        "image_assets",
        [sa.text("coalesce(taken_at, created_at)"), "id"],
        postgresql_where=sa.text("missing_since IS NULL AND broken_code IS NULL"),
    )
    op.drop_index(op.f("ix_person_prototypes_model_id"), "person_prototypes")
    op.create_index(
        "ix_person_prototypes_changed", "person_prototypes", ["model_id", sa.text("greatest(created_at, retired_at)")]
    )
    _create_changes()
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("asset_id", sa.BigInteger()),
        sa.Column("person_id", sa.Integer()),
        _time("created_at", required=True),
        sa.CheckConstraint("num_nonnulls(asset_id, person_id) = 1", name=op.f("ck_outbox_one_subject")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_persons", "outbox", ["id"], postgresql_where=sa.text("person_id IS NOT NULL"))
    op.execute(TELL_ALL)
    op.execute(ONE_FACE_MODEL)


def _create_changes() -> None:
    op.create_table(
        "people_changes",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Integer()),
        sa.Column("cluster_id", sa.Integer()),
        sa.Column("before", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("faces", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _time("created_at", required=True),
        _time("undone_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people_changes")),
    )
    op.create_index(op.f("ix_people_changes_created_at"), "people_changes", ["created_at"])
    op.create_table(
        "people_change_faces",
        _change_id("people_change_faces"),
        sa.Column("face_id", sa.Uuid(), nullable=False),
        sa.Column("person_before", sa.Integer()),
        sa.Column("assigned_by_before", sa.Text()),
        sa.Column("similarity_before", sa.Double()),
        sa.Column("cluster_before", sa.Integer()),
        _time("clustered_before"),
        _time("ignored_before"),
        sa.Column("person_after", sa.Integer()),
        sa.Column("assigned_by_after", sa.Text()),
        sa.Column("ignored_after", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("change_id", "face_id", name=op.f("pk_people_change_faces")),
    )
    op.create_table(
        "people_change_suggestions",
        _change_id("people_change_suggestions"),
        sa.Column("face_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("status_before", sa.Text()),
        sa.Column("similarity_before", sa.Double()),
        sa.Column("session_before", sa.Integer()),
        _time("created_before"),
        _time("decided_before"),
        sa.Column("status_after", sa.Text()),
        sa.Column("similarity_after", sa.Double()),
        sa.PrimaryKeyConstraint("change_id", "face_id", "person_id", name=op.f("pk_people_change_suggestions")),
    )


def _change_id(table: str) -> sa.Column:
    key = sa.ForeignKey("people_changes.id", ondelete="CASCADE", name=op.f(f"fk_{table}_change_id"))
    return sa.Column("change_id", sa.Integer(), key, nullable=False)


def _time(name: str, *, required: bool = False) -> sa.Column:
    default = sa.text("now()") if required else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=not required)
