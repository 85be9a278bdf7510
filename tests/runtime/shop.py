"""An app with one job that fails while it is told to, and rows for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from piko import JobFailure, JobLateness, JobRecovery, Objective, PikoApp
from piko.settings import Settings, load_settings
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async

EVERY_SECOND = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) "
    "VALUES ('{}', 'interval', '{{\"seconds\": 1}}')"
)
SINCE_MONDAY = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, enabled, created_at, data_within_s) "
    "VALUES ('{}', 'cron', '\"0 6 * * *\"', 0, '2026-01-05 00:00:00', 7200)"
)
"""Its data is late."""


class Shop:
    """An app with one job, which fails while it is said to, and with what its hooks were called with."""

    def __init__(self, *, max_attempts: int = 1, objective: Objective | None = None) -> None:
        self.app = PikoApp(name="shop")
        self.fails = True
        self.runs = 0
        self.values: list[JobFailure | JobLateness | JobRecovery] = []

        @self.app.job("orders", max_attempts=max_attempts, objective=objective)
        async def orders(ctx: Any, scheduled_time: datetime) -> None:
            self.runs += 1
            if self.fails:
                raise ValueError("no such table")

    def listen(self) -> None:
        """Declare one hook for each event."""

        @self.app.on_failure
        async def failed(failure: JobFailure) -> None:
            self.values.append(failure)

        @self.app.on_late("ord*")
        async def late(lateness: JobLateness) -> None:
            self.values.append(lateness)

        @self.app.on_recovered()
        async def recovered(recovery: JobRecovery) -> None:
            self.values.append(recovery)

    def of(self, kind: type) -> list[Any]:
        return [value for value in self.values if isinstance(value, kind)]

    def count(self, outcome: str, called_for: str = "failure") -> float:
        labels = {"called_for": called_for, "outcome": outcome}
        return self.app.metrics.registry.get_sample_value("piko_hook_calls_total", labels) or 0.0


def settings_of(database: TestDatabase, folder: Path, **settings: Any) -> Settings:
    return load_settings(
        environment={},
        directory=folder,
        mysql_dsn=database.dsn,
        spool_dir=folder / "spool",
        poll_interval_s=0.1,
        **settings,
    )


async def announced(database: TestDatabase, *, table: str = "announcement") -> Sequence[Sequence[Any]]:
    return await database.execute(f"SELECT job_id, kind FROM {table} ORDER BY job_id, kind")


async def until_announced(
    database: TestDatabase, *rows: tuple[str, str], table: str = "announcement"
) -> None:
    async def is_so() -> bool:
        return [tuple(row) for row in await announced(database, table=table)] == list(rows)

    await wait_until_async(is_so, what=f"{table}: {rows}")
