"""How a database comes to the schema that this release knows.

Migrations run on one connection that also holds the lock (`migration_lock`), so that both end together: a
process that dies frees the next. On MySQL and MariaDB each revision is one DDL statement that looks first, so
that an upgrade which was cut off is run again. On SQLite all revisions are one transaction.
"""

from __future__ import annotations

import io
from asyncio import to_thread
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from piko.dsn import parse_dsn
from piko.errors import SettingsError
from piko.store.schema.migration_connection import migration_connection
from piko.store.schema.migration_lock import schema_locked
from piko.store.schema.migrations.version_table import VERSION_TABLE, create_version_table
from piko.store.schema.release import head
from piko.store.schema.status import SchemaState, SchemaStatus, read_status

# Alembic is imported where it is needed: every start of a replica asks for the status, few change anything.
if TYPE_CHECKING:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

DIALECTS = ("mysql", "mariadb", "sqlite")
"""What `dump` writes for."""


# Looking is quick; a statement that changes a large table may take long.
_ANSWER_WAIT_S = 10


async def upgrade(
    dsn: str, *, lock_wait_s: float = 60, on_revision: Callable[[str, str, bool], None] | None = None
) -> SchemaStatus:
    """Bring the schema to this release's revision; a newer one is left alone.

    Safe to call from several processes at once, and again after it was cut off anywhere. `on_revision`
    hears of each revision when it is done, of what it does, and whether it has changed anything: there are
    some for one kind of database alone, and what was cut off finds a part of its work done. Raises
    `MigrationError` when the lock is not free within `lock_wait_s` or a statement is refused,
    `DatabaseUnavailableError` when the database cannot be reached.
    """
    found = await check(dsn)  # on a connection that does not wait long, should the server hang
    if found.usable:
        return found
    async with migration_connection(dsn, busy_wait_s=lock_wait_s) as connection:
        async with schema_locked(connection, lock_wait_s=lock_wait_s):
            await connection.run_sync(_upgrade, on_revision or _ignore)
        return await connection.run_sync(read_status)


async def current(dsn: str) -> str | None:
    """The revision of the database; None where there is none."""
    return (await check(dsn)).revision


async def check(dsn: str, *, compare_tables: bool = True) -> SchemaStatus:
    """Compare the database with what this release expects; changes nothing.

    Without `compare_tables` the revision alone decides, which is quick: it does not see `DRIFTED`.
    """
    url = parse_dsn(dsn)
    if url.drivername.startswith("sqlite") and not await to_thread(Path(url.database or "").exists):
        where = url.render_as_string(hide_password=True)  # connecting would make the file
        return SchemaStatus(state=SchemaState.EMPTY, where=where, revision=None, expected=head())
    async with migration_connection(
        dsn, busy_wait_s=_ANSWER_WAIT_S, answer_wait_s=_ANSWER_WAIT_S
    ) as connection:
        return await connection.run_sync(read_status, compare_tables=compare_tables)


def dump(dialect: str) -> str:
    """The statements that make an empty database current, as SQL text; needs no database."""
    if dialect not in DIALECTS:
        raise SettingsError(f"dialect {dialect!r} is not supported; expected one of {', '.join(DIALECTS)}")
    from alembic.migration import MigrationContext

    text = io.StringIO()
    options = {"as_sql": True, "output_buffer": text, "literal_binds": True}
    _run(
        MigrationContext.configure(
            dialect_name="sqlite" if dialect == "sqlite" else "mysql",
            dialect_opts={"paramstyle": "named"},
            opts={**_options(_scripts()), **options},
        )
    )
    return text.getvalue()


# ---- with a connection ----------------------------------------------------------------------------


def _upgrade(connection: Connection, on_revision: Callable[[str, str, bool], None]) -> None:
    def applied(*, step: Any, run_args: Mapping[str, Any], **_: object) -> None:
        on_revision(step.up_revision_id, step.up_revision.doc, run_args["steps"].take_changed())

    if not read_status(connection).usable:  # another may have done it while this one waited for the lock
        from alembic.migration import MigrationContext

        create_version_table(connection)
        options = {**_options(_scripts()), "on_version_apply": (applied,)}
        _run(MigrationContext.configure(connection, opts=options))


def _run(context: MigrationContext) -> None:
    from piko.store.schema.migrations.steps import Steps

    with context.begin_transaction():
        context.run_migrations(steps=Steps(context))


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    folder = resources.files("piko.store.schema") / "migrations"
    return ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])


def _options(scripts: ScriptDirectory) -> dict[str, Any]:
    # Alembic's usual way, `env.py` and `op`, keeps its place in the process: two upgrades in one would meet.
    def to_head(revision: Any, _context: MigrationContext) -> Any:
        return scripts._upgrade_revs("head", revision)

    return {"version_table": VERSION_TABLE, "script": scripts, "fn": to_head}


def _ignore(_revision: str, _what: str, _changed: bool) -> None:
    pass
