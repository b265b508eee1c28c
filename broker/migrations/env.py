"""Alembic's way in: migrations run on the connection that migrate.py opened."""

from alembic import context
from sqlmodel import SQLModel

import prodchain.broker.models  # noqa: F401  (fills the metadata)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()
