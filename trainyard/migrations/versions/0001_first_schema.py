"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# Face sessions as the first system showed them; standalone ones point at the session they were asked for.
FACE_DETECTION_SESSIONS = """
CREATE VIEW face_detection_sessions AS
SELECT s.id,
       CASE WHEN training.status = 'skipped' THEN s.source_session_id ELSE s.id END AS training_session_id,
       detect.status,
       coalesce((s.options ->> 'min_confidence')::float8, 0.5) AS min_confidence,
       coalesce((s.options ->> 'min_face_size_px')::float8, 20) AS min_face_size,
       coalesce(detect.total, 0) AS total_images,
       detect.done + coalesce(running.done, 0) AS processed_images,
       detect.done + coalesce(running.done, 0) AS current_asset_index,
       coalesce((detect.counts ->> 'faces')::bigint, 0) + coalesce(running.faces, 0) AS faces_detected,
       coalesce((detect.counts ->> 'assigned')::bigint, 0) + coalesce(running.assigned, 0)
           AS faces_assigned_to_persons,
       coalesce((detect.counts ->> 'suggestions')::bigint, 0) + coalesce(running.suggestions, 0)
           AS suggestions_created,
       coalesce((clusters.counts ->> 'clusters')::bigint, 0) AS clusters_created,
       s.created_at, detect.started_at, detect.completed_at
FROM training_sessions s
JOIN steps detect ON detect.session_id = s.id AND detect.step IN ('detect', 'assign')
    AND detect.status <> 'skipped'
LEFT JOIN steps training ON training.session_id = s.id AND training.step = 'embed'
LEFT JOIN steps clusters ON clusters.session_id = s.id AND clusters.step = 'cluster'
LEFT JOIN LATERAL (
    SELECT sum(h.done) AS done,
           sum((h.counts ->> 'faces')::bigint) AS faces,
           sum((h.counts ->> 'assigned')::bigint) AS assigned,
           sum((h.counts ->> 'suggestions')::bigint) AS suggestions
    FROM shards h
    WHERE detect.status = 'running' AND h.session_id = s.id AND h.step = detect.step
        AND h.attempt = detect.attempt
) running ON true
WHERE s.deleted_at IS NULL
"""


def upgrade() -> None:
    op.create_table(
        "categories",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_categories")),
        sa.UniqueConstraint("name", name=op.f("uq_categories_name")),
    )
    op.create_table(
        "controller_lease",
        sa.Column("is_only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("is_only", name=op.f("ck_controller_lease_one_row")),
        sa.PrimaryKeyConstraint("is_only", name=op.f("pk_controller_lease")),
    )
    op.create_table(
        "discovered_files",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("path_text", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "installation",
        sa.Column("is_only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("is_only", name=op.f("ck_installation_one_row")),
        sa.PrimaryKeyConstraint("is_only", name=op.f("pk_installation")),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("weights_sha256", sa.Text(), nullable=False),
        sa.Column("preprocess_version", sa.Integer(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("trained", sa.Boolean(), nullable=False),
        sa.Column("thresholds", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint(
            "kind",
            "engine",
            "name",
            "weights_sha256",
            "preprocess_version",
            name=op.f("uq_models_kind_engine_name_weights_sha256_preprocess_version"),
        ),
    )
    op.create_table(
        "persons",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_persons")),
    )
    op.create_table(
        "shards",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("in_flight", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "counts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("claim", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("waiting_code", sa.Text(), nullable=True),
        sa.Column("waiting_message", sa.Text(), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("session_id", "step", "attempt", "index", name=op.f("pk_shards")),
    )
    op.create_table(
        "training_jobs",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'completed', 'failed')", name=op.f("ck_training_jobs_status")),
        sa.PrimaryKeyConstraint("session_id", "step", "position", name=op.f("pk_training_jobs")),
        sa.UniqueConstraint("session_id", "step", "asset_id", name=op.f("uq_training_jobs_session_id_step_asset_id")),
    )
    op.create_index(
        "ix_training_jobs_unfinished",
        "training_jobs",
        ["session_id", "step", "position"],
        unique=False,
        postgresql_where=sa.text("status <> 'completed'"),
    )
    op.create_table(
        "image_assets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("path_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("path_text", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("broken_code", sa.Text(), nullable=True),
        sa.Column("broken_message", sa.Text(), nullable=True),
        sa.Column("category_id", sa.Integer(), nullable=True),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["category_id"], ["categories.id"], name=op.f("fk_image_assets_category_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_assets")),
        sa.UniqueConstraint("path_sha256", name=op.f("uq_image_assets_path_sha256")),
    )
    op.create_index(op.f("ix_image_assets_content_sha256"), "image_assets", ["content_sha256"], unique=False)
    op.create_table(
        "person_prototypes",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("face_id", sa.Uuid(), nullable=True),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_person_prototypes_model_id")),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], name=op.f("fk_person_prototypes_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_prototypes")),
    )
    op.create_index(op.f("ix_person_prototypes_model_id"), "person_prototypes", ["model_id"], unique=False)
    op.create_table(
        "training_sessions",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("root_path", sa.Text(), nullable=False),
        sa.Column("category_id", sa.Integer(), nullable=True),
        sa.Column(
            "options", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("source_session_id", sa.Integer(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("requested", sa.Text(), server_default="run", nullable=False),
        sa.Column("retry_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("models", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("total", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("unchanged", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("weights", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("waiting_code", sa.Text(), nullable=True),
        sa.Column("waiting_message", sa.Text(), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("processed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resource_name", sa.Text(), nullable=True),
        sa.Column("resource_uid", sa.Text(), nullable=True),
        sa.Column("resource_gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("requested IN ('run', 'pause', 'cancel')", name=op.f("ck_training_sessions_requested")),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_training_sessions_status"),
        ),
        sa.ForeignKeyConstraint(["category_id"], ["categories.id"], name=op.f("fk_training_sessions_category_id")),
        sa.ForeignKeyConstraint(
            ["source_session_id"], ["training_sessions.id"], name=op.f("fk_training_sessions_source_session_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_sessions")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_training_sessions_idempotency_key")),
        sa.UniqueConstraint("resource_uid", name=op.f("uq_training_sessions_resource_uid")),
    )
    op.create_index(op.f("ix_training_sessions_status"), "training_sessions", ["status"], unique=False)
    op.create_table(
        "face_clusters",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("representative_face_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_face_clusters_model_id")),
        sa.ForeignKeyConstraint(["session_id"], ["training_sessions.id"], name=op.f("fk_face_clusters_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_face_clusters")),
    )
    op.create_table(
        "face_scans",
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("min_confidence", sa.Double(), nullable=False),
        sa.Column("min_face_size_px", sa.Double(), nullable=False),
        sa.Column("faces", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["image_assets.id"], name=op.f("fk_face_scans_asset_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_face_scans_model_id")),
        sa.ForeignKeyConstraint(["session_id"], ["training_sessions.id"], name=op.f("fk_face_scans_session_id")),
        sa.PrimaryKeyConstraint("asset_id", "content_sha256", "model_id", name=op.f("pk_face_scans")),
    )
    op.create_table(
        "steps",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "counts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("job_name", sa.Text(), nullable=True),
        sa.Column("job_uid", sa.Text(), nullable=True),
        sa.Column("job_token", sa.Text(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("waiting_code", sa.Text(), nullable=True),
        sa.Column("waiting_message", sa.Text(), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled', 'skipped')",
            name=op.f("ck_steps_status"),
        ),
        sa.ForeignKeyConstraint(["session_id"], ["training_sessions.id"], name=op.f("fk_steps_session_id")),
        sa.PrimaryKeyConstraint("session_id", "step", name=op.f("pk_steps")),
    )
    op.create_table(
        "training_evidence",
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("embedding_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("trained", sa.Boolean(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["image_assets.id"], name=op.f("fk_training_evidence_asset_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_training_evidence_model_id")),
        sa.ForeignKeyConstraint(["session_id"], ["training_sessions.id"], name=op.f("fk_training_evidence_session_id")),
        sa.PrimaryKeyConstraint("asset_id", "content_sha256", "model_id", name=op.f("pk_training_evidence")),
    )
    op.create_table(
        "training_subdirectories",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("selected", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("image_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["training_sessions.id"], name=op.f("fk_training_subdirectories_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", "path", name=op.f("pk_training_subdirectories")),
    )
    op.create_table(
        "face_instances",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("box_left", sa.Double(), nullable=False),
        sa.Column("box_top", sa.Double(), nullable=False),
        sa.Column("box_right", sa.Double(), nullable=False),
        sa.Column("box_bottom", sa.Double(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("quality", sa.Double(), nullable=False),
        sa.Column("embedding_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("assigned_by", sa.Text(), nullable=True),
        sa.Column("similarity", sa.Double(), nullable=True),
        sa.Column("cluster_id", sa.Integer(), nullable=True),
        sa.Column("clustered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["image_assets.id"], name=op.f("fk_face_instances_asset_id")),
        sa.ForeignKeyConstraint(["cluster_id"], ["face_clusters.id"], name=op.f("fk_face_instances_cluster_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_face_instances_model_id")),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], name=op.f("fk_face_instances_person_id")),
        sa.ForeignKeyConstraint(["session_id"], ["training_sessions.id"], name=op.f("fk_face_instances_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_face_instances")),
        sa.UniqueConstraint(
            "asset_id",
            "content_sha256",
            "model_id",
            "ordinal",
            name=op.f("uq_face_instances_asset_id_content_sha256_model_id_ordinal"),
        ),
    )
    op.create_index(op.f("ix_face_instances_cluster_id"), "face_instances", ["cluster_id"], unique=False)
    op.create_index(op.f("ix_face_instances_person_id"), "face_instances", ["person_id"], unique=False)
    op.create_index(
        "ix_face_instances_unclustered",
        "face_instances",
        ["model_id"],
        unique=False,
        postgresql_where=sa.text("clustered_at IS NULL AND person_id IS NULL"),
    )
    op.create_table(
        "face_suggestions",
        sa.Column("face_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("similarity", sa.Double(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'accepted', 'rejected')", name=op.f("ck_face_suggestions_status")),
        sa.ForeignKeyConstraint(
            ["face_id"], ["face_instances.id"], name=op.f("fk_face_suggestions_face_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], name=op.f("fk_face_suggestions_person_id")),
        sa.ForeignKeyConstraint(["session_id"], ["training_sessions.id"], name=op.f("fk_face_suggestions_session_id")),
        sa.PrimaryKeyConstraint("face_id", "person_id", name=op.f("pk_face_suggestions")),
    )
    op.execute(FACE_DETECTION_SESSIONS)
    op.execute("INSERT INTO installation (id) VALUES (gen_random_uuid())")
