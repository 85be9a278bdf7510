"""The statements that people are promised: each works as printed, and leaves out what it leaves out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from piko.store.schema.migrate import upgrade
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.schedules import scheduled_job
from tests.harness.databases import TestDatabase
from tests.store.sessions import open_session

HELLO = """
INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr, enabled, version)
VALUES ("hello_job", "interval", '{"seconds": 10}', 1, 1)
ON DUPLICATE KEY UPDATE enabled=1, schedule_expr='{"seconds":10}', version=version+1;
"""
MINI = """
INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr, enabled, version)
VALUES ("mini_job", "interval", '{"seconds": 5}', 1, 1)
ON DUPLICATE KEY UPDATE enabled=1, schedule_expr='{"seconds":5}', version=version+1;
"""
ORDERS = """
INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr, enabled, version)
VALUES ("sync_orders", "cron", '{"minute": 0}', 1, 1)
ON DUPLICATE KEY UPDATE enabled=1, schedule_expr='{"minute":0}', version=version+1;
"""
DAILY = """
INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr, enabled, version)
VALUES ("daily_job", "cron", '{"hour": 2, "minute": 30}', 1, 1);
"""
FAST = """
INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr, enabled, version)
VALUES ("fast_job", "interval", '{"seconds": 10}', 1, 1);
"""
ONE_SHOT = """
INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr, enabled, version)
VALUES ("one_shot", "date", '{"run_date": "2026-01-08 10:00:00"}', 1, 1);
"""
CONFIG = """
INSERT INTO job_config(job_id, schema_version, config_json, version)
VALUES ("sweep_cfg", 1, '{"concurrency": 200, "timeout_s": 3}', 1)
ON DUPLICATE KEY UPDATE config_json='{"concurrency":200,"timeout_s":3}', version=version+1;
"""
CONFIG_LATER = """
UPDATE job_config
SET config_json='{"concurrency":100,"timeout_s":5}',
    effective_from = DATE_ADD(UTC_TIMESTAMP(6), INTERVAL 10 MINUTE),
    version=version+1
WHERE job_id="sweep_cfg";
"""
CONFIG_LATER_ON_SQLITE = """
UPDATE job_config
SET config_json='{"concurrency":100,"timeout_s":5}',
    effective_from = datetime('now', '+10 minutes'),
    version=version+1
WHERE job_id='sweep_cfg';
"""

UPSERTS = [
    (HELLO, "hello_job", "interval", '{"seconds": 10}', '{"seconds":10}'),
    (MINI, "mini_job", "interval", '{"seconds": 5}', '{"seconds":5}'),
    (ORDERS, "sync_orders", "cron", '{"minute": 0}', '{"minute":0}'),
]
INSERTS = [
    (DAILY, "daily_job", "cron", '{"hour": 2, "minute": 30}'),
    (FAST, "fast_job", "interval", '{"seconds": 10}'),
    (ONE_SHOT, "one_shot", "date", '{"run_date": "2026-01-08 10:00:00"}'),
]

DEFAULTS = {
    "timezone": None,
    "start_at": None,
    "end_at": None,
    "jitter_s": 0,
    "misfire_grace_s": 300,
    "coalesce": True,
    "overlap_policy": "skip",
    "max_instances": 1,
    "concurrency_group": None,
    "concurrency_limit": None,
    "priority": 0,
    "timeout_s": None,
    "max_attempts": None,
    "retry_backoff_s": 10,
    "retry_max_backoff_s": 300,
    "backfill_policy": None,
    "max_lookback_s": None,
    "backfill_max_windows": None,
    "history_successful": 100,
    "history_failed": 100,
    "last_data_time": None,
    "completed_at": None,
    "managed_by": None,
}


@pytest.mark.parametrize(
    ("statement", "job_id", "kind", "first", "second"), UPSERTS, ids=[item[1] for item in UPSERTS]
)
async def test_an_upsert_inserts_and_then_updates(
    migrated_database: TestDatabase, statement: str, job_id: str, kind: str, first: str, second: str
) -> None:
    await migrated_database.execute(_spoken(migrated_database, statement))
    [row] = await _schedules(migrated_database)
    assert row["job_id"] == job_id
    assert (row["schedule_type"], row["schedule_expr"], row["version"]) == (kind, first, 1)
    assert {name: row[name] for name in DEFAULTS} == DEFAULTS
    assert row["enabled"] is True
    assert abs(datetime.now(UTC) - row["updated_at"]) < timedelta(seconds=60)

    await migrated_database.execute("UPDATE scheduled_job SET enabled = 0")
    await migrated_database.execute(_spoken(migrated_database, statement))
    [again] = await _schedules(migrated_database)
    assert (again["schedule_expr"], again["version"], again["enabled"]) == (second, 2, True)
    assert again["updated_at"] > row["updated_at"]
    assert again["created_at"] == row["created_at"]


async def test_one_schedule_of_each_type_is_inserted(migrated_database: TestDatabase) -> None:
    for statement, *_ in INSERTS:
        await migrated_database.execute(statement)
    found = {
        (row["job_id"], row["schedule_type"], row["schedule_expr"])
        for row in await _schedules(migrated_database)
    }
    assert found == {tuple(expected) for _, *expected in INSERTS}


async def test_a_config_is_inserted_updated_and_put_off(migrated_database: TestDatabase) -> None:
    upsert = _spoken(migrated_database, CONFIG)
    await migrated_database.execute(upsert)
    await migrated_database.execute(upsert)
    [row] = await _rows(migrated_database, job_config)
    assert (row["job_id"], row["schema_version"], row["version"]) == ("sweep_cfg", 1, 2)
    assert row["config_json"] == '{"concurrency":200,"timeout_s":3}'
    assert (row["effective_from"], row["secret_json"], row["updated_by"]) == (None, None, None)

    on_sqlite = migrated_database.kind == "sqlite"
    await migrated_database.execute(CONFIG_LATER_ON_SQLITE if on_sqlite else CONFIG_LATER)
    [later] = await _rows(migrated_database, job_config)
    assert (later["config_json"], later["version"]) == ('{"concurrency":100,"timeout_s":5}', 3)
    ahead = later["effective_from"] - datetime.now(UTC)
    assert timedelta(minutes=9) < ahead <= timedelta(minutes=10)
    assert later["updated_at"] > row["updated_at"]


@pytest.mark.parametrize("zone", ["+08:00", "-05:30"])
async def test_times_are_utc_whatever_the_zone_of_the_session_that_wrote(
    migrated_database: TestDatabase, zone: str
) -> None:
    on_sqlite = migrated_database.kind == "sqlite"
    async with open_session(migrated_database.dsn) as session:
        if not on_sqlite:  # which has no such thing
            await session.execute(f"SET time_zone = '{zone}'")
        for statement in (HELLO, HELLO, CONFIG):
            await session.execute(_spoken(migrated_database, statement))
        await session.execute(CONFIG_LATER_ON_SQLITE if on_sqlite else CONFIG_LATER)
    now = datetime.now(UTC)
    [schedule] = await _schedules(migrated_database)
    [config] = await _rows(migrated_database, job_config)
    for row in (schedule, config):
        assert abs(now - row["created_at"]) < timedelta(seconds=60)
        assert abs(now - row["updated_at"]) < timedelta(seconds=60)
    assert timedelta(minutes=9) < config["effective_from"] - now <= timedelta(minutes=10)


async def test_every_edit_moves_updated_at_even_within_one_tick_of_the_clock(
    migrated_database: TestDatabase,
) -> None:
    await migrated_database.execute(FAST)
    seen = []
    async with open_session(migrated_database.dsn) as session:
        for priority in range(1, 21):
            await session.execute(f"UPDATE scheduled_job SET priority = {priority}")
            seen.append((await session.execute("SELECT updated_at FROM scheduled_job"))[0][0])
    assert seen == sorted(set(seen))


async def test_an_instant_compares_the_same_however_much_of_it_a_person_wrote(sqlite: TestDatabase) -> None:
    await upgrade(sqlite.dsn)
    await sqlite.execute(
        "INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr, last_data_time, start_at) VALUES "
        "('a', 'cron', '{}', '2026-01-08 10:00:00', '2026-01-08 10:00:00.500')"
    )
    stored = "SELECT last_data_time, start_at FROM scheduled_job"
    assert await sqlite.execute(stored) == [("2026-01-08 10:00:00.000000", "2026-01-08 10:00:00.500000")]
    await sqlite.execute("UPDATE scheduled_job SET last_data_time = '2026-01-07 00:00:00'")
    assert await sqlite.execute(stored) == [("2026-01-07 00:00:00.000000", "2026-01-08 10:00:00.500000")]


def _spoken(database: TestDatabase, statement: str) -> str:
    """The statement as the database's people would write it."""
    if database.kind != "sqlite":
        return statement
    return statement.replace("ON DUPLICATE KEY UPDATE", "ON CONFLICT (job_id) DO UPDATE SET")


async def _schedules(database: TestDatabase) -> list[dict[str, Any]]:
    return await _rows(database, scheduled_job)


async def _rows(database: TestDatabase, table: Any) -> list[dict[str, Any]]:
    """The rows as the runtime reads them: on a session that speaks UTC."""
    engine = create_async_engine(
        database.dsn,
        connect_args={} if database.kind == "sqlite" else {"init_command": "SET time_zone = '+00:00'"},
    )
    try:
        async with engine.connect() as connection:
            return [dict(row._mapping) for row in await connection.execute(select(table))]
    finally:
        await engine.dispose()
