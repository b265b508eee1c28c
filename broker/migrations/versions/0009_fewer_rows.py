"""what many jobs do together leaves few rows"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

FILE = "0009_fewer_rows.sql"


def upgrade() -> None:
    for statement in re.split(r"\n\n(?=CREATE|ALTER|INSERT|DROP|--)", Path(__file__).with_name(FILE).read_text()):
        op.execute(sa.text(statement.replace(":", "\\:")))
