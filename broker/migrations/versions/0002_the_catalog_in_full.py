"""versions, containers, deletion, quotas, links, tape: the catalog that an experiment trusts

The statements that Alembic cannot know are in the files beside this one: guards (what no code path may break),
search (indexes for names and facets), queue (the order in which transfers are taken), record (what an external
catalog has to be told).
"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

FILES = ("0002_guards.sql", "0002_search.sql", "0002_queue.sql", "0002_record.sql")


def upgrade() -> None:
    op.create_table(
        "catalog_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("catalog_event_object", "catalog_event", ["object", "id"], unique=False)
    op.create_table(
        "owner_use",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("owner_use_owner", "owner_use", ["owner", "storage_id"], unique=False)
    op.create_table(
        "site_revision",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("text", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("changes", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "storage_use",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("storage_use_storage", "storage_use", ["storage_id"], unique=False)
    op.create_table(
        "dataset_child",
        sa.Column("parent_id", sa.BigInteger(), nullable=False),
        sa.Column("child_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["child_id"],
            ["dataset.id"],
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["dataset.id"],
        ),
        sa.PrimaryKeyConstraint("parent_id", "child_id"),
    )
    op.create_index("dataset_child_child", "dataset_child", ["child_id"], unique=False)
    op.create_table(
        "recording",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("caught_up", sa.Boolean(), server_default=sa.text("'False'"), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("url"),
    )
    op.create_table(
        "unrecorded",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("unrecorded_due", "unrecorded", ["not_before"], unique=False)
    op.create_index("unrecorded_dataset", "unrecorded", ["dataset_id"], unique=False)
    op.create_table(
        "bad_replica",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'recovering'"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("bad_replica_file", "bad_replica", ["file_id", "storage_id"], unique=False)
    op.create_index("bad_replica_recent", "bad_replica", ["storage_id", "at"], unique=False)
    op.create_table(
        "link",
        sa.Column("source_id", sa.SmallInteger(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("files", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["storage.id"],
        ),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("source_id", "storage_id", "hour"),
    )
    op.create_table(
        "link_limit",
        sa.Column("source_id", sa.SmallInteger(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("max_transfers", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["storage.id"],
        ),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("source_id", "storage_id"),
    )
    op.create_table(
        "quota",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("limit_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("owner", "storage_id"),
    )
    op.create_table(
        "stage_request",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("storage_id", sa.SmallInteger(), nullable=False),
        sa.Column("request", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("files", sa.Integer(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["storage_id"],
            ["storage.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "stage_request_open",
        "stage_request",
        ["storage_id", "id"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_index("garbage_due", "garbage", ["storage_id", "not_before", "id"], unique=False)
    op.add_column("dataset", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("dataset", sa.Column("latest", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("dataset", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("dataset", sa.Column("purge_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("dataset", sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.drop_index("dataset_expires", table_name="dataset")
    op.create_index(
        "dataset_expires",
        "dataset",
        ["expires_at", "id"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL AND deleted_at IS NULL"),
    )
    op.create_index(
        "dataset_over",
        "dataset",
        ["closed_at", "id"],
        unique=False,
        postgresql_where=sa.text("kind IN ('dispatch', 'sub') AND closed_at IS NOT NULL AND deleted_at IS NULL"),
    )
    op.drop_index("dataset_did", table_name="dataset")
    op.create_index("dataset_did", "dataset", ["scope", "name", "version"], unique=True)
    op.create_index("dataset_latest", "dataset", ["scope", "name"], unique=True, postgresql_where=sa.text("latest"))
    op.create_index(
        "dataset_purge", "dataset", ["purge_at"], unique=False, postgresql_where=sa.text("purge_at IS NOT NULL")
    )
    op.drop_index("dataset_name", table_name="dataset")
    op.create_index("dataset_name", "dataset", ["name", "scope", "version"], unique=False)
    shown = sa.text("latest AND deleted_at IS NULL AND kind NOT IN ('dispatch', 'sub')")
    op.create_index(
        "dataset_shown",
        "dataset",
        ["name", "scope", "version"],
        unique=False,
        postgresql_include=["id"],
        postgresql_where=shown,
    )
    op.create_index("dataset_created", "dataset", ["created_at", "id"], unique=False, postgresql_where=shown)
    op.create_index("dataset_owner", "dataset", ["owner"], unique=False, postgresql_where=shown)
    op.create_index("dataset_replica_storage", "dataset_replica", ["storage_id", "dataset_id"], unique=False)
    op.add_column("file", sa.Column("md5", sa.String(), nullable=True))
    op.add_column("file", sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("file", sa.Column("lost_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("replica", sa.Column("tombstone_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("replica", sa.Column("mismatches", sa.SmallInteger(), server_default="0", nullable=False))
    op.create_index(
        "replica_tombstone",
        "replica",
        ["storage_id", "tombstone_at"],
        unique=False,
        postgresql_where=sa.text("tombstone_at IS NOT NULL"),
    )
    op.add_column("storage", sa.Column("readable", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("storage", sa.Column("deletable", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("storage", sa.Column("capacity_bytes", sa.BigInteger(), nullable=True))
    op.add_column("storage", sa.Column("min_free_bytes", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("storage", sa.Column("max_transfers", sa.Integer(), server_default="8", nullable=False))
    op.add_column("storage", sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("storage", sa.Column("tape_api", sa.String(), nullable=True))
    op.add_column("subscription", sa.Column("owner", sa.String(), server_default=sa.text("''"), nullable=False))
    op.add_column("subscription", sa.Column("standing", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("subscription", sa.Column("sources", sa.String(), nullable=True))
    op.add_column("subscription", sa.Column("priority", sa.Integer(), server_default="0", nullable=False))
    op.add_column("subscription", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("subscription", sa.Column("direct", sa.Boolean(), server_default="true", nullable=False))
    op.create_index(
        "subscription_expires",
        "subscription",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('active', 'done') AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "subscription_active",
        "subscription",
        ["storage_id", "owner"],
        unique=False,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "subscription_part",
        sa.Column("container_id", sa.BigInteger(), nullable=False),
        sa.Column("part_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["container_id"], ["subscription.id"]),
        sa.ForeignKeyConstraint(["part_id"], ["subscription.id"]),
        sa.PrimaryKeyConstraint("container_id", "part_id"),
    )
    op.create_index("subscription_part_part", "subscription_part", ["part_id"], unique=False)
    op.add_column("transfer", sa.Column("priority", sa.Integer(), server_default="0", nullable=False))
    op.add_column("transfer", sa.Column("owner", sa.String(), server_default=sa.text("''"), nullable=False))
    op.add_column("transfer", sa.Column("sources", sa.String(), nullable=True))
    op.add_column("transfer", sa.Column("stage_id", sa.BigInteger(), nullable=True))
    op.add_column("transfer", sa.Column("staged_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("transfer", sa.Column("method", sa.String(), nullable=True))
    op.create_foreign_key("transfer_stage_id_fkey", "transfer", "stage_request", ["stage_id"], ["id"])
    for name in FILES:
        for statement in re.split(r"\n\n(?=[A-Z]|--)", Path(__file__).with_name(name).read_text()):
            op.execute(sa.text(statement.replace(":", "\\:")))
