"""memberships and copies are checked once for all rows of a statement"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

FILE = "0007_bulk_registration.sql"


def upgrade() -> None:
    for statement in re.split(r"\n\n(?=CREATE|ALTER)", Path(__file__).with_name(FILE).read_text()):
        op.execute(sa.text(statement.replace(":", "\\:")))
