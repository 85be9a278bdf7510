"""Migrations on every database: what they make, under a lock, and after being cut off anywhere."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter
from datetime import datetime

import pytest
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, Double, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from piko.errors import DatabaseUnavailableError, MigrationError, SchemaVersionError, SettingsError
from piko.store.schema import checks
from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrate import check, current, dump, upgrade
from piko.store.schema.migrations.steps import Steps
from piko.store.schema.migrations.version_table import VERSION_TABLE
from piko.store.schema.release import head, release_of, revisions
from piko.store.schema.status import SchemaState
from piko.store.schema.tables import metadata
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.store.sessions import open_session

_UPGRADE = ("-m", "piko", "db", "upgrade", "-v")
_REVISIONS = re.findall(r"^-- Running upgrade .*-> (\S+)$", dump("mysql"), re.MULTILINE)


# ---- what they make -------------------------------------------------------------------------------


async def test_migrated_tables_are_the_tables_that_the_code_declares(migrated_database: TestDatabase) -> None:
    migrated = await _definitions(migrated_database)
    for table in reversed(metadata.sorted_tables):
        await migrated_database.execute(f"DROP TABLE {table.name}")
    engine = create_async_engine(migrated_database.dsn, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    assert migrated == await _definitions(migrated_database)


async def test_an_upgrade_makes_the_schema_current_and_a_second_one_does_nothing(
    database: TestDatabase,
) -> None:
    applied: list[str] = []
    status = await upgrade(database.dsn, on_revision=lambda revision, *_: applied.append(revision))
    assert (status.state, status.revision, status.differences) == (SchemaState.CURRENT, head(), ())
    assert applied == _REVISIONS
    assert await upgrade(database.dsn, on_revision=lambda revision, *_: applied.append(revision)) == status
    assert applied == _REVISIONS
    assert await current(database.dsn) == head()


@pytest.mark.parametrize("dialect", ["mysql", "sqlite"])
def test_a_revision_is_one_statement_at_most(dialect: str) -> None:
    parts = re.split(r"^-- Running upgrade .*$", dump(dialect), flags=re.MULTILINE)[1:]
    assert len(parts) == len(_REVISIONS)
    counts = [len(re.findall(r"^(CREATE|ALTER|DROP)\b", part, re.MULTILINE)) for part in parts]
    assert set(counts) <= {0, 1}
    assert (0 in counts) == (dialect == "mysql"), "the triggers are SQLite's alone"


async def test_the_dump_makes_what_an_upgrade_makes(database: TestDatabase) -> None:
    for statement in _statements(dump(database.kind)):
        await database.execute(statement)
    status = await check(database.dsn)
    assert status.state is SchemaState.CURRENT, status.message


def test_a_dump_for_an_unknown_database_says_which_there_are() -> None:
    with pytest.raises(
        SettingsError, match="'oracle' is not supported; expected one of mysql, mariadb, sqlite"
    ):
        dump("oracle")


async def test_a_column_is_added_with_its_constraints(migrated_database: TestDatabase) -> None:
    def add(connection: Connection) -> None:
        steps = Steps(MigrationContext.configure(connection))
        weight = Column("weight", Double, nullable=False, server_default=text("1"))
        steps.add_column("scheduled_job", weight, checks.between("weight", 0, 9, "weight_is_0_to_9"))
        weighed_at: Column[datetime] = Column("weighed_at", INSTANT)
        steps.add_column("scheduled_job", weighed_at, *checks.instants("weighed_at"))

    insert = "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr{}) VALUES ('{}', 'cron', '1'{})"
    await migrated_database.execute(insert.format("", "old", ""))
    engine = create_async_engine(migrated_database.dsn, poolclass=NullPool)
    for _ in range(2):  # the second time there is nothing left to do
        async with engine.begin() as connection:
            await connection.run_sync(add)
    await engine.dispose()
    assert await migrated_database.execute("SELECT weight, weighed_at FROM scheduled_job") == [(1, None)]
    for column, value in (("weight", "10"), ("weighed_at", "'0999-01-01 00:00:00'")):
        name = "weight_is_0_to_9" if column == "weight" else "weighed_at_is_an_instant"
        with pytest.raises(DBAPIError, match=name):
            await migrated_database.execute(insert.format(f", {column}", "new", f", {value}"))


# ---- cut off --------------------------------------------------------------------------------------


async def test_an_upgrade_cut_off_before_any_version_row_is_run_again(
    migrated_database: TestDatabase,
) -> None:
    """The place between a DDL statement, which commits itself, and the row that records it."""
    for recorded in ["", *_REVISIONS[:-1]]:
        await migrated_database.execute(f"DELETE FROM {VERSION_TABLE}")
        if recorded:
            await migrated_database.execute(f"INSERT INTO {VERSION_TABLE} VALUES ('{recorded}')")
        assert (await check(migrated_database.dsn)).state is SchemaState.BEHIND
        assert (await upgrade(migrated_database.dsn)).state is SchemaState.CURRENT, recorded


@pytest.mark.parametrize("at", [0, 11])
async def test_an_upgrade_that_is_killed_is_run_again(
    database: TestDatabase, piko_process: PikoProcessFactory, at: int
) -> None:
    settings = {"PIKO_MYSQL_DSN": database.dsn}
    killed = piko_process(*_UPGRADE, env=settings, name="killed")
    killed.wait_for_line(rf"^{_REVISIONS[at]} ")
    killed.kill()
    again = piko_process(*_UPGRADE, env=settings, name="again")
    assert again.wait() == 0
    assert (await check(database.dsn)).state is SchemaState.CURRENT


@pytest.mark.parametrize("table", ["job_run", "runtime_instance"])
async def test_an_upgrade_that_is_killed_while_a_statement_waits_is_run_again(
    mariadb: TestDatabase, piko_process: PikoProcessFactory, table: str
) -> None:
    settings = {"PIKO_MYSQL_DSN": mariadb.dsn}
    await mariadb.execute(_create_statement(table))
    async with open_session(mariadb.dsn) as session:
        await session.execute(f"LOCK TABLES {table} WRITE")
        killed = piko_process(*_UPGRADE, env=settings, name="killed")
        await wait_until_async(
            lambda: _is_waited_for(mariadb, table), what=f"the upgrade to wait for {table}"
        )
        killed.kill()
        assert (await check(mariadb.dsn)).state is SchemaState.BEHIND
        await session.execute("UNLOCK TABLES")
    again = piko_process(*_UPGRADE, env=settings, name="again")
    assert again.wait() == 0
    assert _REVISIONS[0] not in again.output, "what was done stays done"
    assert (await check(mariadb.dsn)).state is SchemaState.CURRENT


async def test_a_database_that_goes_away_in_the_middle_is_an_error_and_a_rerun_goes_on(
    database: TestDatabase,
) -> None:
    def vanish(revision: str, _: str, _changed: bool) -> None:
        if revision == _REVISIONS[7]:
            raise ConnectionResetError("gone")

    with pytest.raises(DatabaseUnavailableError, match="gone"):
        await upgrade(database.dsn, on_revision=vanish)
    assert (await check(database.dsn)).state in (SchemaState.BEHIND, SchemaState.EMPTY)
    assert (await upgrade(database.dsn)).state is SchemaState.CURRENT


# ---- at once --------------------------------------------------------------------------------------


async def test_upgrades_at_once_all_succeed_and_do_each_revision_once(database: TestDatabase) -> None:
    applied: Counter[str] = Counter()

    async def one() -> SchemaState:
        return (
            await upgrade(database.dsn, on_revision=lambda revision, *_: applied.update([revision]))
        ).state

    assert set(await asyncio.gather(*(one() for _ in range(5)))) == {SchemaState.CURRENT}
    assert applied == dict.fromkeys(_REVISIONS, 1)


def test_processes_that_upgrade_at_once_all_succeed(
    database: TestDatabase, piko_process: PikoProcessFactory
) -> None:
    settings = {"PIKO_MYSQL_DSN": database.dsn}
    both = [piko_process(*_UPGRADE, env=settings, name=name) for name in ("one", "other")]
    assert [process.wait() for process in both] == [0, 0]
    lines = Counter(line.split()[0] for process in both for line in process.output.splitlines())
    listed = {revision: lines[revision] for revision in _REVISIONS if lines[revision]}
    assert listed == dict.fromkeys(_changing(database.kind), 1)


async def test_a_lock_that_is_not_free_in_time_is_an_error_that_says_what_to_do(
    database: TestDatabase,
) -> None:
    if database.kind == "sqlite":
        await database.execute("CREATE TABLE other (id INTEGER)")
        hold, release = "BEGIN IMMEDIATE", "ROLLBACK"
    else:
        # An upgrade that stands still: it holds the lock, and waits for a table that someone else has.
        await database.execute(_create_statement("job_run"))
        hold, release = "LOCK TABLES job_run WRITE", "UNLOCK TABLES"
    async with open_session(database.dsn) as session, asyncio.TaskGroup() as group:
        await session.execute(hold)
        if database.kind != "sqlite":
            group.create_task(upgrade(database.dsn))
            await wait_until_async(
                lambda: _is_waited_for(database, "job_run"),
                what="the first upgrade to stand still",
            )
        with pytest.raises(MigrationError, match=r"not free within 0\.2 s .*run `piko db upgrade` again"):
            await upgrade(database.dsn, lock_wait_s=0.2)
        await session.execute(release)
    assert (await upgrade(database.dsn)).state is SchemaState.CURRENT


async def test_upgrades_of_two_databases_of_one_server_do_not_wait_for_each_other(
    mariadb: TestDatabase, migrated_database: TestDatabase
) -> None:
    await mariadb.execute(_create_statement("job_run"))
    async with open_session(mariadb.dsn) as session, asyncio.TaskGroup() as group:
        await session.execute("LOCK TABLES job_run WRITE")
        group.create_task(upgrade(mariadb.dsn))
        await wait_until_async(
            lambda: _is_waited_for(mariadb, "job_run"), what="the first upgrade to stand still"
        )
        await migrated_database.execute(f"DELETE FROM {VERSION_TABLE}")
        assert (await upgrade(migrated_database.dsn, lock_wait_s=0.2)).state is SchemaState.CURRENT
        await session.execute("UNLOCK TABLES")


# ---- what is found --------------------------------------------------------------------------------


async def test_an_empty_database_is_empty_and_stays_so(database: TestDatabase) -> None:
    status = await check(database.dsn)
    assert (status.state, status.revision, status.usable) == (SchemaState.EMPTY, None, False)
    with pytest.raises(
        SchemaVersionError, match=f"none of Piko's tables.*expects.*{head()}.*`piko db upgrade`"
    ):
        status.require_usable()
    assert (await check(database.dsn)).state is SchemaState.EMPTY


async def test_an_older_schema_is_behind_and_says_how_to_go_on(migrated_database: TestDatabase) -> None:
    await migrated_database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '{_REVISIONS[3]}'")
    status = await check(migrated_database.dsn)
    assert (status.state, status.usable) == (SchemaState.BEHIND, False)
    with pytest.raises(
        SchemaVersionError, match=f"{_REVISIONS[3]}.* expects {head()}; run `piko db upgrade`"
    ):
        status.require_usable()


async def test_a_newer_schema_is_usable_left_alone_and_names_the_release_to_deploy(
    migrated_database: TestDatabase,
) -> None:
    await migrated_database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '7.8.9_03'")
    for status in (await check(migrated_database.dsn), await upgrade(migrated_database.dsn)):
        assert (status.state, status.revision, status.usable) == (SchemaState.AHEAD, "7.8.9_03", True)
        assert f"newer than {head()}" in status.message
        assert "deploy a release >= 7.8.9" in status.message
        status.require_usable()


_DRIFTS = {
    "DROP TABLE job_lock": "table job_lock is missing",
    "DROP INDEX ix_job_run_state_time {on_job_run}": "index ix_job_run_state_time of job_run is missing",
    "ALTER TABLE job_run DROP COLUMN error": "column job_run.error is missing",
    "ALTER TABLE job_run ADD COLUMN mine INTEGER NOT NULL": "job_run.mine is not Piko's and must be filled",
}
_DRIFTS_ON_MYSQL = {
    "ALTER TABLE job_run MODIFY state VARCHAR(99) NOT NULL": "job_run.state has type VARCHAR",
    "ALTER TABLE job_run MODIFY duration_s DOUBLE NOT NULL": "column job_run.duration_s is NOT NULL",
    "ALTER TABLE scheduled_job DROP CONSTRAINT overlap_policy_is_known": "constraint overlap_policy_is_known",
}
_DRIFTS_ON_SQLITE = {
    "DROP TRIGGER job_state_move_updated_at": "trigger job_state_move_updated_at of job_state is missing",
    "ALTER TABLE job_run RENAME COLUMN error TO err": "column job_run.error is missing",
}


async def test_a_schema_that_was_changed_by_hand_is_drifted_and_says_where(
    migrated_database: TestDatabase,
) -> None:
    on_sqlite = migrated_database.kind == "sqlite"
    for change, sentence in {**_DRIFTS, **(_DRIFTS_ON_SQLITE if on_sqlite else _DRIFTS_ON_MYSQL)}.items():
        if on_sqlite and "NOT NULL" in change:
            continue  # SQLite itself refuses such a column
        if on_sqlite and "RENAME" in change:
            await migrated_database.execute("ALTER TABLE job_run ADD COLUMN error TEXT")
        await migrated_database.execute(change.format(on_job_run="" if on_sqlite else "ON job_run"))
        status = await check(migrated_database.dsn)
        assert status.state is SchemaState.DRIFTED, change
        assert sentence in status.message
    assert "put them right by hand" in status.message


async def test_what_others_keep_in_the_database_is_theirs(database: TestDatabase) -> None:
    await database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    await database.execute("INSERT INTO alembic_version VALUES ('theirs')")
    await database.execute("CREATE TABLE orders (id INTEGER)")
    assert (await check(database.dsn)).state is SchemaState.EMPTY
    assert (await upgrade(database.dsn)).state is SchemaState.CURRENT
    await database.execute("ALTER TABLE job_run ADD COLUMN theirs INTEGER DEFAULT 7")
    await database.execute("CREATE INDEX ix_theirs ON job_run (theirs)")
    assert (await check(database.dsn)).state is SchemaState.CURRENT
    assert await database.execute("SELECT * FROM alembic_version") == [("theirs",)]


@pytest.mark.parametrize("attempt", [check, upgrade])
async def test_a_database_that_is_down_is_an_error_without_its_password(attempt: object) -> None:
    assert callable(attempt)
    with pytest.raises(DatabaseUnavailableError) as raised:
        await attempt(f"mysql+asyncmy://piko:hush@127.0.0.1:{free_port()}/piko")
    assert "127.0.0.1" in str(raised.value)
    assert "hush" not in str(raised.value)


async def test_a_user_who_may_not_make_tables_reads_what_was_refused_and_may_look(
    mariadb: TestDatabase,
) -> None:
    name = mariadb.dsn.rpartition("/")[2].partition("?")[0]
    theirs = mariadb.dsn.replace("//piko:piko@", f"//{name}:hush@")
    await mariadb.execute(f"CREATE USER {name}@'%' IDENTIFIED BY 'hush'")
    try:
        await mariadb.execute(f"GRANT SELECT, INSERT ON {name}.* TO {name}@'%'")
        with pytest.raises(MigrationError, match=r"refused a statement.*CREATE.*denied") as raised:
            await upgrade(theirs)
        assert "hush" not in str(raised.value)
        assert "GRANT it" in str(raised.value)
        assert "CREATE, ALTER and INDEX" in str(raised.value)
        await mariadb.execute(f"GRANT CREATE, ALTER, INDEX, UPDATE, DELETE ON {name}.* TO {name}@'%'")
        assert (await upgrade(theirs)).state is SchemaState.CURRENT
        await mariadb.execute(f"REVOKE CREATE, ALTER, INDEX ON {name}.* FROM {name}@'%'")
        assert (await check(theirs)).state is SchemaState.CURRENT
    finally:
        await mariadb.execute(f"DROP USER {name}@'%'")


def test_a_revision_names_its_release() -> None:
    assert {release_of(revision) for revision in _REVISIONS} == {"0.1.0"}


# ---- looking --------------------------------------------------------------------------------------


async def _definitions(database: TestDatabase) -> dict[str, list[str]]:
    """What the database itself says of Piko's tables, in no order: a column that was added stands last."""
    if database.kind == "sqlite":
        rows = await database.execute("SELECT tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        found: dict[str, list[str]] = {name: [] for name in metadata.tables}
        for table, sql in rows:
            if table in found:
                found[table].extend(_parts(" ".join(sql.split())))
        return {table: sorted(statements) for table, statements in found.items()}
    tables = {}
    for table in metadata.tables:
        [(_, sql)] = await database.execute(f"SHOW CREATE TABLE {table}")
        # MySQL shows the character set of a literal, and another one once the table was altered.
        lines = re.sub(r"_(ascii|utf8mb4)'", "'", sql).splitlines()
        tables[table] = sorted(line.strip().rstrip(",") for line in lines)
    return tables


def _parts(statement: str) -> list[str]:
    """A CREATE TABLE as its columns and constraints; any other statement as it is."""
    head, opened, body = statement.partition("(")
    if not head.startswith("CREATE TABLE"):
        return [statement]
    parts, depth = [""], 0
    for character in body.rstrip().removesuffix(")"):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    # A column that was added holds its constraint; in a new table that stands by itself.
    stripped = [piece.strip() for part in parts for piece in re.split(r"(?<!^)(?=CONSTRAINT )", part.strip())]
    return [head + opened, *stripped]


def _statements(sql: str) -> list[str]:
    """A script as single statements; a trigger holds a semicolon too, hence SQLite's own judgement."""
    found, statement = [], ""
    for line in sql.splitlines(keepends=True):
        if line.startswith("--"):
            continue
        statement += line
        if statement.strip() and sqlite3.complete_statement(statement):
            found.append(statement.strip().removesuffix(";"))
            statement = ""
    return found


def _create_statement(table: str) -> str:
    [statement] = [item for item in _statements(dump("mysql")) if item.startswith(f"CREATE TABLE {table} ")]
    return statement


def _changing(kind: str) -> list[str]:
    """The revisions that change a new database of that kind."""
    parts = re.split(r"^-- Running upgrade .*$", dump(kind), flags=re.MULTILINE)[1:]
    changes = [re.search(r"^(CREATE|ALTER|DROP)\b", part, re.MULTILINE) for part in parts]
    return [revision for revision, change in zip(_REVISIONS, changes, strict=True) if change]


async def _is_waited_for(database: TestDatabase, table: str) -> bool:
    rows = await database.execute(
        "SELECT info FROM information_schema.processlist"
        " WHERE db = DATABASE() AND state LIKE 'Waiting for table metadata lock%'"
    )
    return any(table in (info or "") for (info,) in rows)


def test_the_modules_of_revisions_are_named_after_them_in_their_order() -> None:
    assert revisions() == _REVISIONS
