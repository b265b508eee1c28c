"""what a pilot gets is kept as text, and what follows a change of state is cheap for many jobs

What the database does by itself is in the file beside this one.
"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

FILE = "0005_speed.sql"


def upgrade() -> None:
    op.execute("ALTER TABLE job ALTER COLUMN spec DROP DEFAULT")
    op.execute("ALTER TABLE job ALTER COLUMN spec TYPE json USING spec::json")
    op.execute("ALTER TABLE job ALTER COLUMN spec SET DEFAULT '{}'::json")
    for statement in re.split(r"\n\n(?=CREATE)", Path(__file__).with_name(FILE).read_text()):
        op.execute(sa.text(statement.replace(":", "\\:")))
