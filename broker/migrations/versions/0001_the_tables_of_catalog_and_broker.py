"""the tables of catalog and broker"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


JOB_WAYS = (
    ("defined", "assigned cancelled closed"),
    ("assigned", "activated defined cancelled closed"),
    ("activated", "sent defined cancelled closed"),
    ("sent", "starting running holding transferring finished failed cancelled"),
    ("starting", "running holding transferring finished failed cancelled"),
    ("running", "holding transferring finished failed cancelled"),
    ("holding", "transferring finished failed cancelled"),
    ("transferring", "finished"),
)
TASK_WAYS = (
    ("registered", "ready failed aborted"),
    ("ready", "running paused done failed aborted"),
    ("running", "paused done finished failed aborted"),
    ("paused", "ready running aborted"),
    ("finished", "running"),
    ("failed", "running"),
    ("aborted", "running"),
)


def ways(table: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"before": before, "state": state} for before, states in table for state in states.split()]


def upgrade() -> None:
    op.create_table(
        "agent",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "dataset",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("scope", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.Text(), server_default=sa.text("'production'"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("owner", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("files", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("events", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("project", sa.String(), nullable=True),
        sa.Column("number", sa.String(), nullable=True),
        sa.Column("physics", sa.String(), nullable=True),
        sa.Column("step", sa.String(), nullable=True),
        sa.Column("format", sa.String(), nullable=True),
        sa.Column("tags", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("dataset_did", "dataset", ["scope", "name"], unique=True)
    op.create_index(
        "dataset_expires", "dataset", ["expires_at"], unique=False, postgresql_where=sa.text("expires_at IS NOT NULL")
    )
    op.create_index("dataset_name", "dataset", ["name"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("event_job", "event", ["job_id", "id"], unique=False)
    op.create_index("event_task", "event", ["task_id", "id"], unique=False)
    op.create_table(
        "file",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("scope", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("guid", sa.Uuid(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("adler32", sa.String(), nullable=False),
        sa.Column("events", sa.BigInteger(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("file_did", "file", ["scope", "name"], unique=True)
    op.create_table(
        "job_count",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("queue_id", sa.SmallInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("events", sa.BigInteger(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("folded", sa.Boolean(), server_default="false", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("job_count_new", "job_count", ["task_id"], unique=False, postgresql_where=sa.text("NOT folded"))
    op.create_index(
        "job_count_queue",
        "job_count",
        ["queue_id", "state"],
        unique=False,
        postgresql_where=sa.text("state IN ('assigned', 'activated', 'sent', 'starting', 'running', 'holding')"),
    )
    op.create_index("job_count_task", "job_count", ["task_id", "state"], unique=False)
    op.create_table(
        "job_way",
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("before", "state"),
    )
    op.create_table(
        "lease",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pilot", sa.String(), nullable=False),
        sa.Column("request", sa.String(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index("lease_pilot", "lease", ["pilot", "request"], unique=True)
    op.create_table(
        "ready",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("queue_id", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("ready_order", "ready", ["queue_id", sa.literal_column("priority DESC"), "job_id"], unique=False)
    op.create_table(
        "site",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "task_way",
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("before", "state"),
    )
    op.create_table(
        "dataset_file",
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
        ),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["file.id"],
        ),
        sa.PrimaryKeyConstraint("dataset_id", "file_id"),
    )
    op.create_index("dataset_file_file", "dataset_file", ["file_id"], unique=False)
    op.create_table(
        "storage",
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("kind", sa.Text(), server_default=sa.text("'disk'"), nullable=False),
        sa.Column("writable", sa.Boolean(), server_default=sa.text("'True'"), nullable=False),
        sa.Column("home", sa.Boolean(), server_default=sa.text("'False'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["site"],
            ["site.name"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "dataset_replica",
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default=sa.text("'0'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
        ),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("dataset_id", "storage_id"),
    )
    op.create_table(
        "garbage",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "hold",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("dataset_id", sa.BigInteger(), nullable=True),
        sa.Column("missing", sa.Integer(), server_default=sa.text("'0'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
        ),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("hold_dataset", "hold", ["dataset_id"], unique=False)
    op.create_index("hold_holder", "hold", ["holder"], unique=True)
    op.create_table(
        "queue",
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'online'"), nullable=False),
        sa.Column("slots", sa.Integer(), server_default=sa.text("'1'"), nullable=False),
        sa.Column("local_pilots", sa.Integer(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("cores", sa.Integer(), server_default=sa.text("'1'"), nullable=False),
        sa.Column("memory_mb", sa.Integer(), server_default=sa.text("'2000'"), nullable=False),
        sa.Column("walltime_s", sa.Integer(), server_default=sa.text("'86400'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["site"],
            ["site.name"],
        ),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "replica",
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("file_id", "storage_id"),
    )
    op.create_table(
        "subscription",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'active'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
        ),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("subscription_wish", "subscription", ["dataset_id", "storage_id"], unique=True)
    op.create_table(
        "task",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False, start=10000000), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'registered'"), nullable=False),
        sa.Column(
            "request", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("run", sa.String(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default=sa.text("'1000'"), nullable=False),
        sa.Column("input_id", sa.BigInteger(), nullable=True),
        sa.Column("output_id", sa.BigInteger(), nullable=False),
        sa.Column("destination_id", sa.SmallInteger(), nullable=False),
        sa.Column("numbers", sa.Integer(), server_default="0", nullable=False),
        sa.Column("generated", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["destination_id"],
            ["storage.id"],
        ),
        sa.ForeignKeyConstraint(
            ["input_id"],
            ["dataset.id"],
        ),
        sa.ForeignKeyConstraint(
            ["output_id"],
            ["dataset.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("task_input", "task", ["input_id"], unique=False)
    op.create_index("task_key", "task", ["key"], unique=True)
    op.create_index(
        "task_open",
        "task",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('done', 'finished', 'failed', 'aborted')"),
    )
    op.create_index("task_output", "task", ["output_id"], unique=False)
    op.create_table(
        "transfer",
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("source_id", sa.SmallInteger(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["storage.id"],
        ),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("file_id", "storage_id"),
    )
    op.create_index(
        "transfer_queue",
        "transfer",
        ["not_before", "file_id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index("transfer_recent", "transfer", ["queued_at"], unique=False)
    op.create_table(
        "assignment",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("queue_id", sa.SmallInteger(), nullable=True),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["queue_id"],
            ["queue.id"],
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["task.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "assignment_refusal",
        "assignment",
        ["task_id"],
        unique=True,
        postgresql_where=sa.text("queue_id IS NULL"),
    )
    op.create_index("assignment_task", "assignment", ["task_id", "id"], unique=False)
    op.create_table(
        "hold_file",
        sa.Column("hold_id", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["file.id"],
        ),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("hold_id", "file_id"),
    )
    op.create_index("hold_file_arrival", "hold_file", ["file_id", "storage_id"], unique=False)
    op.create_table(
        "pilot",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("queue_id", sa.SmallInteger(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("jobs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("empty_polls", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["queue_id"],
            ["queue.id"],
        ),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("pilot_seen", "pilot", ["queue_id", "last_seen"], unique=False)
    op.create_table(
        "task_file",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Boolean(), server_default="false", nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["task.id"],
        ),
        sa.PrimaryKeyConstraint("task_id", "file_id"),
    )
    op.create_index(
        "task_file_new", "task_file", ["task_id", "file_id"], unique=False, postgresql_where=sa.text("NOT used")
    )
    op.create_table(
        "token",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("queue_id", sa.SmallInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["queue_id"],
            ["queue.id"],
        ),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("'1'"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'defined'"), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("'1000'"), nullable=False),
        sa.Column("events", sa.BigInteger(), server_default=sa.text("'0'"), nullable=False),
        sa.Column(
            "work", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "spec", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("assignment_id", sa.BigInteger(), nullable=True),
        sa.Column("queue_id", sa.SmallInteger(), nullable=True),
        sa.Column("pilot", sa.String(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column(
            "metrics", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment_id"],
            ["assignment.id"],
        ),
        sa.ForeignKeyConstraint(
            ["queue_id"],
            ["queue.id"],
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["task.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index("job_task", "job", ["task_id", "number", "attempt"], unique=True)
    op.create_table(
        "verdict",
        sa.Column("assignment_id", sa.BigInteger(), nullable=False),
        sa.Column("queue_id", sa.SmallInteger(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("criterion", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("remedy", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("weight", sa.Float(), server_default=sa.text("'0.0'"), nullable=False),
        sa.Column("missing_bytes", sa.BigInteger(), server_default=sa.text("'0'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment_id"],
            ["assignment.id"],
        ),
        sa.ForeignKeyConstraint(
            ["queue_id"],
            ["queue.id"],
        ),
        sa.PrimaryKeyConstraint("assignment_id", "queue_id"),
    )
    op.create_table(
        "job_input",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("job_id", "file_id"),
    )
    op.create_index("job_input_file", "job_input", ["file_id"], unique=False)
    op.create_table(
        "job_log",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "start"),
    )
    op.create_table(
        "unplaced",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("unplaced_task", "unplaced", ["task_id", "job_id"], unique=False)
    op.bulk_insert(sa.table("job_way", sa.column("before"), sa.column("state")), ways(JOB_WAYS))
    op.bulk_insert(sa.table("task_way", sa.column("before"), sa.column("state")), ways(TASK_WAYS))
    for statement in re.split(r"\n\n(?=CREATE|--)", Path(__file__).with_name("0001_guards.sql").read_text()):
        op.execute(sa.text(statement.replace(":", "\\:")))
