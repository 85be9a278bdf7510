"""Which schema a database has, and how it comes to the one that this release knows.

Migrations run on one connection that also holds the lock, so that both end together: whoever dies frees
the next. On MySQL and MariaDB the lock is `GET_LOCK`, named after the database, and each revision is one
DDL statement that looks first, so that a run which was cut off is run again. On SQLite the lock is the
write transaction, and all revisions are one transaction: a run that was cut off has not been.
"""

from __future__ import annotations

import hashlib
import io
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, exc, func, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from piko.dsn import parse_dsn
from piko.errors import DatabaseRefusedError, MigrationError, SchemaVersionError, SettingsError
from piko.store.driver import driver_options
from piko.store.engine import Database, translate_errors
from piko.store.schema.migrations.version_table import VERSION_TABLE, create_version_table, version_table
from piko.store.schema.tables import metadata

# Alembic is imported where it is needed: every start of a replica asks for the status, few change anything.
if TYPE_CHECKING:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

DIALECTS = ("mysql", "mariadb", "sqlite")
"""What `dump` writes for."""

_RIGHTS_REMEDY = (
    "let this user in, and GRANT it SELECT, INSERT, UPDATE and DELETE on the database, and for "
    "`piko db upgrade` CREATE, ALTER and INDEX as well"
)

# A DDL statement that waits for a long transaction keeps every later query waiting behind it.
_METADATA_LOCK_WAIT_S = 30

# Looking is quick; a statement that changes a large table may take long.
_ANSWER_WAIT_S = 10


class SchemaState(StrEnum):
    """How a database's schema relates to the one this release knows."""

    CURRENT = "current"
    EMPTY = "empty"
    BEHIND = "behind"
    AHEAD = "ahead"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStatus:
    """What was found. `message` is for a person: what, where, found, expected, remedy."""

    state: SchemaState
    where: str
    revision: str | None
    expected: str
    differences: Sequence[str] = ()

    @property
    def usable(self) -> bool:
        """Whether this release can work: a newer schema only adds, a drifted one may do."""
        return self.state not in (SchemaState.EMPTY, SchemaState.BEHIND)

    @property
    def message(self) -> str:
        match self.state:
            case SchemaState.CURRENT:
                return f"the schema of {self.where} is at revision {self.revision}, as this release expects"
            case SchemaState.EMPTY:
                return (
                    f"the database {self.where} has none of Piko's tables, this release expects revision "
                    f"{self.expected}; run `piko db upgrade`"
                )
            case SchemaState.BEHIND:
                return (
                    f"the schema of {self.where} is at revision {self.revision or '(none yet)'}, this "
                    f"release expects {self.expected}; run `piko db upgrade`"
                )
            case SchemaState.AHEAD:
                return (
                    f"the schema of {self.where} is at revision {self.revision}, which is newer than "
                    f"{self.expected}, the last that this release knows; it goes on with what it knows: "
                    f"deploy a release >= {release_of(self.revision)}"
                )
            case SchemaState.DRIFTED:
                return (
                    f"the schema of {self.where} is at revision {self.revision}, as expected, but its tables "
                    f"are not what that revision made: {'; '.join(self.differences)}; put them right by "
                    "hand, `piko db dump` shows what is expected"
                )

    def require_usable(self) -> None:
        """Raises `SchemaVersionError` with `message` where this release cannot work."""
        if not self.usable:
            raise SchemaVersionError(self.message)


def release_of(revision: str | None) -> str:
    """The release that brings `revision`."""
    return (revision or "").partition("_")[0]


async def upgrade(
    dsn: str, *, lock_wait_s: float = 60, on_revision: Callable[[str, str], None] | None = None
) -> SchemaStatus:
    """Bring the schema to this release's revision; a newer one is left alone.

    Safe to call from several processes at once, and again after it was cut off anywhere. `on_revision`
    hears of each revision, and of what it does, when it is done. Raises `MigrationError` when the lock is
    not free within `lock_wait_s` or a statement is refused, `DatabaseUnavailableError` when the database
    cannot be reached.
    """
    found = await check(dsn)  # on a connection that does not wait long, should the server hang
    if found.usable:
        return found
    async with _connect(dsn, busy_wait_s=lock_wait_s) as connection:
        async with _locked(connection, lock_wait_s=lock_wait_s):
            await connection.run_sync(_upgrade, on_revision or _ignore)
        return await connection.run_sync(_status)


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
    async with _connect(dsn, busy_wait_s=_ANSWER_WAIT_S, answer_wait_s=_ANSWER_WAIT_S) as connection:
        return await connection.run_sync(_status, compare_tables=compare_tables)


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


def head() -> str:
    """The last revision that this release knows."""
    return revisions()[-1]


def revisions() -> list[str]:
    """The revisions that this release knows, in order: their modules are named after them."""
    folder = resources.files("piko.store.schema") / "migrations" / "versions"
    names = (item.name for item in folder.iterdir() if item.name.startswith("r"))
    numbers = [name.removeprefix("r").split("_", 4)[:4] for name in names]
    numbers.sort(key=lambda parts: [int(part) for part in parts])
    return [f"{major}.{minor}.{patch}_{number}" for major, minor, patch, number in numbers]


# ---- with a connection ----------------------------------------------------------------------------


def _status(connection: Connection, *, compare_tables: bool = True) -> SchemaStatus:
    known = revisions()
    expected = known[-1]
    inspector = inspect(connection)
    revision = None
    if inspector.has_table(VERSION_TABLE):
        revision = connection.execute(select(version_table.c.version_num)).scalar_one_or_none()
    found: Sequence[str] = ()
    if revision is None:
        present = set(inspector.get_table_names()) & set(metadata.tables)
        state = SchemaState.BEHIND if present else SchemaState.EMPTY
    elif revision == expected:
        if compare_tables:
            from piko.store.schema.comparison import differences

            found = differences(connection)
        state = SchemaState.DRIFTED if found else SchemaState.CURRENT
    else:
        state = SchemaState.BEHIND if revision in known else SchemaState.AHEAD
    return SchemaStatus(
        state=state,
        where=connection.engine.url.render_as_string(hide_password=True),
        revision=revision,
        expected=expected,
        differences=found,
    )


def _upgrade(connection: Connection, on_revision: Callable[[str, str], None]) -> None:
    def applied(*, step: Any, **_: object) -> None:
        on_revision(step.up_revision_id, step.up_revision.doc)

    if not _status(connection).usable:  # another may have done it while this one waited for the lock
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


def _ignore(_revision: str, _what: str) -> None:
    pass


@asynccontextmanager
async def _connect(
    dsn: str, *, busy_wait_s: float, answer_wait_s: float | None = None
) -> AsyncIterator[AsyncConnection]:
    """A connection that commits each statement, unless BEGIN is said."""
    url = parse_dsn(dsn)
    on_sqlite = url.drivername.startswith("sqlite")
    arguments: dict[str, Any] = {"timeout": busy_wait_s}
    if not on_sqlite:
        session = f"SET time_zone = '+00:00', lock_wait_timeout = {_METADATA_LOCK_WAIT_S}"
        url, arguments = driver_options(url, init_command=session, read_timeout_s=answer_wait_s)
    engine = create_async_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments
    )
    database = Database(engine=engine, autocommit=engine)
    try:
        with _refusals(url), translate_errors(database):
            async with engine.connect() as connection:
                yield connection
    finally:
        await engine.dispose()


@asynccontextmanager
async def _locked(connection: AsyncConnection, *, lock_wait_s: float) -> AsyncIterator[None]:
    hold = _sqlite_lock if connection.dialect.name == "sqlite" else _mysql_lock
    async with hold(connection, lock_wait_s):
        yield


@asynccontextmanager
async def _sqlite_lock(connection: AsyncConnection, lock_wait_s: float) -> AsyncIterator[None]:
    try:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    except exc.OperationalError as error:
        raise _lock_not_free(connection, lock_wait_s, str(error.orig)) from error
    done = False
    try:
        yield
        done = True
    finally:
        await connection.exec_driver_sql("COMMIT" if done else "ROLLBACK")


@asynccontextmanager
async def _mysql_lock(connection: AsyncConnection, lock_wait_s: float) -> AsyncIterator[None]:
    # A lock's name is the whole server's, and at most 64 characters long; a database's name may be as long.
    database = (await connection.execute(select(func.database()))).scalar_one()
    name = f"piko_schema:{hashlib.sha256(database.encode()).hexdigest()[:40]}"
    if not (await connection.execute(select(func.get_lock(name, lock_wait_s)))).scalar_one():
        holder = (await connection.execute(select(func.is_used_lock(name)))).scalar_one()
        raise _lock_not_free(connection, lock_wait_s, f"server connection {holder} holds `{name}`")
    try:
        yield
    finally:
        if not connection.invalidated:
            await connection.execute(select(func.release_lock(name)))


def _lock_not_free(connection: AsyncConnection, lock_wait_s: float, holder: str) -> MigrationError:
    where = connection.engine.url.render_as_string(hide_password=True)
    return MigrationError(
        f"the schema of {where} is being changed by another process, and was not free within "
        f"{lock_wait_s:g} s ({holder}); run `piko db upgrade` again when that one is done"
    )


@contextmanager
def _refusals(url: URL) -> Iterator[None]:
    """What the database refuses, in its words, with the statement that it refused and the remedy."""
    try:
        yield
    except DatabaseRefusedError as error:
        if not isinstance(error.__cause__, exc.DBAPIError):
            raise
        raise _refused(url, error.__cause__, remedy=f"; {_RIGHTS_REMEDY}") from error
    except exc.DBAPIError as error:
        raise _refused(url, error) from error


def _refused(url: URL, error: exc.DBAPIError, *, remedy: str = "") -> MigrationError:
    statement = " ".join((error.statement or "(connecting)").split())
    return MigrationError(
        f"the database {url.render_as_string(hide_password=True)} refused a statement: {error.orig}; "
        f"it was: {statement[:200]}{remedy}"
    )
