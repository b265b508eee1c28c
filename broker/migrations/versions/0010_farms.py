"""what a farm tells of its jobs leaves few rows"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

FILE = "0010_farms.sql"


def upgrade() -> None:
    for statement in re.split(r"\n\n(?=CREATE|ALTER|INSERT|DROP|--)", Path(__file__).with_name(FILE).read_text()):
        op.execute(sa.text(statement.replace(":", "\\:")))
