"""A job whose model has required fields waits for its config, says so, and fires when it is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from tests.cli.piko import piko
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replica, Replicas, runs, schedule, until_runs

APP = """
from pydantic import BaseModel
from piko import PikoApp

app = PikoApp(name="trial")

class Target(BaseModel):
    table: str

@app.job(job_id="load", schema=Target)
async def load(ctx, scheduled_time):
    print("loads", ctx["config"].table, ctx["trigger_type"], flush=True)

@app.job(job_id="windows", schema=Target, stateful=True)
async def windows(ctx, scheduled_time):
    print("window", ctx["data_interval"].end.isoformat(), flush=True)

@app.job(job_id="free")
async def free(ctx, scheduled_time):
    pass
"""


async def test_nothing_is_claimed_before_the_config_is_there(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replica = await _replica(replicas, database)
    await schedule(database, "load")
    await schedule(database, "free")
    await _until_status(database, "load", "WaitingForConfig", "table: Field required")
    triggered = piko("trigger", "load", dsn=database.dsn, cwd=replicas.folder)
    assert triggered.code == 0, triggered.err
    await until_runs(database, "free", 3)
    assert [row[1] for row in await runs(database, "load")] == ["QUEUED"], "the trigger waits, too"
    replica.process.wait_for_line("waits for a config.*job_waits")

    await database.execute(
        "INSERT INTO job_config (job_id, schema_version, config_json) "
        """VALUES ('load', 1, '{"table": "t"}')"""
    )
    await until_runs(database, "load", 3)
    await _until_status(database, "load", "Scheduled", None)
    replica.process.wait_for_line("loads t manual")
    assert not await runs(database, "load", "FAILED")
    assert await runs(database, "load", "SKIPPED"), "what coalescing left out of the wait is recorded"

    await database.execute("DELETE FROM job_config")
    await _until_status(database, "load", "WaitingForConfig", "waits for a config")


async def test_a_config_for_later_is_waited_for_and_no_window_is_lost(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    await database.execute(
        "INSERT INTO job_config (job_id, schema_version, config_json, effective_from) VALUES "
        """('windows', 1, '{"table": "t"}', UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)"""
    )
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=2)
    await schedule(database, "windows", last_data_time=began.replace(tzinfo=None).isoformat(sep=" "))
    await _replica(replicas, database)
    await _until_status(database, "windows", "WaitingForConfig", "the row takes effect at")
    await database.execute("UPDATE job_config SET effective_from = UTC_TIMESTAMP(6) + INTERVAL 3 SECOND")
    [(effective,)] = await database.execute("SELECT effective_from FROM job_config")
    await until_runs(database, "windows", 8)
    done = await database.execute(
        "SELECT window_start, window_end, started_at, state FROM job_run "
        "WHERE state = 'SUCCESS' ORDER BY window_start"
    )
    assert done[0][0] == began.replace(tzinfo=None)
    assert all(start == end for (_, end, *_), (start, *_) in pairwise(done))
    assert min(started for _, _, started, _ in done) >= effective


async def test_a_backfill_waits_as_well(replicas: Replicas, migrated_mariadb: TestDatabase) -> None:
    database = migrated_mariadb
    await schedule(database, "windows", '{"cron": "* * * * *"}', schedule_type="cron")
    replica = await _replica(replicas, database)
    day = "2026-01-08T00:0"
    asked = piko(
        "backfill", "windows", "--from", f"{day}0Z", "--to", f"{day}3Z", dsn=database.dsn, cwd=replicas.folder
    )
    assert asked.code == 0, asked.err

    async def waits() -> bool:
        [(message,)] = await database.execute("SELECT message FROM backfill")
        return "waits for a config" in (message or "")

    await wait_until_async(waits, what="the backfill to say what it waits for")
    await database.execute(
        "INSERT INTO job_config (job_id, schema_version, config_json) "
        """VALUES ('windows', 1, '{"table": ""}')"""
    )
    replica.process.wait_for_line("window 2026-01-08T00:03")


async def _replica(replicas: Replicas, database: TestDatabase) -> Replica:
    replicas.write(APP)
    replica = replicas.start(database.dsn)
    await replica.until_ready()
    return replica


async def _until_status(database: TestDatabase, job_id: str, status: str, message: str | None) -> None:
    async def reported() -> bool:
        rows = await database.execute(f"SELECT status, message FROM job_state WHERE job_id = '{job_id}'")
        return [
            (found, said) for found, said in rows if found == status and (message is None or message in said)
        ] != []

    await wait_until_async(reported, what=f"{job_id} to be {status}")
