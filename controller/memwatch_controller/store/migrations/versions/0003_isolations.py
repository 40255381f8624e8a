"""Pods that are out of their service."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Brings the tables from the second revision to this one."""
    op.create_table(
        "isolations",
        sa.Column("id", sa.String(length=260), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_isolations")),
    )
    op.create_index(op.f("ix_isolations_session_id"), "isolations", ["session_id"], unique=False)
    op.create_index(op.f("ix_isolations_state"), "isolations", ["state"], unique=False)
