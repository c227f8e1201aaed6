"""Every table, as SQLAlchemy Core. The migrations must lead to exactly this; a test compares the two.

Who writes what: the API and the command line write what is *requested*; the controller writes status, steps
and the existence of shards; workers write their shard's progress and results.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

NOW = func.now()
EMPTY_OBJECT = text("'{}'::jsonb")


def _time(name: str, *, required: bool = False) -> Column:
    return Column(name, DateTime(timezone=True), nullable=not required, server_default=NOW if required else None)


def _count(name: str, kind: type[Integer] = BigInteger) -> Column:
    return Column(name, kind, nullable=False, server_default=text("0"))


def _object(name: str) -> Column:
    return Column(name, JSONB, nullable=False, server_default=EMPTY_OBJECT)


installation = Table(
    "installation",
    metadata,
    Column("is_only", Boolean, primary_key=True, server_default=text("true")),
    Column("id", Uuid, nullable=False),
    _time("created_at", required=True),
    # Of the cluster, once a controller has led there:
    Column("namespace", Text),
    Column("namespace_uid", Text),
    CheckConstraint("is_only", name="one_row"),
)

controller_lease = Table(
    "controller_lease",
    metadata,
    Column("is_only", Boolean, primary_key=True, server_default=text("true")),
    Column("holder", Text, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("is_only", name="one_row"),
)

categories = Table(
    "categories",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _time("created_at", required=True),
)

models = Table(
    "models",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("weights_sha256", Text, nullable=False),
    Column("preprocess_version", Integer, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("collection", Text, nullable=False),
    Column("trained", Boolean, nullable=False),
    Column("thresholds", JSONB),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    _time("created_at", required=True),
    UniqueConstraint("kind", "engine", "name", "weights_sha256", "preprocess_version"),
)

training_sessions = Table(
    "training_sessions",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("root_path", Text, nullable=False),
    Column("category_id", ForeignKey("categories.id")),
    _object("options"),
    Column("source_session_id", ForeignKey("training_sessions.id")),
    Column("idempotency_key", Text, unique=True),
    Column("idempotency_sha256", LargeBinary),  # of the request that the key was sent with
    _time("created_at", required=True),
    # Requested, by the API and the command line:
    Column("requested", Text, nullable=False, server_default="run"),
    _time("retry_requested_at"),
    _time("deleted_at"),
    # Found out, by the discover worker:
    Column("models", JSONB),
    _count("total"),
    _count("unchanged"),
    _count("skipped"),
    # Decided, by the controller:
    Column("status", Text, nullable=False, server_default="pending"),
    Column("weights", JSONB),
    Column("failure_code", Text),
    Column("failure_message", Text),
    Column("waiting_code", Text),
    Column("waiting_message", Text),
    _time("waiting_since"),
    _time("retry_seen_at"),
    _count("processed"),
    _count("failed"),
    _time("started_at"),
    _time("completed_at"),
    Column("resource_name", Text),
    Column("resource_uid", Text, unique=True),
    _time("resource_gone_at"),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),  # as its resource says
    CheckConstraint("requested IN ('run', 'pause', 'cancel')", name="requested"),
    CheckConstraint("status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled')", name="status"),
    Index(None, "status"),
)

training_subdirectories = Table(
    "training_subdirectories",
    metadata,
    Column("session_id", ForeignKey("training_sessions.id"), nullable=False),
    Column("path", Text, nullable=False),
    Column("selected", Boolean, nullable=False, server_default=text("true")),
    _count("image_count"),
    # A path may be longer than an index takes.
    Index("uq_training_subdirectories_session_id_path", "session_id", text("md5(path)"), unique=True),
)

steps = Table(
    "steps",
    metadata,
    Column("session_id", ForeignKey("training_sessions.id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("status", Text, nullable=False),
    _count("attempt", Integer),
    _count("failures", Integer),  # attempts that ended by failure since the last retry
    Column("total", BigInteger),  # units of the step; null until discovered
    _count("done"),  # before the running attempt, failed units included
    _count("failed"),  # before the running attempt
    _object("counts"),  # before the running attempt: faces, assigned, suggestions, unchanged, inherited, clusters
    Column("job_name", Text),
    Column("job_uid", Text),
    Column("job_token", Text),
    Column("failure_code", Text),
    Column("failure_message", Text),
    Column("waiting_code", Text),
    Column("waiting_message", Text),
    _time("waiting_since"),
    _time("started_at"),
    _time("attempt_started_at"),
    _time("completed_at"),
    Column("seconds", Double, nullable=False, server_default=text("0")),  # active, before the running attempt
    Column("worker_seconds", Double, nullable=False, server_default=text("0")),  # the same, of all workers added up
    PrimaryKeyConstraint("session_id", "step"),
    CheckConstraint(
        "status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled', 'skipped')",
        name="status",
    ),
)

shards = Table(
    "shards",
    metadata,
    Column("session_id", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("index", Integer, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("next", BigInteger, nullable=False),
    Column("in_flight", BigInteger),  # last position handed out but not committed; null when none is
    _count("done"),
    _count("failed"),
    _object("counts"),
    _count("claim", Integer),
    Column("worker", Text),
    Column("waiting_code", Text),
    Column("waiting_message", Text),
    _time("waiting_since"),
    _time("claimed_at"),
    _time("committed_at"),
    _time("finished_at"),
    PrimaryKeyConstraint("session_id", "step", "attempt", "index"),
)

# What a running discover has found so far. Unlogged: after a crash of the database discover starts over.
discovered_files = Table(
    "discovered_files",
    metadata,
    Column("session_id", Integer, nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("path_text", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    prefixes=["UNLOGGED"],
)

image_assets = Table(
    "image_assets",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("path", LargeBinary, nullable=False),
    Column("path_sha256", LargeBinary, nullable=False, unique=True),
    Column("path_text", Text, nullable=False),
    Column("size_bytes", BigInteger),
    Column("mtime_ns", BigInteger),
    Column("content_sha256", LargeBinary),
    Column("width", Integer),
    Column("height", Integer),
    _time("taken_at"),
    # Why no picture can be had of the file as it is (of this size and time); null when one can.
    Column("broken_code", Text),
    Column("broken_message", Text),
    Column("category_id", ForeignKey("categories.id")),
    _time("missing_since"),
    _time("created_at", required=True),
    Index(None, "content_sha256"),
    Index(None, "taken_at", "id"),
    # In the order that people look at photos: those of which there is a picture.
    Index(
        "ix_image_assets_shown",
        text("coalesce(taken_at, created_at)"),
        "id",
        postgresql_where=text("missing_since IS NULL AND broken_code IS NULL"),
    ),
)

# No foreign keys: discover makes millions of these in one statement, from the very rows they would point at, and
# checking each of them again is a third of its time.
training_jobs = Table(
    "training_jobs",
    metadata,
    Column("session_id", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("asset_id", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("error_code", Text),
    Column("error_message", Text),
    _count("attempts", Integer),  # workers that died while they held it
    PrimaryKeyConstraint("session_id", "step", "position"),
    UniqueConstraint("session_id", "step", "asset_id"),
    CheckConstraint("status IN ('pending', 'completed', 'failed')", name="status"),
    Index(
        "ix_training_jobs_unfinished",
        "session_id",
        "step",
        "position",
        postgresql_where=text("status <> 'completed'"),
    ),
)

training_evidence = Table(
    "training_evidence",
    metadata,
    Column("asset_id", ForeignKey("image_assets.id"), nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("embedding_sha256", LargeBinary, nullable=False),
    Column("trained", Boolean, nullable=False),
    Column("session_id", ForeignKey("training_sessions.id"), nullable=False),
    Column("category_id", ForeignKey("categories.id")),  # when it was made; read by workers of before alone
    Column("seconds", Double, nullable=False),
    _time("created_at", required=True),
    PrimaryKeyConstraint("asset_id", "content_sha256", "model_id"),
)

face_scans = Table(
    "face_scans",
    metadata,
    Column("asset_id", ForeignKey("image_assets.id"), nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("min_confidence", Double, nullable=False),
    Column("min_face_size_px", Double, nullable=False),
    Column("faces", Integer, nullable=False),
    Column("session_id", ForeignKey("training_sessions.id"), nullable=False),
    _time("created_at", required=True),
    PrimaryKeyConstraint("asset_id", "content_sha256", "model_id"),
)

persons = Table(
    "persons",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("cover_face_id", Uuid),  # chosen by somebody; else the best face stands for the person
    _time("created_at", required=True),
    _time("deleted_at"),
    Index("uq_persons_name", text("lower(name)"), unique=True, postgresql_where=text("deleted_at IS NULL")),
)

face_clusters = Table(
    "face_clusters",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("session_id", ForeignKey("training_sessions.id"), nullable=False),
    Column("size", Integer, nullable=False),
    Column("representative_face_id", Uuid),
    _time("created_at", required=True),
    _time("closed_at"),
    _time("dismissed_at"),  # by somebody, for good: it is kept up, so that new faces of these people go there too
)

face_instances = Table(
    "face_instances",
    metadata,
    Column("id", Uuid, primary_key=True),  # also the id of the point in Qdrant
    Column("asset_id", ForeignKey("image_assets.id"), nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    # Edges of the box in pixels of the upright, full-size photo.
    Column("box_left", Double, nullable=False),
    Column("box_top", Double, nullable=False),
    Column("box_right", Double, nullable=False),
    Column("box_bottom", Double, nullable=False),
    # Its size then: it may have another by now. Null, for as it is now, where an older version found the face.
    Column("photo_width", Integer),
    Column("photo_height", Integer),
    Column("confidence", Double, nullable=False),
    Column("quality", Double, nullable=False),
    Column("embedding_sha256", LargeBinary, nullable=False),
    Column("session_id", ForeignKey("training_sessions.id"), nullable=False),
    Column("person_id", ForeignKey("persons.id")),
    Column("assigned_by", Text),  # "engine" or "person"
    Column("similarity", Double),
    Column("cluster_id", ForeignKey("face_clusters.id")),
    _time("clustered_at"),
    _time("ignored_at"),  # by somebody: neither grouped, assigned nor suggested
    _time("created_at", required=True),
    UniqueConstraint("asset_id", "content_sha256", "model_id", "ordinal"),
    Index(None, "cluster_id"),
    Index(None, "person_id"),
    Index(
        "ix_face_instances_unclustered",
        "model_id",
        postgresql_where=text("clustered_at IS NULL AND person_id IS NULL"),
    ),
)

person_prototypes = Table(
    "person_prototypes",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("person_id", ForeignKey("persons.id"), nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("face_id", Uuid),
    Column("embedding", LargeBinary, nullable=False),  # float32 little-endian, L2-normalised
    _time("created_at", required=True),
    _time("retired_at"),
    Index("ix_person_prototypes_changed", "model_id", text("greatest(created_at, retired_at)")),
)

face_suggestions = Table(
    "face_suggestions",
    metadata,
    Column("face_id", ForeignKey("face_instances.id", ondelete="CASCADE"), nullable=False),
    Column("person_id", ForeignKey("persons.id"), nullable=False),
    Column("similarity", Double, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("session_id", ForeignKey("training_sessions.id")),  # null: it was never suggested, but refused
    _time("created_at", required=True),
    _time("decided_at"),
    PrimaryKeyConstraint("face_id", "person_id"),
    CheckConstraint("status IN ('pending', 'accepted', 'rejected')", name="status"),
    Index(None, "person_id", "status"),
)

# What people did in the last 24 hours, with what was there before: enough to undo it. No foreign keys to faces and
# persons: erasing those must not ask who did what to them (whom `before` names, trainyard/people/records.py says).
people_changes = Table(
    "people_changes",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("person_id", Integer),  # whom it made, or gave faces to, or took them from
    Column("cluster_id", Integer),
    _object("before"),  # of persons and clusters, as trainyard/people/records.py says
    _count("faces", Integer),
    _time("created_at", required=True),
    _time("undone_at"),
    Index(None, "created_at"),
)

people_change_faces = Table(
    "people_change_faces",
    metadata,
    Column("change_id", ForeignKey("people_changes.id", ondelete="CASCADE"), nullable=False),
    Column("face_id", Uuid, nullable=False),
    Column("person_before", Integer),
    Column("assigned_by_before", Text),
    Column("similarity_before", Double),
    Column("cluster_before", Integer),
    _time("clustered_before"),
    _time("ignored_before"),
    Column("person_after", Integer),
    Column("assigned_by_after", Text),
    Column("ignored_after", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("change_id", "face_id"),
)

people_change_suggestions = Table(
    "people_change_suggestions",
    metadata,
    Column("change_id", ForeignKey("people_changes.id", ondelete="CASCADE"), nullable=False),
    Column("face_id", Uuid, nullable=False),
    Column("person_id", Integer, nullable=False),
    Column("status_before", Text),  # null: there was no row
    Column("similarity_before", Double),
    Column("session_before", Integer),
    _time("created_before"),
    _time("decided_before"),
    Column("status_after", Text),  # null: the row was removed
    Column("similarity_after", Double),
    PrimaryKeyConstraint("change_id", "face_id", "person_id"),
)

# What Qdrant, or a person's prototypes, have yet to be told: written in the transaction that changes the rows.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("asset_id", BigInteger),  # whose points' payloads are behind
    Column("person_id", Integer),  # whose prototypes are
    _time("created_at", required=True),
    CheckConstraint("num_nonnulls(asset_id, person_id) = 1", name="one_subject"),
    Index("ix_outbox_persons", "id", postgresql_where=text("person_id IS NOT NULL")),
)
