"""large datasets in slices, transfers found by storage and state

What is done in slices keeps its mark here, so that a process that dies loses no more than a slice.
"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

FILES = ("0003_states.sql", "0003_counters.sql")
"""Statements that Alembic cannot know."""


def upgrade() -> None:
    _slices()
    _transfers_by_storage()
    for name in FILES:
        for statement in re.split(r"\n\n(?=[A-Z]|--)", Path(__file__).with_name(name).read_text()):
            op.execute(sa.text(statement.replace(":", "\\:")))


def _slices() -> None:
    op.add_column("subscription", sa.Column("walked_to", sa.BigInteger(), nullable=True))
    op.create_index("subscription_walked", "subscription", ["id"], postgresql_where=sa.text("walked_to IS NOT NULL"))
    op.create_table(
        "version_filling",
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("from_id", sa.BigInteger(), nullable=False),
        sa.Column("walked_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["from_id"], ["dataset.id"]),
        sa.PrimaryKeyConstraint("dataset_id"),
    )
    op.create_index("version_filling_from", "version_filling", ["from_id"])


def _transfers_by_storage() -> None:
    """What a list of transfers shows, newest first, whatever else is queued or done."""
    op.drop_index("transfer_recent", table_name="transfer")
    for name, columns, shown in (
        ("open", ["storage_id", "queued_at", "file_id"], "state = 'queued'"),
        ("open_from", ["source_id", "queued_at", "file_id", "storage_id"], "state = 'queued'"),
        ("failing", ["storage_id", "queued_at", "file_id"], "state = 'queued' AND error IS NOT NULL"),
        ("done", ["storage_id", "queued_at", "file_id"], "state = 'done'"),
        ("done_from", ["source_id", "queued_at", "file_id", "storage_id"], "state = 'done'"),
    ):
        op.create_index(f"transfer_{name}", "transfer", columns, postgresql_where=sa.text(shown))
