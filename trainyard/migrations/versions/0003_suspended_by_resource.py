"""Whether a session's resource says spec.suspend: a brake beside the one that the API requests."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "training_sessions",
        sa.Column("suspended", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
