"""Edits by SQL while replicas run: each has one line in the change log, across a change of leader."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from piko.model.backfills import Backfill
from piko.model.changes import Actor
from piko.store.backfills import BackfillStore
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, leader_of, schedule, until_runs
from tests.store.making import opened


def _lines(database: TestDatabase) -> Callable[[], Awaitable[list[tuple[str, str, str]]]]:
    async def read() -> list[tuple[str, str, str]]:
        rows = await database.execute("SELECT via, what, `after` FROM change_log ORDER BY change_id")
        return [tuple(row) for row in rows]

    return read


async def _until(database: TestDatabase, what: str, after: dict[str, object]) -> None:
    async def there() -> bool:
        return ("sql", what, after) in [
            (via, kind, json.loads(text or "null")) for via, kind, text in await _lines(database)()
        ]

    await wait_until_async(there, what=f"a line {what} {after}")


async def _until_line(database: TestDatabase, what: str) -> None:
    async def there() -> bool:
        return what in [kind for _, kind, _ in await _lines(database)()]

    await wait_until_async(there, what=f"a line {what}")


async def test_each_edit_has_one_line_though_two_replicas_see_it_and_the_leader_is_killed(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    await schedule(database, "quick")
    pair = [replicas.start(database.dsn, name=name) for name in ("one", "two")]
    leader, standby = await leader_of(*pair)
    await until_runs(database, "quick", 2)
    await _until_line(database, "create_schedule")  # what is edited before is part of it
    await database.execute("UPDATE scheduled_job SET priority = 7")
    await _until(database, "edit_schedule", {"priority": 7})
    leader.process.kill()
    await database.execute("UPDATE scheduled_job SET priority = 8")
    await database.execute(
        "INSERT INTO job_config (job_id, config_json) VALUES ('quick', '{\"name\": \"x\"}')"
    )
    await standby.until_ready("leader")
    await _until(database, "edit_schedule", {"priority": 8})
    await _until(database, "create_config", {"config_json.name": "x"})
    await database.execute("DELETE FROM job_config")
    await _until_line(database, "delete_config")
    assert sorted(what for _, what, _ in await _lines(database)()) == [
        "create_config",
        "create_schedule",
        "delete_config",
        "edit_schedule",
        "edit_schedule",
    ]


async def test_a_watermark_that_sql_sets_has_a_line_and_those_that_runs_move_have_none(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    await schedule(database, "windows")
    replica = replicas.start(database.dsn)
    await replica.until_ready()
    await until_runs(database, "windows", 3)
    await _until_line(database, "create_schedule")  # what is set before is part of it
    await database.execute("UPDATE scheduled_job SET last_data_time = last_data_time - INTERVAL 10 SECOND")
    await _until_line(database, "set_watermark")
    await until_runs(database, "windows", 10)
    lines = [(via, what) for via, what, _ in await _lines(database)()]
    assert sorted(lines) == [("sql", "create_schedule"), ("sql", "set_watermark")]


async def test_a_state_of_a_backfill_that_sql_sets_has_one_line_though_the_leader_is_killed(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database, begin = migrated_mariadb, datetime(2026, 1, 1, tzinfo=UTC)
    await schedule(database, "windows", enabled=0)
    request = Backfill(
        backfill_id="b1",
        job_id="windows",
        range_start=begin,
        range_end=begin + timedelta(days=30),  # more windows than any machine runs within the test
        schedule_type="interval",
        schedule_expr='{"seconds": 1}',
        timezone="UTC",
        next_start=begin,
        windows_total=30 * 86_400,
    )
    async with opened(database) as store:
        await BackfillStore(database=store).create(request, actor=Actor(who="ann", via="cli"))
    pair = [replicas.start(database.dsn, name=name) for name in ("one", "two")]
    leader, standby = await leader_of(*pair)
    await until_runs(database, "windows", 2)
    await database.execute("UPDATE backfill SET state = 'PAUSED'")
    await _until(database, "change_backfill", {"backfill_id": "b1", "state": "PAUSED"})
    leader.process.kill()
    await database.execute("UPDATE backfill SET state = 'CANCELLED'")
    await standby.until_ready("leader")
    await _until(database, "change_backfill", {"backfill_id": "b1", "state": "CANCELLED"})
    await database.execute("UPDATE scheduled_job SET priority = 7")
    await _until(database, "edit_schedule", {"priority": 7})
    rows = await database.execute(
        "SELECT who, via, `before`, `after` FROM change_log WHERE what = 'change_backfill' ORDER BY change_id"
    )
    lines = [(who, via, json.loads(old)["state"], json.loads(new)["state"]) for who, via, old, new in rows]
    assert lines == [
        ("unknown", "sql", "ACTIVE", "PAUSED"),
        ("unknown", "sql", "PAUSED", "CANCELLED"),
    ]
    ((ended,),) = await database.execute("SELECT finished_at IS NOT NULL FROM backfill")
    assert ended
