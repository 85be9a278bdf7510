"""Hooks of an app are called when jobs begin to fail, get late and recover; what they do troubles no run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from piko import JobFailure, JobLateness, JobRecovery
from piko.core.types import RunState
from piko.event_loop import run_to_end
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.shop import EVERY_SECOND, SINCE_MONDAY, Shop, settings_of, until_announced


@pytest.fixture
async def database(sqlite: TestDatabase) -> TestDatabase:
    await upgrade(sqlite.dsn)
    return sqlite


async def test_a_job_that_fails_again_and_again_is_announced_once_and_when_it_succeeds(
    database: TestDatabase, tmp_path: Path
) -> None:
    shop = Shop()
    shop.listen()
    await database.execute(EVERY_SECOND.format("orders"))
    async with shop.app.running(settings_of(database, tmp_path)):
        await until_announced(database, ("orders", "failure"))
        runs = shop.runs
        await wait_until_async(lambda: shop.runs >= runs + 3, what="three more failures")
        assert len(shop.values) == 1
        failure = shop.of(JobFailure)[0]
        assert (failure.job_id, failure.state, failure.attempt) == ("orders", RunState.FAILED, 1)
        assert failure.error_type == "ValueError"
        assert failure.text == "orders fails: ValueError: no such table"
        assert failure.scheduled_time is not None
        assert failure.owner is None
        shop.fails = False
        await until_announced(database)
        recovery = shop.of(JobRecovery)[0]
        assert recovery.text == "orders succeeds again"
        assert recovery.since == failure.finished_at
        shop.fails = True
        await wait_until_async(lambda: len(shop.of(JobFailure)) == 2, what="the next row of failures")
        assert len({value.key for value in shop.values}) == 3


async def test_a_run_that_is_tried_again_has_not_failed_yet(database: TestDatabase, tmp_path: Path) -> None:
    shop = Shop(max_attempts=3)
    shop.listen()
    await database.execute(EVERY_SECOND.format("orders"))
    await database.execute("UPDATE scheduled_job SET retry_backoff_s = 0.1, end_at = created_at")
    await database.execute(
        "INSERT INTO job_run (run_id, job_id, scheduled_time, state, trigger_type) "
        "VALUES ('r1', 'orders', '2026-01-05 06:00:00', 'QUEUED', 'manual')"
    )
    async with shop.app.running(settings_of(database, tmp_path)):
        await wait_until_async(lambda: shop.values, what="the last attempt's failure")
    assert [(value.attempt, value.consecutive_failures) for value in shop.of(JobFailure)] == [(3, 3)]


async def test_a_job_is_announced_late_once_and_fresh_again_once(
    database: TestDatabase, tmp_path: Path
) -> None:
    shop = Shop()
    shop.listen()
    await database.execute(SINCE_MONDAY.format("orders"))
    await database.execute(SINCE_MONDAY.format("foreign"))
    async with shop.app.running(settings_of(database, tmp_path)):
        await until_announced(database, ("foreign", "late"), ("orders", "late"))
        (lateness,) = shop.values
        assert isinstance(lateness, JobLateness)
        assert (lateness.job_id, lateness.objective) == ("orders", "data")
        assert lateness.deadline.isoformat() == "2026-01-05T08:00:00+00:00"
        assert lateness.reason.startswith("a run had to succeed by 2026-01-05T08:00:00Z, and no run has succ")
        await database.execute("UPDATE scheduled_job SET data_within_s = NULL WHERE job_id = 'orders'")
        await database.execute("DELETE FROM scheduled_job WHERE job_id = 'foreign'")
        await until_announced(database)
    (recovery,) = shop.of(JobRecovery)
    assert (recovery.text, recovery.since) == ("orders is fresh again", lateness.deadline)


async def test_the_next_leader_repeats_nothing_that_is_written_and_omits_nothing_that_is_so(
    database: TestDatabase, tmp_path: Path
) -> None:
    first, second = Shop(), Shop()
    first.listen()
    second.listen()
    await database.execute(SINCE_MONDAY.format("orders"))
    async with first.app.running(settings_of(database, tmp_path)):
        await until_announced(database, ("orders", "late"))
    await database.execute(SINCE_MONDAY.format("orders-2"))
    async with second.app.running(settings_of(database, tmp_path)):
        await wait_until_async(lambda: second.values, what="what has become late meanwhile")
        await until_announced(database, ("orders", "late"), ("orders-2", "late"))
    assert [value.job_id for value in first.values] == ["orders"]
    assert [value.job_id for value in second.values] == ["orders-2"]


async def test_a_hook_that_raises_is_logged_with_the_remedy_and_the_others_are_called(
    database: TestDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Shop()

    @shop.app.on_failure
    async def broken(failure: JobFailure) -> None:
        raise ConnectionError("the chat is away")

    shop.listen()
    await database.execute(EVERY_SECOND.format("orders"))
    async with shop.app.running(settings_of(database, tmp_path)):
        await until_announced(database, ("orders", "failure"))
        runs = shop.runs
        await wait_until_async(lambda: shop.runs > runs, what="runs go on")
    assert len(shop.values) == 1
    assert (shop.count("failure"), shop.count("success")) == (1.0, 1.0)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "hook_failed" in line]
    assert "ConnectionError: the chat is away" in line
    assert "no run is affected" in line


async def test_a_hook_that_exits_ends_no_replica(database: TestDatabase, tmp_path: Path) -> None:
    """On the event loop of `app.run()`, which a `SystemExit` out of a task would end otherwise."""
    shop = Shop()

    @shop.app.on_failure
    async def exiting(failure: JobFailure) -> None:
        raise SystemExit(3)

    shop.listen()

    async def replica() -> None:
        async with shop.app.running(settings_of(database, tmp_path)):
            await until_announced(database, ("orders", "failure"))
            runs = shop.runs
            await wait_until_async(lambda: shop.runs > runs, what="runs go on")

    await database.execute(EVERY_SECOND.format("orders"))
    await asyncio.to_thread(run_to_end, replica())
    assert len(shop.values) == 1, "the other hook is called"
    assert (shop.count("failure"), shop.count("success")) == (1.0, 1.0)


async def test_a_hook_that_hangs_and_ignores_its_cancellation_holds_up_no_run_and_is_not_called_meanwhile(
    database: TestDatabase, tmp_path: Path
) -> None:
    shop = Shop()
    calls, over = [], asyncio.Event()

    @shop.app.on_failure
    @shop.app.on_recovered
    async def deaf(value: JobFailure | JobRecovery) -> None:
        calls.append(value)
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    await database.execute(EVERY_SECOND.format("orders"))
    async with shop.app.running(settings_of(database, tmp_path, hook_timeout_s=0.2)):
        await until_announced(database, ("orders", "failure"))
        runs, shop.fails = shop.runs, False
        await wait_until_async(lambda: shop.runs > runs, what="runs go on")
        await until_announced(database)
        assert len(calls) == 1
        assert (shop.count("failure"), shop.count("failure", "recovered")) == (1.0, 1.0)
        over.set()
