"""An installation knows its namespace: in any other, every resource would look deleted."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("installation", sa.Column("namespace", sa.Text()))
    op.add_column("installation", sa.Column("namespace_uid", sa.Text()))
