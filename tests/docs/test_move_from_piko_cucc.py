"""The way from the library that this continues, as its page has it: rows, watermarks, and back again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import pytest

from piko.dsn import parse_dsn
from piko.errors import SettingsError
from piko.settings import Settings
from tests.docs.pages import read
from tests.harness.databases import TestDatabase, create_database, drop_database, migrate
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas

_PAGE = read("how-to/move-from-piko-cucc.md")
_THERE = """
CREATE TABLE scheduled_job (
  job_id VARCHAR(128) PRIMARY KEY, schedule_type VARCHAR(16) NOT NULL, schedule_expr VARCHAR(512) NOT NULL,
  timezone VARCHAR(64) NOT NULL DEFAULT 'Asia/Shanghai', enabled BOOL NOT NULL DEFAULT 1,
  completed_at DATETIME(6), misfire_grace_s INT NOT NULL DEFAULT 300, coalesce BOOL NOT NULL DEFAULT 1,
  max_instances INT NOT NULL DEFAULT 1, jitter_s INT NOT NULL DEFAULT 0,
  executor VARCHAR(16) NOT NULL DEFAULT 'cpu', concurrency_group VARCHAR(64) NOT NULL DEFAULT 'default',
  is_stateful BOOL NOT NULL DEFAULT 0, last_data_time DATETIME(6), max_lookback_window INT NOT NULL DEFAULT 0,
  version BIGINT NOT NULL DEFAULT 1, updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6));
CREATE TABLE job_config (
  job_id VARCHAR(128) PRIMARY KEY, schema_version INT NOT NULL DEFAULT 1, config_json JSON NOT NULL,
  effective_from DATETIME(6), version BIGINT NOT NULL DEFAULT 1,
  updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6));
INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr, enabled, version, last_data_time)
VALUES ('sync_orders', 'interval', '{"seconds": 2}', 1, 1, UTC_TIMESTAMP() - INTERVAL 1 MINUTE);
INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr, enabled, version)
VALUES ('daily_job', 'cron', '{"hour": 2, "minute": 30}', 1, 1);
INSERT INTO job_config(job_id, schema_version, config_json, version)
VALUES ('sync_orders', 1, '{"concurrency": 200, "timeout_s": 3}', 1);
"""
"""The tables of 0.1.12 that are copied, with rows as its README writes them."""
_APP = """
from piko import PikoApp

app = PikoApp(name="moved")

@app.job(job_id="sync_orders", stateful=True)
async def sync_orders(ctx, scheduled_time):
    print("window", ctx["data_interval"].start.isoformat(), ctx["config"]["concurrency"], flush=True)

@app.job(job_id="daily_job")
async def daily_job(ctx, scheduled_time): ...
"""


def _statements(text: str) -> list[str]:
    return [each for each in text.split(";\n") if each.strip()]


def _blocks() -> tuple[str, str]:
    copy, back = re.findall(r"^ *```sql\n(.*?)```", _PAGE, re.MULTILINE | re.DOTALL)
    return dedent(copy), back


@pytest.fixture
async def old(mariadb: TestDatabase) -> AsyncIterator[TestDatabase]:
    server, _, _ = mariadb.dsn.rpartition("/")
    database = await create_database(mariadb.kind, f"{server}/")
    for statement in _statements(_THERE):
        await database.execute(statement)
    yield database
    await drop_database(database)


async def test_rows_move_there_and_watermarks_back(
    old: TestDatabase, mariadb: TestDatabase, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    await migrate(mariadb)
    copy, back = (block.replace("old_piko", old.dsn.rpartition("/")[2]) for block in _blocks())
    for statement in _statements(copy):
        await mariadb.execute(statement)
    [(watermark,)] = await old.execute(
        "SELECT last_data_time FROM scheduled_job WHERE job_id = 'sync_orders'"
    )
    (tmp_path / "app.py").write_text(_APP, encoding="utf-8")
    replica = Replicas(piko_process, tmp_path).start(mariadb.dsn)
    replica.process.wait_for_line(f"window {watermark.isoformat()}.* 200")

    async def caught_up() -> bool:
        [(moved,)] = await mariadb.execute(
            "SELECT MIN(last_data_time) FROM scheduled_job WHERE job_id = 'sync_orders'"
        )
        return bool(moved > watermark)

    await wait_until_async(caught_up, what="the watermark to move")
    zones = await mariadb.execute("SELECT timezone, status FROM scheduled_job JOIN job_state USING (job_id)")
    assert zones == [("Asia/Shanghai", "Scheduled")] * 2
    assert replica.process.terminate() == 0

    await mariadb.execute(back.rstrip(";\n"))
    there, here = [
        await database.execute("SELECT job_id, last_data_time FROM scheduled_job ORDER BY job_id")
        for database in (old, mariadb)
    ]
    assert there == here


def test_the_driver_of_the_old_url_is_refused_with_the_one_to_write() -> None:
    with pytest.raises(SettingsError, match=r"driver 'mysql\+aiomysql' is not supported.*mysql\+asyncmy"):
        parse_dsn("mysql+aiomysql://user:password@127.0.0.1:3306/piko")


def test_no_setting_that_is_to_be_left_out_is_known_here() -> None:
    [table] = re.findall(r"^\| setting there \|.*?\n\n", _PAGE, re.MULTILINE | re.DOTALL)
    rows = table.strip().splitlines()[2:]
    left_out = {name for row in rows for name in re.findall(r"`(\w+)", row.split("|")[1])}
    assert left_out & set(Settings.model_fields) == set()
    assert {"shutdown_timeout_s", "job_handler_timeout_s", "log_level"} <= left_out
