"""Which schema the database has, for people who may not know where it is."""

from __future__ import annotations

from sqlalchemy import select

from piko.errors import SchemaVersionError
from piko.store.engine import Database
from piko.store.schema.migrations.version_table import version_table
from piko.store.schema.release import revisions
from piko.store.schema.status import SchemaState, SchemaStatus, state_at


async def read_schema(database: Database) -> SchemaStatus:
    """What the revision says, and not the tables; `where` does not say where it is.

    Raises `DatabaseUnavailableError`.
    """
    revision = None
    try:
        async with database.statements() as connection:
            revision = (await connection.execute(select(version_table.c.version_num).limit(1))).scalar()
    except SchemaVersionError:  # there is no such table
        state = SchemaState.EMPTY
    else:
        state = SchemaState.BEHIND if revision is None else state_at(revision)
    return SchemaStatus(state=state, where="the release", revision=revision, expected=revisions()[-1])
