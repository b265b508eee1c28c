"""a group's data is on the group's account, and a task waits while its account has no room at its destination

What the database does by itself is in the file beside this one.
"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

FILE = "0006_byte_quotas.sql"


def upgrade() -> None:
    op.add_column("dataset", sa.Column("charged", sa.String(), nullable=True))
    op.create_index("dataset_charged", "dataset", ["charged"], postgresql_where=sa.text("charged IS NOT NULL"))
    op.add_column("task", sa.Column("throttled_by", sa.String(), server_default="", nullable=False))
    for statement in re.split(r"\n\n(?=[A-Z]|--)", Path(__file__).with_name(FILE).read_text()):
        op.execute(sa.text(statement.replace(":", "\\:")))
