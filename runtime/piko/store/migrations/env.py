"""What Alembic runs: `piko.store.migrate` passes a connection with its lock held, or a dialect."""

from __future__ import annotations

from alembic import context

from piko.store.migrations.operations import VERSION_TABLE

attributes = context.config.attributes
if context.is_offline_mode():
    context.configure(
        dialect_name=attributes["dialect"],
        dialect_opts={"paramstyle": "named"},
        literal_binds=True,
        version_table=VERSION_TABLE,
    )
else:
    context.configure(
        connection=attributes["connection"],
        on_version_apply=attributes["on_version_apply"],
        version_table=VERSION_TABLE,
    )
with context.begin_transaction():
    context.run_migrations()
