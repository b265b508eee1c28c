"""jobs are made and placed by the thousand: their keys are checked once for all, and two steps are one statement"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

FILE = "0008_submission.sql"


def upgrade() -> None:
    for statement in re.split(r"\n\n(?=CREATE|ALTER|INSERT|DROP|--)", Path(__file__).with_name(FILE).read_text()):
        op.execute(sa.text(statement.replace(":", "\\:")))
