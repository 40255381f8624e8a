"""The tables of the metadata store, the same on SQLite and on PostgreSQL.

What is searched, sorted or unique has a column; the rest of a value is JSON in `body`
(or in a column of its own). Times are whole milliseconds since the epoch. A change here
needs a migration in `migrations/versions`; a test compares the two.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

#: Longest id; see `model.ID_PATTERN`.
_ID = sa.String(128)

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("last_seen_time", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

targets = sa.Table(
    "targets",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("agent_id", _ID, nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("last_seen_time", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("request_id", sa.String(128), nullable=False, unique=True),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("state", sa.String(24), nullable=False, index=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("end_time", sa.BigInteger, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=True),
    sa.Index(None, "create_time", "id"),
)

session_targets = sa.Table(
    "session_targets",
    metadata,
    sa.Column(
        "session_id", _ID, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("target_id", _ID, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("state", sa.String(24), nullable=False),
    sa.Column("taken", sa.Integer, nullable=False),
    sa.Column("first_time", sa.BigInteger, nullable=False),
    sa.Column("due_time", sa.BigInteger, nullable=False),
    sa.Column("phase_time", sa.BigInteger, nullable=False),
    sa.Column("report_id", _ID, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=True),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("request_id", sa.String(400), nullable=False, unique=True),
    sa.Column("session_id", _ID, nullable=False, index=True),
    sa.Column("target_id", _ID, nullable=False, index=True),
    sa.Column("phase", _ID, nullable=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("capture_time", sa.BigInteger, nullable=False),
    sa.Column("stored_size_bytes", sa.BigInteger, nullable=False),
    sa.Column("late", sa.Boolean, nullable=False),
    sa.Column("late_millis", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index(None, "capture_time", "id"),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("session_id", _ID, nullable=False),
    sa.Column("target_id", _ID, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("snapshot_ids", sa.Text, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("json", sa.Text, nullable=False),
    sa.UniqueConstraint("session_id", "target_id"),
    sa.Index(None, "create_time", "id"),
)

profiles = sa.Table(
    "profiles",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("request_id", sa.String(128), nullable=False, unique=True),
    sa.Column("target_id", _ID, nullable=False, index=True),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index(None, "create_time", "id"),
)

isolations = sa.Table(
    "isolations",
    metadata,
    sa.Column("id", sa.String(260), primary_key=True),
    sa.Column("session_id", _ID, nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

findings = sa.Table(
    "findings",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("target_id", _ID, nullable=False, index=True),
    sa.Column("type", sa.String(24), nullable=False),
    # Severity and time in one number: what lists are ordered by.
    sa.Column("rank", sa.BigInteger, nullable=False),
    sa.Column("end_time", sa.BigInteger, nullable=False, index=True),
    sa.Column("acknowledged", sa.Boolean, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index(None, "rank", "id"),
)
