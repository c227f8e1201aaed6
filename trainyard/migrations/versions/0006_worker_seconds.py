"""How long workers worked, added up: a shard's length is measured by one worker's pace, not by all of them together."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("steps", sa.Column("worker_seconds", sa.Double(), nullable=False, server_default=sa.text("0")))
