"""Claims: each due time is won once, by a leader, whatever is cut off or comes twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from sqlalchemy.exc import OperationalError

from piko.core.types import RunState, TriggerType
from piko.errors import DatabaseUnavailableError, FencedError, RowsLockedError
from piko.model.claims import ClaimBatch
from piko.model.fences import Fence
from piko.model.runs import Outcome, PassedOver, Run
from piko.model.watermarks import WatermarkMove
from piko.store.engine import Database
from piko.store.leases import LeaseStore
from piko.store.runs import RunStore
from piko.store.schema.migrate import upgrade
from piko.store.states import StateStore
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.store.making import (
    NOW,
    count,
    fresh_id,
    lead,
    make_batch,
    make_outcome,
    make_run,
    make_state,
    make_window_run,
    minute,
    opened,
    schedule_windows,
    set_watermark,
    watermark_of,
    window,
    written,
)
from tests.store.sessions import open_session

T = TypeVar("T")


def make_passed_over(number: int = 0) -> PassedOver:
    return PassedOver(
        run_id=fresh_id(),
        job_id="job",
        state=RunState.MISSED,
        first=minute(number),
        through=minute(number + 9),
        count=10,
        reason="older than misfire_grace_s = 300",
    )


def move_over(run: Run) -> WatermarkMove | None:
    """What follows from the success of a window."""
    if run.window is None:
        return None
    return WatermarkMove(job_id=run.job_id, old=run.window.start, new=run.window.end)


# ---- plain due times ------------------------------------------------------------------------------


async def test_a_claim_writes_lock_run_and_state_in_one(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    run = make_run(priority=7)
    won = await runs.claim(make_batch(run, states=[make_state(cursor_at=minute(0))]), fence, now=NOW)
    assert won == {run.run_id: run}
    assert await runs.running() == [replace(run, epoch=1)]
    rows = await emptied_database.execute("SELECT job_id, run_id, epoch FROM job_lock")
    assert rows == [("job", run.run_id, 1)]
    state = (await StateStore(database=store).read_all())["job"]
    assert state.cursor_at == minute(0)


async def test_due_times_are_won_exactly_once_by_racing_claimers(
    store: Database, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    due_times = range(100)

    async def claimer(seed: int, runs: RunStore) -> list[int]:
        order = list(due_times)
        random.Random(seed).shuffle(order)
        won: list[int] = []
        for start in range(0, len(order), 25):
            numbers = {fresh_id(): number for number in order[start : start + 25]}
            batch = make_batch(*(make_run(number, run_id=run_id) for run_id, number in numbers.items()))
            found = await once_free(lambda batch=batch: runs.claim(batch, fence, now=NOW))  # type: ignore[misc]
            won.extend(numbers[run_id] for run_id in found)
        return won

    claimers = [claimer(seed, RunStore(database=store)) for seed in range(8)]
    wins = Counter(number for won in await asyncio.gather(*claimers) for number in won)
    assert wins == Counter(due_times), (
        "each due time is won, and by one claimer only; and none met a deadlock"
    )
    assert await count(emptied_database, "job_run") == await count(emptied_database, "job_lock") == 100
    held = "SELECT COUNT(*) FROM job_lock JOIN job_run ON job_run.run_id = job_lock.run_id"
    assert await emptied_database.execute(held) == [(100,)]


async def test_a_batch_that_is_written_twice_is_won_twice_and_leaves_one_of_each(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    batch = make_batch(
        make_run(0),
        make_run(1, state=RunState.QUEUED),
        passed_over=[make_passed_over(5)],
        states=[make_state()],
    )
    first = await runs.claim(batch, fence, now=NOW)
    assert first.keys() == {run.run_id for run in batch.runs}
    assert await runs.claim(batch, fence, now=NOW) == first
    assert await count(emptied_database, "job_run") == 3
    assert await count(emptied_database, "job_lock") == 2


async def test_a_claim_that_is_written_again_leaves_a_run_that_has_ended_meanwhile(
    store: Database, runs: RunStore
) -> None:
    fence = await lead(store)
    batch = make_batch(make_run())
    await runs.claim(batch, fence, now=NOW)
    await runs.finish([make_outcome(batch.runs[0])], fence)
    await runs.claim(batch, fence, now=NOW)
    assert await runs.running() == []


async def test_a_due_time_stays_with_its_first_claim(store: Database, runs: RunStore) -> None:
    fence = await lead(store)
    taken, free = make_run(0), make_run(1)
    await runs.claim(make_batch(taken), fence, now=NOW)
    await runs.finish([make_outcome(taken, RunState.FAILED)], fence)
    assert await runs.claim(make_batch(make_run(0), free), fence, now=NOW) == {free.run_id: free}


async def test_a_thousand_claims_are_a_handful_of_statements(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("there are no round trips to count")
    fence = await lead(store)
    plain = [make_run(number) for number in range(600)]
    windows = [make_window_run(job_id=f"windows-{number}") for number in range(200)]
    await schedule_windows(emptied_database, *(run.job_id for run in windows), watermark=minute(0))
    states = [make_state(run.job_id) for run in windows]

    async def statements() -> int:
        async with store.transaction() as connection:  # the one connection that all of this goes through
            answer = await connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Questions'")
            status: tuple[Any, ...] = tuple(answer.one())
            return int(status[1])

    before = await statements()
    assert len(await runs.claim(make_batch(*plain, *windows, states=states), fence, now=NOW)) == 800
    ended = [make_outcome(run) for run in plain]
    failed = [
        make_outcome(run, RunState.FAILED, retry=make_window_run(job_id=run.job_id, state=RunState.QUEUED))
        for run in windows
    ]
    await runs.finish([*ended, *failed], fence)
    assert await statements() - before < 60, "one for each row would be 2,600"


# ---- the fence ------------------------------------------------------------------------------------


async def test_a_deposed_leader_cannot_claim_and_nothing_of_its_batch_is_written(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    old = await lead(store)
    await lead(store, "two")
    batch = make_batch(
        make_run(),
        make_window_run(3),
        passed_over=[make_passed_over()],
        states=[make_state()],
        completed=["windows"],
        watermarks=[WatermarkMove(job_id="windows", old=minute(0), new=minute(3))],
    )
    with pytest.raises(FencedError):
        await runs.claim(batch, old, now=NOW)
    for table in ("job_run", "job_lock", "job_state"):
        assert await count(emptied_database, table) == 0
    assert await watermark_of(emptied_database) == written(minute(0))
    assert await count(emptied_database, "scheduled_job", "completed_at IS NOT NULL") == 0


async def test_a_takeover_waits_for_the_claim_in_flight_and_the_next_one_is_refused(
    emptied_database: TestDatabase,
) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    # Whoever waits here does so until the person commits, however long a busy machine takes to see it.
    async with (
        opened(emptied_database, lock_wait_s=int(PATIENCE_S)) as store,
        open_session(emptied_database.dsn) as person,
    ):
        runs, fence = RunStore(database=store), await lead(store)
        states = [make_state()]
        await StateStore(database=store).write(states, fence)
        await person.execute("BEGIN")
        await person.execute("SELECT * FROM job_state WHERE job_id = 'job' FOR UPDATE")
        claim = asyncio.create_task(runs.claim(make_batch(make_run(), states=states), fence, now=NOW))
        await _until_waiting(emptied_database, 1, what="the claim to wait for the person")
        takeover = asyncio.create_task(lead(store, "two"))
        await _until_waiting(emptied_database, 2, what="the takeover to wait for the claim")
        assert not claim.done()
        assert not takeover.done()
        await person.execute("COMMIT")
        assert len(await claim) == 1
        assert (await takeover).epoch == 2
        with pytest.raises(FencedError):
            await runs.claim(make_batch(make_run(1)), fence, now=NOW)
    assert await count(emptied_database, "job_run") == 1


async def _until_waiting(database: TestDatabase, sessions: int, *, what: str) -> None:
    """Waits until so many sessions of the database wait for locks of rows."""
    waiting = (
        "SELECT COUNT(*) FROM information_schema.innodb_trx JOIN information_schema.processlist AS session "
        "ON session.id = trx_mysql_thread_id WHERE trx_state = 'LOCK WAIT' AND db = DATABASE()"
    )

    async def reached() -> bool:
        return await database.execute(waiting) == [(sessions,)]

    # The server shows what it knew when it was last asked, unless that was 100 ms ago.
    await wait_until_async(reached, what=what, interval=0.2)


async def once_free(write: Callable[[], Awaitable[T]]) -> T:
    """`write`, again where a neighbour just holds one of its rows: what leader and ledger do, too."""
    while True:
        try:
            return await write()
        except RowsLockedError:
            await asyncio.sleep(0.01)


async def test_claims_outcomes_and_renewals_side_by_side_meet_no_deadlock(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    leases = LeaseStore(database=store)
    jobs = [f"job-{number}" for number in range(10)]
    await schedule_windows(emptied_database, *jobs, watermark=minute(0))

    async def claim(step: int) -> list[Outcome]:
        """Claim the even jobs' window or the odd ones', and a plain run of each; the outcomes to write."""
        drafted = [make_window_run(step // 2, job_id=job_id) for job_id in jobs[step % 2 :: 2]]
        drafted += [make_run(step, job_id=f"{job_id}-plain") for job_id in jobs]
        random.shuffle(drafted)
        states = [make_state(run.job_id, cursor_at=run.scheduled_time) for run in drafted]
        batch = make_batch(*drafted, states=states)
        won = await once_free(lambda: runs.claim(batch, fence, now=NOW))
        assert len(won) == len(drafted)
        return [make_outcome(run, watermark=move_over(run)) for run in drafted]

    async def renew() -> None:
        assert await leases.renew(fence, holder="one", lease_s=60)

    async def finish(outcomes: list[Outcome]) -> None:
        await once_free(lambda: runs.finish(outcomes, fence))

    ended: list[Outcome] = []
    for step in range(12):
        ended, *_ = await asyncio.gather(claim(step), finish(ended), renew(), renew())
    await finish(ended)
    assert await count(emptied_database, "job_run", "state = 'SUCCESS'") == 12 * 15
    assert {await watermark_of(emptied_database, job_id) for job_id in jobs} == {written(minute(6))}


# ---- windows --------------------------------------------------------------------------------------


async def claim_window(runs: RunStore, store: Database, number: int = 0, **values: object) -> bool:
    fence = await lead(store)
    run = make_window_run(number)
    return run.run_id in await runs.claim(make_batch(run, **values), fence, now=NOW)


@pytest.mark.parametrize("watermark", [None, minute(1), minute(-1)])
async def test_a_window_is_not_claimed_where_the_watermark_stands_elsewhere(
    watermark: object, store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=watermark)  # type: ignore[arg-type]
    assert not await claim_window(runs, store, 0)
    assert await count(emptied_database, "job_lock") == await count(emptied_database, "job_run") == 0


async def test_a_window_of_a_job_without_a_row_is_not_claimed(store: Database, runs: RunStore) -> None:
    assert not await claim_window(runs, store)


async def test_a_window_is_claimed_at_the_watermark_that_its_own_batch_jumps_to(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=None)
    jump = WatermarkMove(job_id="windows", old=None, new=minute(5))
    assert await claim_window(runs, store, 5, watermarks=[jump])
    assert await watermark_of(emptied_database) == written(minute(5))


async def test_a_jump_from_a_watermark_that_somebody_has_moved_takes_nothing_with_it(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(2))
    jump = WatermarkMove(job_id="windows", old=minute(0), new=minute(5))
    assert not await claim_window(runs, store, 5, watermarks=[jump])
    assert await watermark_of(emptied_database) == written(minute(2))


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.TIMEOUT, RunState.LOST, RunState.CANCELLED])
async def test_a_window_that_was_not_done_is_claimed_again_as_its_next_attempt(
    state: RunState, store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    fence = await lead(store)
    first, again = make_window_run(), make_window_run()
    await runs.claim(make_batch(first), fence, now=NOW)
    await runs.finish([make_outcome(first, state)], fence)
    batch = make_batch(again)
    won = await runs.claim(batch, fence, now=NOW)
    assert won == {again.run_id: replace(again, attempt=2)}
    assert await runs.claim(batch, fence, now=NOW) == won, "the second try finds the first, and its attempt"
    assert await emptied_database.execute("SELECT run_id FROM job_lock") == [(again.run_id,)]
    attempts = "SELECT attempt, state FROM job_run ORDER BY attempt"
    assert await emptied_database.execute(attempts) == [(1, state.value), (2, "RUNNING")]


async def test_a_window_that_is_in_progress_or_waits_for_its_retry_is_not_claimed_again(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    fence = await lead(store)
    first = make_window_run()
    await runs.claim(make_batch(first), fence, now=NOW)
    assert not await claim_window(runs, store)
    fence = await lead(store)
    retry = make_window_run(state=RunState.QUEUED, attempt=2, trigger_type=TriggerType.RETRY)
    await runs.finish([make_outcome(first, RunState.FAILED, retry=retry)], fence)
    assert not await claim_window(runs, store)


async def test_a_window_that_was_done_is_not_claimed_again_until_the_watermark_is_set_back(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    fence = await lead(store)
    first = make_window_run()
    await runs.claim(make_batch(first), fence, now=NOW)
    done = WatermarkMove(job_id="windows", old=minute(0), new=minute(1))
    await runs.finish([make_outcome(first, watermark=done)], fence)
    assert not await claim_window(runs, store)
    await set_watermark(emptied_database, minute(0))
    assert await claim_window(runs, store)
    attempts = "SELECT attempt, state FROM job_run ORDER BY state"
    assert await emptied_database.execute(attempts) == [(1, "RUNNING"), (1, "SUCCESS")]


async def test_a_window_whose_earlier_run_was_pruned_can_be_replayed(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    assert await claim_window(runs, store)
    await emptied_database.execute("DELETE FROM job_run")
    assert await claim_window(runs, store)


async def test_a_claimed_window_is_found_by_its_token_though_the_watermark_was_set_meanwhile(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    fence = await lead(store)
    batch = make_batch(make_window_run())
    first = await runs.claim(batch, fence, now=NOW)
    await set_watermark(emptied_database, minute(30))
    assert await runs.claim(batch, fence, now=NOW) == first != {}


async def test_a_backfill_takes_its_window_wherever_the_watermark_stands(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(50))
    fence = await lead(store)
    run = make_window_run(trigger_type=TriggerType.BACKFILL)
    assert await runs.claim(make_batch(run), fence, now=NOW) == {run.run_id: run}


async def claim_insistently(runs: RunStore, run: Run, fence: Fence) -> dict[str, Run]:
    batch = make_batch(run)
    while True:
        try:
            return await runs.claim(batch, fence, now=NOW)
        except RowsLockedError:  # by another of them
            await asyncio.sleep(0.01)


async def test_windows_of_racing_claimers_are_won_once_and_in_order(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    """An oracle: whatever several claimers try at once, what runs is what one that knows all would run."""
    await schedule_windows(emptied_database, watermark=minute(0))
    fence = await lead(store)
    done = []
    for step in range(4):
        tries = [make_window_run(number) for number in range(6) for _ in range(2)]
        random.Random(step).shuffle(tries)
        won = await asyncio.gather(*(claim_insistently(runs, run, fence) for run in tries))
        (run,) = [run for found in won for run in found.values()]
        assert run.window == window(step)
        move = WatermarkMove(job_id="windows", old=minute(step), new=minute(step + 1))
        await runs.finish([make_outcome(run, watermark=move)], fence)
        done.append(run.window)
    assert done == [window(number) for number in range(4)]


# ---- a server that dies ---------------------------------------------------------------------------


async def test_a_claim_whose_server_is_killed_in_the_middle_is_made_again_and_won_once(
    own_mariadb: DatabaseServer,
) -> None:
    test_database = await own_mariadb.create_database()
    await upgrade(test_database.dsn)
    await schedule_windows(test_database, watermark=minute(0))
    async with opened(test_database) as database:
        runs, fence = RunStore(database=database), await lead(database)
        states = [make_state()]
        await StateStore(database=database).write(states, fence)
        batch = make_batch(make_run(0), make_run(1), make_window_run(), states=states)
        await _kill_in_the_middle(own_mariadb, test_database, runs.claim(batch, fence, now=NOW))
        with pytest.raises(DatabaseUnavailableError):
            await runs.claim(batch, fence, now=NOW)
        own_mariadb.start()
        assert await count(test_database, "job_lock") == 0, "what was not committed is not there"
        won = await _insist(runs, batch, fence)
        assert won == {run.run_id for run in batch.runs}
        assert await count(test_database, "job_run") == await count(test_database, "job_lock") == 3


async def _kill_in_the_middle(
    server: DatabaseServer, test_database: TestDatabase, claim: Awaitable[object]
) -> None:
    """The claim has its locks and runs, waits for its state, and then there is no server any more."""

    async def kill() -> None:
        async with open_session(test_database.dsn) as person:
            await person.execute("BEGIN")
            await person.execute("SELECT * FROM job_state WHERE job_id = 'job' FOR UPDATE")
            task = asyncio.ensure_future(claim)
            await _until_waiting(test_database, 1, what="the claim to wait for the row of its state")
            server.kill()
            with pytest.raises(DatabaseUnavailableError):
                await task

    with pytest.raises(OperationalError):  # so the person's session ends, too
        await kill()


async def _insist(runs: RunStore, batch: ClaimBatch, fence: object) -> set[str]:
    async def attempt() -> set[str]:
        try:
            return set(await runs.claim(batch, fence, now=NOW))  # type: ignore[arg-type]
        except DatabaseUnavailableError:
            return set()  # a pooled connection of the server before

    return await wait_until_async(attempt, what="the claim to be made again")
