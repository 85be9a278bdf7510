"""By when a job has to have kept its objective: every replica exports it, from the rows."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from piko import Objective, PikoApp
from piko.settings import Settings, load_settings
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async

_ROW = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, timezone, created_at{}) "
    "VALUES ('{}', 'cron', '\"0 6 * * mon-fri\"', 'UTC', '2026-01-05 00:00:00'{})"
)


def _app() -> PikoApp:
    app = PikoApp(name="trial")

    @app.job("orders", stateful=True, objective=Objective(data_within_s=7200))
    async def orders(ctx: Any, scheduled_time: datetime) -> None:
        raise KeyError("it never succeeds")

    return app


def _deadline(app: PikoApp, job_id: str, objective: str = "data") -> datetime | None:
    labels = {"job_id": job_id, "objective": objective}
    found = app.metrics.registry.get_sample_value("piko_job_deadline_timestamp_seconds", labels)
    return None if found is None else datetime.fromtimestamp(found, UTC)


def _settings(database: TestDatabase, folder: Path, name: str) -> Settings:
    return load_settings(
        environment={}, directory=folder, mysql_dsn=database.dsn, spool_dir=folder / name, poll_interval_s=0.1
    )


async def test_the_leader_writes_down_from_when_on_data_is_late(sqlite: TestDatabase, tmp_path: Path) -> None:
    await upgrade(sqlite.dsn)
    await sqlite.execute(_ROW.format(", last_data_time", "orders", ", '2026-01-09 06:00:00'"))

    async def is_written(late_at: str) -> bool:
        rows = await sqlite.execute("SELECT job_id, late_at FROM data_deadline")
        return [(row[0], str(row[1])[:19]) for row in rows] == [("orders", late_at)]

    async with _app().running(_settings(sqlite, tmp_path, "leader")):
        await wait_until_async(lambda: is_written("2026-01-12 08:00:00"), what="two hours after Monday's run")
        await sqlite.execute("UPDATE scheduled_job SET last_data_time = '2026-01-07 06:00:00'")
        await wait_until_async(lambda: is_written("2026-01-08 08:00:00"), what="what follows from the edit")


async def _until(app: PikoApp, job_id: str, expected: datetime | None) -> None:
    await wait_until_async(lambda: _deadline(app, job_id) == expected, what=f"{job_id}: {expected}")


async def test_every_replica_exports_the_deadline_and_a_replica_without_a_leader_too(
    sqlite: TestDatabase, tmp_path: Path
) -> None:
    await upgrade(sqlite.dsn)
    await sqlite.execute(_ROW.format(", last_data_time", "orders", ", '2026-01-09 06:00:00'"))
    await sqlite.execute(_ROW.format(", data_within_s, enabled", "foreign", ", 60, 0"))
    await sqlite.execute(_ROW.format("", "silent", ""))
    leader, standby = _app(), _app()
    monday = datetime(2026, 1, 12, 8, tzinfo=UTC)
    async with standby.running(_settings(sqlite, tmp_path, "standby")) as left:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(leader.running(_settings(sqlite, tmp_path, "leader")))
            for app in (leader, standby):
                await _until(app, "orders", monday)
                await _until(app, "foreign", datetime(2026, 1, 5, 6, 1, tzinfo=UTC))
                assert _deadline(app, "silent") is None
        await _until(standby, "orders", monday)
        await sqlite.execute("UPDATE scheduled_job SET last_data_time = '2026-01-13 06:00:00'")
        await _until(standby, "orders", datetime(2026, 1, 14, 8, tzinfo=UTC))
        await sqlite.execute(
            "INSERT INTO job_state (job_id, status, consecutive_failures) VALUES ('foreign', 'Scheduled', 3) "
            "ON CONFLICT (job_id) DO UPDATE SET consecutive_failures = 3"
        )
        failures = "piko_job_consecutive_failures"
        await wait_until_async(
            lambda: standby.metrics.registry.get_sample_value(failures, {"job_id": "foreign"}) == 3,
            what="the failures of a job of another app",
        )
        await sqlite.execute("DELETE FROM scheduled_job WHERE job_id = 'orders'")
        await _until(standby, "orders", None)
        await wait_until_async(lambda: left.readiness.ready, what="the one that is left to be ready")


async def test_a_row_that_promises_otherwise_is_obeyed(sqlite: TestDatabase, tmp_path: Path) -> None:
    await upgrade(sqlite.dsn)
    await sqlite.execute(_ROW.format(", last_data_time, enabled", "orders", ", '2026-01-09 06:00:00', 0"))
    app = _app()
    async with app.running(_settings(sqlite, tmp_path, "one")):
        await _until(app, "orders", datetime(2026, 1, 12, 8, tzinfo=UTC))
        await sqlite.execute("UPDATE scheduled_job SET data_within_s = 60")
        await _until(app, "orders", datetime(2026, 1, 12, 6, 1, tzinfo=UTC))
