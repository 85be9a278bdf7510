"""Between claim and instant: an edit, a stop, a crash. The clock stands still until the test says so."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from piko import PikoApp
from piko.clock import SystemClock
from piko.core.types import RunState
from piko.model.claims import ClaimBatch
from piko.model.fences import Fence
from piko.model.instances import Instance
from piko.model.runs import Run
from piko.replica.running import RunningReplica
from piko.settings import Settings, load_settings
from piko.store.instances import InstanceStore
from piko.store.leases import LeaseStore
from piko.store.runs import RunStore
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.runtime.replicas import schedule
from tests.store.making import opened

SHORT_OF = timedelta(milliseconds=50)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


class HeldClock(SystemClock):
    """The machine's clock, whose time of day does not pass `limit`."""

    def __init__(self) -> None:
        self.limit: datetime | None = None

    def now(self) -> datetime:
        now = super().now()
        return now if self.limit is None else min(now, self.limit)


class Stage:
    """A job of an hour that is due soon, in replicas of this process whose clocks stop just before."""

    def __init__(self, database: TestDatabase, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.clock = HeldClock()
        self.instant = FAR
        self.begun: list[tuple[str, int, datetime]] = []
        self.called = asyncio.Event()

    async def schedule(self) -> None:
        """Let the job be due in a moment; the clock stops just before.

        A row that a busy machine writes after its instant is written again: it would be due an hour later.
        """
        statement, written_at = "", FAR
        while written_at >= self.instant:
            self.instant = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
            self.clock.limit = self.instant - SHORT_OF
            expression = json.dumps({"hours": 1, "start_date": self.instant.isoformat()})
            if statement:
                await self.database.execute(statement.format(expression))
            else:
                await schedule(self.database, "job", expression, max_attempts=2)
            statement = "UPDATE scheduled_job SET schedule_expr = '{}'"
            ((text,),) = await self.database.execute("SELECT updated_at FROM scheduled_job")
            written_at = datetime.fromisoformat(text).replace(tzinfo=UTC)

    def app(self) -> PikoApp:
        app = PikoApp(name="trial", clock=self.clock)

        @app.job(job_id="job")
        async def job(ctx: Any, scheduled_time: datetime) -> None:
            self.begun.append((ctx.run_id, ctx.attempt, self.clock.now()))
            self.called.set()

        return app

    @property
    def settings(self) -> Settings:
        return load_settings(
            environment={},
            directory=self.folder,
            mysql_dsn=self.database.dsn,
            spool_dir=self.folder / "spool",
            leader_lease_s=3600,
            leader_renew_interval_s=1200,  # at which the clock would be corrected
            poll_interval_s=0.2,
        )

    async def rows(self, condition: str) -> list[tuple[Any, ...]]:
        """Id, error and start of the runs of which `condition` holds."""
        return await self.database.execute(f"SELECT run_id, error, started_at FROM job_run WHERE {condition}")

    async def until_one(self, condition: str) -> tuple[Any, ...]:
        """Wait for the one run of which `condition` holds."""

        async def found() -> tuple[Any, ...] | None:
            rows = await self.rows(condition)
            return rows[0] if len(rows) == 1 else None

        row: tuple[Any, ...] = await wait_until_async(found, what=condition)
        return row

    async def until_upcoming(self, replica: RunningReplica | None = None) -> str:
        """Wait for the run that is claimed ahead; scheduled once `replica` leads, and knows the time."""
        if replica is not None:
            await wait_until_async(lambda: replica.readiness.ready, what="it to lead")
            await self.schedule()
        row = await self.until_one("state = 'RUNNING' AND starts_at IS NOT NULL")
        assert self.begun == []
        return str(row[0])

    async def until_called(self) -> None:
        self.clock.limit = None
        await asyncio.wait_for(self.called.wait(), PATIENCE_S)


@pytest.fixture
async def stage(sqlite: TestDatabase, tmp_path: Path) -> Stage:
    await upgrade(sqlite.dsn)
    return Stage(sqlite, tmp_path)


async def test_a_pause_between_claim_and_instant_takes_the_claim_back_and_resuming_claims_it_again(
    stage: Stage,
) -> None:
    async with stage.app().running(stage.settings) as replica:
        taken_back = await stage.until_upcoming(replica)
        await stage.database.execute("UPDATE scheduled_job SET enabled = 0")
        run_id, error, started_at = await stage.until_one("state = 'CANCELLED'")
        assert (run_id, started_at) == (taken_back, None)
        assert error.startswith("taken back before it started: its schedule was paused")
        await stage.database.execute("UPDATE scheduled_job SET enabled = 1")
        again = await stage.until_upcoming()
        await stage.until_called()
        await stage.until_one("state = 'SUCCESS'")
    ((run_id, attempt, moment),) = stage.begun
    assert (run_id, attempt) == (again, 1)
    assert moment >= stage.instant


async def test_an_upcoming_run_that_is_cancelled_by_hand_never_starts(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    async with stage.app().running(stage.settings) as replica:
        await stage.until_upcoming(replica)
        await stage.database.execute("UPDATE job_run SET state = 'CANCELLED', finished_at = '2026-01-01'")
        await wait_until_async(
            lambda: "run_cancelled_by_row" in capsys.readouterr().out, what="the row to be seen"
        )
        stage.clock.limit = None
        await stage.until_one("state = 'CANCELLED'")
    assert stage.begun == []


async def test_a_stop_leaves_what_it_has_claimed_ahead_to_the_next_leader(stage: Stage) -> None:
    async with stage.app().running(stage.settings) as replica:
        run_id = await stage.until_upcoming(replica)
    assert (await stage.until_one("state = 'QUEUED' AND not_before IS NOT NULL"))[0] == run_id
    stage.clock.limit = None  # a new leader would correct a clock that stands still, and begin
    async with stage.app().running(stage.settings):
        await stage.until_called()
        await stage.until_one("state = 'SUCCESS'")
    ((begun, attempt, moment),) = stage.begun
    assert (begun, attempt) == (run_id, 1)
    assert moment >= stage.instant


@pytest.mark.parametrize("marked", [False, True])
async def test_after_a_crash_only_what_may_have_begun_is_lost(stage: Stage, *, marked: bool) -> None:
    """A leader has claimed ahead and died; whether it had begun, its start mark tells."""
    await stage.schedule()
    gone = Instance(instance_id="gone", app="trial", host="gone", pid=1, version="0")
    name = stage.settings.leader_name
    async with opened(stage.database) as database:
        instances, runs = InstanceStore(database=database), RunStore(database=database)
        await instances.beat(gone)
        epoch = await LeaseStore(database=database).acquire(name, holder="gone", host="gone", lease_s=0.001)
        assert epoch is not None
        run = Run(
            run_id="claimed-ahead",
            job_id="job",
            scheduled_time=stage.instant,
            state=RunState.RUNNING,
            instance_id="gone",
            starts_at=stage.instant,
        )
        batch = ClaimBatch(token="token", runs=[run], passed_over=(), states=())
        await runs.claim(batch, Fence(name=name, epoch=epoch), now=stage.instant - timedelta(seconds=1))
        if marked:
            assert await instances.mark_starts("gone", epoch=epoch, until=stage.instant)
            await stage.database.execute("UPDATE runtime_instance SET heartbeat_at = '2020-01-01'")
    stage.clock.limit = None
    async with stage.app().running(stage.settings):
        await stage.until_called()
    ((run_id, attempt, moment),) = stage.begun
    assert moment >= stage.instant
    if marked:
        assert await stage.rows("run_id = 'claimed-ahead' AND state = 'LOST'")
        assert attempt == 2
    else:
        assert (run_id, attempt) == ("claimed-ahead", 1)
