"""A replica whose machine's clock is wrong starts nothing before its time, by the database's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from piko import PikoApp
from piko.settings import load_settings
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.leadership.clocks import WrongClock
from tests.runtime.replicas import schedule


@pytest.mark.parametrize("executor", ["leader", "replicas"])
@pytest.mark.parametrize("off_s", [7.5, -7.5])
async def test_no_window_starts_before_its_end_nor_long_after_it(
    off_s: float,
    executor: str,
    migrated_mariadb: TestDatabase,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = PikoApp(name="trial", clock=WrongClock(timedelta(seconds=off_s)))
    begun: list[tuple[datetime, datetime]] = []

    @app.job("windows", stateful=True)
    async def windows(ctx: Any, scheduled_time: datetime) -> None:
        begun.append((scheduled_time, datetime.now(UTC)))

    @app.job("ticks")
    async def ticks(ctx: Any, scheduled_time: datetime) -> None:
        begun.append((scheduled_time, datetime.now(UTC)))

    def soonest() -> timedelta:
        return min(at - due for due, at in begun)

    settings = load_settings(
        environment={},
        directory=tmp_path,
        mysql_dsn=migrated_mariadb.dsn,
        spool_dir=tmp_path / "spool",
        executor=executor,
        poll_interval_s=0.2,
    )
    async with app.running(settings):
        await schedule(migrated_mariadb, "windows")
        await schedule(migrated_mariadb, "ticks")
        await wait_until_async(
            lambda: len(begun) >= 8 and soonest() < timedelta(seconds=5),
            what="eight runs, not all of them late: a clock that is slow delays nothing",
        )
    for due, at in begun:  # this machine's clock is the server's
        assert at >= due, "it started before it was due"
    assert "clock_is_off" in capsys.readouterr().out
    rows = await migrated_mariadb.execute(
        "SELECT COUNT(*) FROM job_run WHERE started_at < scheduled_time OR finished_at < started_at"
    )
    assert rows == [(0,)], "what is recorded is by that clock, too"
    if executor == "leader":  # under the other one, nothing is claimed ahead
        assert await claimed_ahead(migrated_mariadb) > 0, (
            "a clock off by more than the horizon changes nothing"
        )


@pytest.mark.parametrize("off_s", [60, -60])
async def test_a_clock_that_is_set_while_runs_wait_for_their_time_starts_none_before_it_and_goes_on(
    off_s: float, migrated_mariadb: TestDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = WrongClock(timedelta())
    app = PikoApp(name="trial", clock=clock)
    begun: list[tuple[datetime, datetime]] = []

    @app.job("ticks")
    async def ticks(ctx: Any, scheduled_time: datetime) -> None:
        begun.append((scheduled_time, datetime.now(UTC)))

    def in_time(since: datetime) -> int:
        return sum(due > since and at - due < timedelta(seconds=5) for due, at in begun)

    settings = load_settings(
        environment={},
        directory=tmp_path,
        mysql_dsn=migrated_mariadb.dsn,
        spool_dir=tmp_path / "spool",
        leader_renew_interval_s=1,  # at which the clock is measured
    )
    async with app.running(settings):
        await schedule(migrated_mariadb, "ticks")
        since = datetime.now(UTC)
        await wait_until_async(lambda: in_time(since) >= 3, what="three runs in time")
        await wait_until_async(lambda: claimed_ahead(migrated_mariadb), what="one that was claimed ahead")
        clock.off = timedelta(seconds=off_s)
        await wait_until_async(lambda: "clock_is_off" in capsys.readouterr().out, what="that it is told of")
        since = datetime.now(UTC)
        await wait_until_async(lambda: in_time(since) >= 5, what="five more in time")
    assert all(at >= due for due, at in begun), "one started before it was due"
    assert len({due for due, _ in begun}) == len(begun), "a due time ran twice"


async def claimed_ahead(database: TestDatabase) -> int:
    """How many runs have ended that were claimed before they were due."""
    ((count,),) = await database.execute(
        "SELECT COUNT(*) FROM job_run WHERE starts_at IS NOT NULL AND state = 'SUCCESS'"
    )
    return int(count)
