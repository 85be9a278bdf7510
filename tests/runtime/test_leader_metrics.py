"""What only the leader knows of jobs: it alone exports it, from what the database knows on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from piko import PikoApp
from piko.settings import Settings, load_settings
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import schedule

LABELS = {"job_id": "sync"}


class Trial:
    """An app with one stateful job, and what it exports of it."""

    def __init__(self) -> None:
        self.app = PikoApp(name="trial")
        self.app.job("sync", stateful=True)(self._sync)

    async def _sync(self, ctx: Any, scheduled_time: datetime) -> None: ...

    def reported(self) -> dict[str, float]:
        """By name, without the job's next instant."""
        found = {
            what: self.app.metrics.registry.get_sample_value(f"piko_job_{what}_timestamp_seconds", LABELS)
            for what in ("last_success", "last_run", "watermark")
        }
        return {what: value for what, value in found.items() if value is not None}

    async def until_reported(self) -> None:
        await wait_until_async(lambda: len(self.reported()) == 3, what="all of it to be reported")


@pytest.mark.parametrize("executor", ["leader", "replicas"])
async def test_a_new_leader_exports_what_the_database_knows_and_the_old_one_falls_silent(
    executor: str, sqlite: TestDatabase, tmp_path: Path
) -> None:
    await upgrade(sqlite.dsn)
    await schedule(sqlite, "sync")
    first, second = Trial(), Trial()

    def settings(name: str) -> Settings:
        return load_settings(
            environment={}, directory=tmp_path, mysql_dsn=sqlite.dsn, spool_dir=tmp_path / name,
            poll_interval_s=0.1, executor=executor,
        )  # fmt: skip

    async with first.app.running(settings("first")):
        await first.until_reported()
        async with second.app.running(settings("second")) as standby:
            await wait_until_async(lambda: standby.readiness.ready, what="a standby")
            assert second.reported() == {}, "a standby knows nothing of jobs, even where it runs some"
    assert first.reported() == {}
    await sqlite.execute("UPDATE scheduled_job SET enabled = 0, version = version + 1")

    async def as_stored() -> bool:
        return second.reported() == await _stored(sqlite)

    async with second.app.running(settings("second")):
        # What the first has offered to every replica, and no one had fetched, still runs.
        await wait_until_async(as_stored, what="what the database knows to be reported")


async def _stored(database: TestDatabase) -> dict[str, float]:
    [(success, began, watermark)] = await database.execute(
        "SELECT last_success_at, last_started_at, last_data_time "
        "FROM job_state JOIN scheduled_job USING (job_id)"
    )
    stored = {"last_success": success, "last_run": began, "watermark": watermark}
    return {
        what: datetime.fromisoformat(str(value)).replace(tzinfo=UTC).timestamp()
        for what, value in stored.items()
    }
