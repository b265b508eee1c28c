"""splitting in full, scouts, shares, quotas, health, verdicts that are kept, a journal of orders

What the database does by itself is in the file beside this one.
"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

FILE = "0004_guards.sql"


def upgrade() -> None:
    for name in ("input", "output"):  # tables take the names
        op.execute(f"ALTER INDEX task_{name} RENAME TO task_of_{name}")
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("journal_object", "journal", ["object", "id"], unique=False)
    op.create_table(
        "membership",
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("user_name", sa.String(), nullable=False),
        sa.Column("leads", sa.Boolean(), server_default=sa.text("'False'"), nullable=False),
        sa.PrimaryKeyConstraint("group_name", "user_name"),
    )
    op.create_table(
        "open_order",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("after", sa.Integer(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"]),
        sa.PrimaryKeyConstraint("task_id", "verb"),
    )
    op.create_table(
        "requirement",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("cores", sa.Integer(), server_default=sa.text("'1'"), nullable=False),
        sa.Column("memory_mb", sa.Integer(), server_default=sa.text("'1000'"), nullable=False),
        sa.Column("walltime_s", sa.Integer(), server_default=sa.text("'3600'"), nullable=False),
        sa.Column("scratch_mb", sa.Integer(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("gpus", sa.Integer(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("architecture", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "software", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "cores",
            "memory_mb",
            "walltime_s",
            "scratch_mb",
            "gpus",
            "architecture",
            "software",
            name="requirement_once",
        ),
    )
    op.create_table(
        "retry_rules",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "round",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "facts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "share",
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("parent_id", sa.SmallInteger(), nullable=True),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column(
            "match", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("place", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retired", sa.Boolean(), server_default="false", nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["share.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "work_done",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("share_id", sa.SmallInteger(), nullable=True),
        sa.Column("queue_id", sa.SmallInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("core_s", sa.BigInteger(), nullable=False),
        sa.Column("folded", sa.Boolean(), server_default="false", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("work_done_group", "work_done", ["group_name", "day"], unique=False)
    op.create_index("work_done_day", "work_done", ["day"], unique=False)
    op.create_index("work_done_new", "work_done", ["id"], unique=False, postgresql_where=sa.text("NOT folded"))
    op.create_index("work_done_owner", "work_done", ["owner", "day"], unique=False)
    op.create_table(
        "work_quota",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=True),
        sa.Column("queued", sa.Integer(), nullable=True),
        sa.Column("core_hours", sa.Float(), nullable=True),
        sa.Column("days", sa.Integer(), server_default=sa.text("'30'"), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_table(
        "queue_health",
        sa.Column("queue_id", sa.SmallInteger(), nullable=False),
        sa.Column("ordered", sa.Text(), nullable=True),
        sa.Column("health", sa.Text(), server_default=sa.text("'good'"), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("strikes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("canary", sa.BigInteger(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["queue_id"],
            ["queue.id"],
        ),
        sa.PrimaryKeyConstraint("queue_id"),
    )
    op.create_table(
        "run_end",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("queue_id", sa.SmallInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("run_end_queue", "run_end", ["queue_id", "id"], unique=False)
    op.create_index("job_of_task", "job", ["task_id", "id"], unique=False)
    op.create_index("event_own", "event", ["task_id", "id"], unique=False, postgresql_where=sa.text("job_id IS NULL"))
    for name, columns in (("event_failed", ["id"]), ("event_failed_task", ["task_id", "id"])):
        failed = sa.text("state = 'failed' AND job_id IS NOT NULL")
        op.create_index(name, "event", columns, unique=False, postgresql_where=failed)
    op.create_index("hold_file_storage", "hold_file", ["storage_id", "hold_id"], unique=False)
    op.create_table(
        "task_input",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["task.id"],
        ),
        sa.PrimaryKeyConstraint("task_id", "dataset_id", "role"),
    )
    op.create_index("task_input_dataset", "task_input", ["dataset_id"], unique=False)
    op.create_table(
        "task_output",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["task.id"],
        ),
        sa.PrimaryKeyConstraint("task_id", "role"),
    )
    op.create_index("task_output_dataset", "task_output", ["dataset_id"], unique=False)
    op.add_column(
        "assignment", sa.Column("until", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    )
    op.add_column("assignment", sa.Column("round_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "assignment",
        sa.Column(
            "verdicts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
    )
    op.drop_index("assignment_refusal", table_name="assignment")
    op.create_index(
        "assignment_refusal",
        "assignment",
        ["task_id", "until"],
        unique=False,
        postgresql_where=sa.text("queue_id IS NULL"),
    )
    op.create_index(
        "assignment_over", "assignment", ["until"], unique=False, postgresql_where=sa.text("queue_id IS NULL")
    )
    op.add_column("job", sa.Column("share_id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False))
    op.add_column("job", sa.Column("requirement_id", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.add_column("job", sa.Column("scout", sa.Boolean(), server_default="false", nullable=False))
    op.add_column(
        "job",
        sa.Column(
            "avoid", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
    )
    op.add_column("job", sa.Column("spared", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("job", sa.Column("started_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("job_count", sa.Column("share_id", sa.SmallInteger(), nullable=True))
    op.add_column("job_count", sa.Column("cores", sa.Integer(), server_default="0", nullable=False))
    op.create_index(
        "job_count_share",
        "job_count",
        ["share_id", "queue_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('sent', 'starting', 'running', 'holding')"),
    )
    op.add_column("lease", sa.Column("seat", sa.SmallInteger(), server_default=sa.text("1"), nullable=False))
    op.drop_index("lease_pilot", table_name="lease")
    op.create_index("lease_pilot", "lease", ["pilot", "request", "seat"], unique=True)
    op.add_column(
        "pilot",
        sa.Column(
            "offer", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
    )
    op.add_column("queue", sa.Column("scratch_mb", sa.Integer(), server_default="20000", nullable=False))
    op.add_column("queue", sa.Column("gpus", sa.Integer(), server_default="0", nullable=False))
    op.add_column("queue", sa.Column("architecture", sa.String(), server_default="x86_64", nullable=False))
    op.add_column(
        "queue",
        sa.Column(
            "software", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
    )
    op.add_column(
        "queue",
        sa.Column(
            "allow", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
    )
    op.add_column("queue", sa.Column("max_jobs", sa.Integer(), nullable=True))
    op.add_column("queue", sa.Column("analysis_percent", sa.Integer(), nullable=True))
    op.add_column("ready", sa.Column("share_id", sa.SmallInteger(), server_default="1", nullable=False))
    op.add_column("ready", sa.Column("requirement_id", sa.Integer(), server_default="1", nullable=False))
    op.drop_index("ready_order", table_name="ready")
    op.create_index(
        "ready_lane",
        "ready",
        ["queue_id", "share_id", "requirement_id", sa.literal_column("priority DESC"), "job_id"],
        unique=False,
    )
    op.add_column("task", sa.Column("group_name", sa.String(), server_default="", nullable=False))
    op.add_column("task", sa.Column("activity", sa.Text(), server_default="production", nullable=False))
    op.add_column("task", sa.Column("share_id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False))
    op.add_column("task", sa.Column("parent_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "task",
        sa.Column(
            "sizing", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
    )
    op.add_column(
        "task",
        sa.Column(
            "changes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
    )
    op.add_column("task", sa.Column("throttled", sa.String(), server_default="", nullable=False))
    op.add_column("task", sa.Column("ending", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("task", sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_foreign_key("task_parent_id_fkey", "task", "task", ["parent_id"], ["id"])
    op.add_column("task_file", sa.Column("dataset_id", sa.BigInteger(), nullable=True))
    op.add_column("task_file", sa.Column("taken", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.execute("UPDATE task_file u SET dataset_id = t.input_id FROM task t WHERE t.id = u.task_id")
    op.alter_column("task_file", "dataset_id", nullable=False)
    op.drop_index("task_file_new", table_name="task_file")
    op.create_index(
        "task_file_new",
        "task_file",
        ["task_id", "dataset_id", "file_id"],
        unique=False,
        postgresql_where=sa.text("NOT used"),
    )
    for statement in re.split(r"\n\n(?=[A-Z]|--)", Path(__file__).with_name(FILE).read_text()):
        op.execute(sa.text(statement.replace(":", "\\:")))
    op.create_foreign_key("task_share_id_fkey", "task", "share", ["share_id"], ["id"])
    for name in ("share_id", "requirement_id"):
        op.alter_column("ready", name, server_default=None)
