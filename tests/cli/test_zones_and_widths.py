"""Tables and times as a reader has them: at the width of a terminal, and in a zone of their own."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.piko import piko_here
from tests.harness.databases import TestDatabase, migrate

LONG = "load.customers-" * 6
ROWS = [
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, timezone, last_data_time) VALUES "
    "('orders', 'cron', '\"0 3 * * *\"', 'America/New_York', '2026-07-08 07:00:00.000000'), "
    f'(\'{LONG}\', \'cron\', \'{{"hour": 3, "minute": 30, "day_of_week": "mon-fri"}}\', NULL, NULL)',
    "INSERT INTO job_state (job_id, status, next_run_at, consecutive_failures, last_state, last_error, "
    "last_scheduled_time) VALUES ('orders', 'Scheduled', '2999-07-09 07:00:00.000000', 3, 'FAILED', "
    f"'RuntimeError: {'the warehouse is away ' * 20}', '2026-07-08 07:00:00.000000')",
    "INSERT INTO job_run (run_id, job_id, scheduled_time, started_at, state, attempt, error) VALUES "
    "('r1', 'orders', '2026-07-08 07:00:00.000000', '2026-07-08 07:00:00.250000', 'FAILED', 1, "
    f"'{'the warehouse is away ' * 20}'), "
    f"('r2', '{LONG}', '2026-01-08 07:00:00.000000', '2026-01-08 07:00:00.000000', 'SUCCESS', 1, NULL)",
]


@pytest.fixture
async def failing(sqlite: TestDatabase) -> TestDatabase:
    await migrate(sqlite)
    for statement in ROWS:
        await sqlite.execute(statement)
    return sqlite


async def shown(database: TestDatabase, folder: Path, *words: str, **environment: str) -> str:
    answer: Any = await asyncio.to_thread(piko_here, *words, cwd=folder, dsn=database.dsn, **environment)
    return str(answer.out)


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("command", ["status", "jobs", "runs"])
async def test_a_table_fits_the_terminal_and_cuts_no_name(
    command: str, width: int, failing: TestDatabase, tmp_path: Path
) -> None:
    text = await shown(failing, tmp_path, command, COLUMNS=str(width))
    wide = [line for line in text.splitlines() if len(line) > width]
    assert [line for line in wide if LONG not in line and str(failing.dsn) not in line] == []
    assert "orders" in text
    if command in ("jobs", "runs"):
        assert LONG in text
        assert text.count("the warehouse is away") > 1


@pytest.mark.parametrize(
    ("zone", "due", "started"),
    [
        (
            "Asia/Shanghai",
            "2026-07-08 15:00:00+08:00 (03:00:00 America/New_York)",
            "2026-07-08 15:00:00.250+08:00",
        ),
        ("America/New_York", "2026-07-08 03:00:00-04:00", "2026-07-08 03:00:00.250-04:00"),
        (
            "Pacific/Kiritimati",
            "2026-07-08 21:00:00+14:00 (03:00:00 America/New_York)",
            "2026-07-08 21:00:00.250+14:00",
        ),
        ("UTC", "2026-07-08 07:00:00Z (03:00:00 America/New_York)", "2026-07-08 07:00:00.250Z"),
    ],
)
async def test_times_are_in_the_readers_zone_and_due_times_in_that_of_their_schedule_too(
    zone: str, due: str, started: str, failing: TestDatabase, tmp_path: Path
) -> None:
    run = await shown(failing, tmp_path, "runs", "show", "r1", TZ=zone)
    assert f"due        {due}\n" in run
    assert f"started    {started}\n" in run
    jobs = await shown(failing, tmp_path, "jobs", "orders", "-o", "wide", TZ=zone)
    assert due in jobs
    runs = await shown(failing, tmp_path, "runs", "-o", "wide", TZ=zone)
    assert f" {due}  " in runs
    assert started in runs


async def test_another_date_there_is_said_and_a_zone_that_nobody_knows_is_that_of_the_machine(
    failing: TestDatabase, tmp_path: Path
) -> None:
    words = ("next", "0 21 * * *", "--timezone", "America/New_York", "--after", "2026-07-08", "-n", "1")
    said = await shown(failing, tmp_path, *words, TZ="Asia/Shanghai")
    assert re.search(r"Wed 2026-07-08 21:00:00-04:00  2026-07-09 09:00:00\+08:00", said)
    await failing.execute("UPDATE job_run SET scheduled_time = '2026-07-09 01:00:00' WHERE run_id = 'r1'")
    run = await shown(failing, tmp_path, "runs", "show", "r1", TZ="Asia/Shanghai")
    assert "due        2026-07-09 09:00:00+08:00 (2026-07-08 21:00:00 America/New_York)\n" in run
    assert "due        2026-07-09 " in await shown(failing, tmp_path, "runs", "show", "r1", TZ="No/Where")


async def test_programs_get_utc_whatever_the_readers_zone_is(failing: TestDatabase, tmp_path: Path) -> None:
    document = await shown(failing, tmp_path, "runs", "show", "r1", "-o", "json", TZ="Asia/Shanghai")
    assert '"scheduled_time": "2026-07-08T07:00:00Z"' in document
