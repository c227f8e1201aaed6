"""Face sessions shown from a session's first second, subdirectories of any length, and what a key was sent with."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


# A session that looks for faces is one from its first second, whatever it finds to do. A standalone one's status is
# the session's. An ordinary one has detect's; while detect has not begun, what keeps the session from it is shown
# instead, and before there are steps the session's own.
FACE_DETECTION_SESSIONS = """
CREATE VIEW face_detection_sessions AS
SELECT s.id,
       CASE WHEN kind.standalone THEN s.source_session_id ELSE s.id END AS training_session_id,
       CASE WHEN kind.standalone OR detect.status IS NULL
                 OR (detect.status = 'pending' AND s.status IN ('paused', 'failed'))
            THEN s.status ELSE detect.status END AS status,
       coalesce((s.options ->> 'min_confidence')::float8, 0.5) AS min_confidence,
       coalesce((s.options ->> 'min_face_size_px')::float8, 20) AS min_face_size,
       coalesce(detect.total, 0) AS total_images,
       coalesce(detect.done, 0) + coalesce(running.done, 0) AS processed_images,
       coalesce(detect.done, 0) + coalesce(running.done, 0) AS current_asset_index,
       coalesce((detect.counts ->> 'faces')::bigint, 0) + coalesce(running.faces, 0) AS faces_detected,
       coalesce((detect.counts ->> 'assigned')::bigint, 0) + coalesce(running.assigned, 0)
           AS faces_assigned_to_persons,
       coalesce((detect.counts ->> 'suggestions')::bigint, 0) + coalesce(running.suggestions, 0)
           AS suggestions_created,
       coalesce((clusters.counts ->> 'clusters')::bigint, 0) AS clusters_created,
       s.created_at,
       CASE WHEN kind.standalone THEN s.started_at ELSE detect.started_at END AS started_at,
       CASE WHEN kind.standalone THEN s.completed_at ELSE detect.completed_at END AS completed_at
FROM training_sessions s
CROSS JOIN LATERAL (SELECT NOT coalesce((s.options ->> 'training')::boolean, true) AS standalone) kind
LEFT JOIN steps detect ON detect.session_id = s.id AND detect.step IN ('detect', 'assign')
LEFT JOIN steps clusters ON clusters.session_id = s.id AND clusters.step = 'cluster'
LEFT JOIN LATERAL (
    SELECT sum(h.done)::bigint AS done,
           sum((h.counts ->> 'faces')::bigint)::bigint AS faces,
           sum((h.counts ->> 'assigned')::bigint)::bigint AS assigned,
           sum((h.counts ->> 'suggestions')::bigint)::bigint AS suggestions
    FROM shards h
    WHERE detect.status = 'running' AND h.session_id = s.id AND h.step = detect.step
        AND h.attempt = detect.attempt
) running ON true
WHERE s.deleted_at IS NULL AND (kind.standalone OR coalesce((s.options ->> 'faces')::boolean, true))
"""


def upgrade() -> None:
    op.add_column("training_sessions", sa.Column("idempotency_sha256", sa.LargeBinary(), nullable=True))
    # An index takes some 2,700 bytes of a row; a path may have thousands of characters.
    op.drop_constraint(op.f("pk_training_subdirectories"), "training_subdirectories", type_="primary")
    op.create_index(
        "uq_training_subdirectories_session_id_path",
        "training_subdirectories",
        ["session_id", sa.text("md5(path)")],
        unique=True,
    )
    op.execute("DROP VIEW face_detection_sessions")  # its sums change their type
    op.execute(FACE_DETECTION_SESSIONS)
