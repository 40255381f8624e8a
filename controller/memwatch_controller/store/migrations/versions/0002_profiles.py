"""Profiles."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Brings the tables from the first revision to this one."""
    op.create_table(
        "profiles",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("target_id", sa.String(length=128), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_profiles")),
        sa.UniqueConstraint("request_id", name=op.f("uq_profiles_request_id")),
    )
    op.create_index(
        op.f("ix_profiles_create_time_id"), "profiles", ["create_time", "id"], unique=False
    )
    op.create_index(op.f("ix_profiles_state"), "profiles", ["state"], unique=False)
    op.create_index(op.f("ix_profiles_target_id"), "profiles", ["target_id"], unique=False)
