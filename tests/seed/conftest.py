from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from piko.clock import SystemClock
from piko.settings import Settings
from piko.store.leases import LeaseStore
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas

PRINTED = Path(__file__).parent / "printed"


def printed(*names: str) -> str:
    """The text of files of `printed/`, one after the other, as a reader would paste them."""
    return "\n\n".join((PRINTED / name).read_text(encoding="utf-8") for name in names)


class ShiftedClock(SystemClock):
    """Goes as fast as the machine's, at another time of day."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.shift


@dataclass(slots=True)
class Trial:
    """One printed example, run in this process against MariaDB."""

    database: TestDatabase
    load: Callable[..., ModuleType]
    capture: pytest.CaptureFixture[str]
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    output: str = ""

    async def sql(self, *names: str) -> None:
        """Run the statements of files of `printed/`."""
        for name in names:
            for statement in printed(name).split(";"):
                if statement.strip():
                    await self.database.execute(statement)

    async def every_second(self, job_id: str) -> None:
        """Schedule a job for which the example prints no statement."""
        await self.database.execute(
            "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) "
            f"VALUES ('{job_id}', 'interval', '{{\"seconds\": 1}}')"
        )

    @asynccontextmanager
    async def running(self, module: ModuleType) -> AsyncIterator[Any]:
        app = module.app
        app._clock = self.clock
        settings = Settings.model_validate(
            {
                "mysql_dsn": self.database.dsn,
                "poll_interval_s": 0.2,
                "leader_renew_interval_s": 1,  # so often is the time of day asked for
            }
        )
        async with app.running(settings):
            yield app

    def set_clock(self, moment: datetime) -> None:
        """It is `moment` now, and time goes on from there."""
        self.clock.shift = moment - datetime.now(UTC)

    async def until_scheduled(self, job_id: str) -> None:
        """Wait until the job has a next due time, so that its start cannot come after it."""
        statement = f"SELECT next_run_at FROM job_state WHERE job_id = '{job_id}' AND next_run_at IS NOT NULL"
        await wait_until_async(lambda: self.database.execute(statement), what=f"{job_id} to be scheduled")

    def printed(self) -> str:
        """All that was printed so far."""
        self.output += self.capture.readouterr().out
        return self.output

    async def until_printed(self, text: str) -> str:
        """The first line of output with `text` in it."""

        def line() -> str | None:
            return next((line for line in self.printed().splitlines() if text in line), None)

        try:
            return await wait_until_async(line, what=f"{text!r} to be printed")
        except AssertionError as failure:
            failure.add_note(self.output)
            raise

    async def succeeded(self, job_id: str, count: int = 1) -> list[Any]:
        """Wait for `count` successful runs; fails at once where a run failed.

        A run may overlap with the next due time on a busy machine, which is then skipped.
        """

        async def enough() -> list[Any] | None:
            rows = await self.database.execute(
                f"SELECT state, scheduled_time, error FROM job_run WHERE job_id = '{job_id}' "
                "AND finished_at IS NOT NULL ORDER BY scheduled_time"
            )
            assert {row[0] for row in rows} <= {"SUCCESS", "SKIPPED"}, rows
            done = [row for row in rows if row[0] == "SUCCESS"]
            return done if len(done) >= count else None

        return await wait_until_async(enough, what=f"{count} successful runs of {job_id}")


@pytest.fixture
async def migrated_mariadb(mariadb: TestDatabase) -> TestDatabase:
    await upgrade(mariadb.dsn)
    return mariadb


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Imports printed files as one module."""
    loaded = []

    def load(*names: str) -> ModuleType:
        name = Path(names[0]).stem
        (tmp_path / f"{name}.py").write_text(printed(*names), encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        loaded.append(name)
        return importlib.import_module(name)

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


@pytest.fixture
def trial(
    migrated_mariadb: TestDatabase,
    load: Callable[..., ModuleType],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Trial:
    trial = Trial(database=migrated_mariadb, load=load, capture=capsys)
    now = LeaseStore.now

    async def shifted(store: LeaseStore, monotonic: Callable[[], float]) -> tuple[float, datetime, float]:
        asked_at, moment, answered_at = await now(store, monotonic)
        return asked_at, moment + trial.clock.shift, answered_at

    # What is due goes by the database's time of day, and no server lets it be set for all its sessions.
    monkeypatch.setattr(LeaseStore, "now", shifted)
    return trial


@pytest.fixture
def replicas(piko_process: PikoProcessFactory, tmp_path: Path) -> Replicas:
    """Processes that run what is written into their folder."""
    folder = tmp_path / "app"
    folder.mkdir()
    as_printed = {"PIKO_LOG_FORMAT": "text"}  # else each printed line is an event of the log
    return Replicas(start_process=piko_process, folder=folder, settings=as_printed)
