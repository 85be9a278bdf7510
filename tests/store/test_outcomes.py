"""Starts and ends of runs: recorded once, under the fence, and what follows from them with them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from piko.core.types import FINAL_STATES, RunState, TriggerType
from piko.errors import FencedError
from piko.model.changes import Actor
from piko.model.fences import Fence, InstanceFence, OutcomeFence
from piko.model.runs import Run
from piko.model.watermarks import WatermarkMove
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.leases import LeaseStore
from piko.store.progress import ProgressStore
from piko.store.run_acts import RunActs
from piko.store.run_rows import OUTCOME_COLUMNS
from piko.store.runs import RunStore
from piko.store.states import FIELDS, LAST, PLAN, StateStore
from tests.harness.databases import TestDatabase
from tests.store.making import (
    ACTOR,
    NOW,
    count,
    fresh_id,
    lead,
    make_batch,
    make_instance,
    make_outcome,
    make_run,
    make_state,
    make_window_run,
    minute,
    schedule_windows,
    set_watermark,
    watermark_of,
    with_outcome,
    written,
)


async def state_of(database: TestDatabase, run_id: str) -> str:
    rows = await database.execute(f"SELECT state FROM job_run WHERE run_id = '{run_id}'")
    return str(rows[0][0])


async def claim(runs: RunStore, store: Database, *claimed: Run) -> None:
    await runs.claim(make_batch(*claimed), await lead(store), now=NOW)


# ---- what waits -----------------------------------------------------------------------------------


async def test_what_waits_is_told_with_the_highest_priority_first_then_the_oldest(
    store: Database, runs: RunStore
) -> None:
    waiting = [
        make_run(number, state=RunState.QUEUED, priority=priority)
        for number, priority in [(3, 0), (1, 0), (2, 5), (9, 5)]
    ]
    await claim(runs, store, *waiting, make_run(50))
    told = [(run.scheduled_time, run.priority) for run in await runs.queued()]
    assert told == [(minute(2), 5), (minute(9), 5), (minute(1), 0), (minute(3), 0)]
    assert len(await runs.queued(limit=3)) == 3
    assert replace((await runs.queued())[0], epoch=None) in waiting


async def test_the_age_of_the_queue_is_that_of_the_oldest_run_that_only_needs_a_slot(
    store: Database, runs: RunStore
) -> None:
    later = NOW + timedelta(hours=1)
    assert await runs.waiting_since(now=NOW) is None
    await claim(
        runs,
        store,
        make_run(1, job_id="busy"),
        make_run(2, job_id="busy", state=RunState.QUEUED, not_before=minute(2)),
        make_run(3, job_id="retries", state=RunState.QUEUED, not_before=later),
        make_run(4, job_id="backfilled", state=RunState.QUEUED, not_before=minute(4), backfill_id="b"),
    )
    assert await runs.waiting_since(now=NOW) is None, "they wait for something else than a slot"
    assert await runs.waiting_since(now=later) == later
    offered = make_run(5, job_id="busy", state=RunState.QUEUED, not_before=minute(5), offered_at=NOW)
    await claim(runs, store, make_run(6, job_id="idle", state=RunState.QUEUED, not_before=minute(6)), offered)
    assert await runs.waiting_since(now=NOW) == minute(5), "a replica may fetch what is offered"


async def test_a_run_that_waits_is_started_once(store: Database, runs: RunStore) -> None:
    waiting = make_run(state=RunState.QUEUED)
    await claim(runs, store, waiting)
    fence = await lead(store)
    starting = replace(waiting, state=RunState.RUNNING, instance_id="one")
    assert await runs.start([starting], fence, now=NOW) == {waiting.run_id}
    assert await runs.start([starting], fence, now=NOW) == {waiting.run_id}, "found again after a cut COMMIT"
    assert await runs.start([replace(starting, instance_id="two")], fence, now=NOW) == set()
    (running,) = await runs.running()
    assert (running.run_id, running.instance_id, running.epoch) == (waiting.run_id, "one", 2)


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
async def test_a_run_that_was_ended_while_it_waited_is_not_started(
    state: RunState, store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    waiting = make_run(state=RunState.QUEUED)
    await claim(runs, store, waiting)
    await emptied_database.execute(f"UPDATE job_run SET state = '{state.value}'")
    assert await runs.start([replace(waiting, instance_id="one")], await lead(store), now=NOW) == set()
    assert await state_of(emptied_database, waiting.run_id) == state


async def test_a_window_that_waits_is_skipped_once_the_watermark_has_been_set_elsewhere(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    waiting = make_window_run(state=RunState.QUEUED)
    plain = make_run(state=RunState.QUEUED)
    await claim(runs, store, waiting, plain)
    await set_watermark(emptied_database, minute(60))
    starting = [replace(run, instance_id="one") for run in (waiting, plain)]
    assert await runs.start(starting, await lead(store), now=NOW) == {plain.run_id}
    assert await state_of(emptied_database, waiting.run_id) == RunState.SKIPPED


async def test_a_run_from_outside_waits_without_lock_and_fence(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    run = make_run(state=RunState.QUEUED, trigger_type=TriggerType.MANUAL)
    await RunActs(database=store).queue(run, actor=Actor(who="somebody", via="cli"), what="trigger")
    assert await runs.queued() == [run]
    assert await count(emptied_database, "job_lock") == 0


# ---- ends -----------------------------------------------------------------------------------------


async def test_an_end_is_recorded_with_what_is_known_of_it(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    run = make_run()
    await claim(runs, store, run)
    outcome = make_outcome(
        run, RunState.FAILED, config_revision=3, error_type="ValueError", error="no — 好\nTraceback"
    )
    assert await runs.finish([outcome], await lead(store)) == {run.run_id}
    (row,) = await emptied_database.execute(
        "SELECT state, duration_s, config_revision, error_type, error FROM job_run"
    )
    assert row == ("FAILED", 1.5, 3, "ValueError", "no — 好\nTraceback")
    assert await runs.running() == []


async def test_an_end_that_is_told_twice_is_recorded_once(store: Database, runs: RunStore) -> None:
    run = make_run()
    await claim(runs, store, run)
    fence, outcome = await lead(store), make_outcome(run)
    assert await runs.finish([outcome], fence) == {run.run_id}
    assert await runs.finish([outcome], fence) == {run.run_id}


async def test_a_run_keeps_its_first_end_and_a_later_one_has_no_effect(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    run = make_window_run()
    await claim(runs, store, run)
    fence = await lead(store)
    await StateStore(database=store).write([make_state("windows")], fence)
    retry = make_window_run(state=RunState.QUEUED, attempt=2, trigger_type=TriggerType.RETRY)
    await runs.finish([make_outcome(run, RunState.LOST, started_at=None, retry=retry)], fence)
    late = make_outcome(
        run,
        watermark=WatermarkMove(job_id="windows", old=minute(0), new=minute(1)),
        retry=make_window_run(state=RunState.QUEUED),
    )
    assert await runs.finish([late], fence) == set()
    assert await state_of(emptied_database, run.run_id) == RunState.LOST
    assert await watermark_of(emptied_database) == written(minute(0))
    assert [waiting.run_id for waiting in await runs.queued()] == [retry.run_id]
    assert (await StateStore(database=store).read_all())["windows"].last_state == "LOST"


async def test_a_run_that_is_given_up_keeps_when_it_started(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    run = make_run()
    await claim(runs, store, run)
    await runs.finish([make_outcome(run, RunState.LOST, started_at=None)], await lead(store))
    assert await count(emptied_database, "job_run", "state = 'LOST' AND started_at IS NOT NULL") == 1


async def test_a_chain_of_retries_hands_the_lock_from_run_to_run(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    chain = [make_run(attempt=attempt) for attempt in (1, 2, 3)]
    await runs.claim(make_batch(chain[0]), fence, now=NOW)
    for run, following in zip(chain, [*chain[1:], None], strict=True):
        assert await emptied_database.execute("SELECT run_id FROM job_lock") == [(run.run_id,)]
        retry = None
        if following is not None:
            retry = replace(
                following,
                state=RunState.QUEUED,
                instance_id=None,
                trigger_type=TriggerType.RETRY,
                not_before=NOW + timedelta(seconds=10),
            )
        await runs.finish([make_outcome(run, RunState.FAILED, retry=retry)], fence)
        if following is not None and retry is not None:
            assert [replace(waiting, epoch=None) for waiting in await runs.queued()] == [retry]
            assert await runs.start([following], fence, now=NOW) == {following.run_id}
    rows = await emptied_database.execute("SELECT attempt, trigger_type, state FROM job_run ORDER BY attempt")
    assert rows == [(1, "schedule", "FAILED"), (2, "retry", "FAILED"), (3, "retry", "FAILED")]
    assert await count(emptied_database, "job_lock") == 1


async def test_a_lock_that_is_no_longer_the_runs_own_is_not_handed_over(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    run = make_run()
    await claim(runs, store, run)
    await emptied_database.execute("UPDATE job_lock SET run_id = 'another'")
    retry = make_run(state=RunState.QUEUED, attempt=2)
    await runs.finish([make_outcome(run, RunState.FAILED, retry=retry)], await lead(store))
    assert await emptied_database.execute("SELECT run_id FROM job_lock") == [("another",)]


@pytest.mark.parametrize(
    ("stands_at", "afterwards"),
    [(minute(0), minute(1)), (minute(9), minute(9)), (minute(-9), minute(-9))],
    ids=["as claimed", "set forward meanwhile", "set back meanwhile"],
)
async def test_success_moves_the_watermark_only_from_where_the_window_began(
    stands_at: object, afterwards: object, store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    run = make_window_run()
    await claim(runs, store, run)
    await set_watermark(emptied_database, stands_at)  # type: ignore[arg-type]
    move = WatermarkMove(job_id="windows", old=minute(0), new=minute(1))
    assert await runs.finish([make_outcome(run, watermark=move)], await lead(store)) == {run.run_id}
    assert await watermark_of(emptied_database) == written(afterwards)  # type: ignore[arg-type]


async def test_many_watermarks_move_each_to_its_own_place(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    windows = [make_window_run(number, job_id=f"windows-{number}") for number in range(5)]
    for number, run in enumerate(windows):
        await schedule_windows(emptied_database, run.job_id, watermark=minute(number))
    await claim(runs, store, *windows)
    outcomes = [
        make_outcome(
            run, watermark=WatermarkMove(job_id=run.job_id, old=minute(number), new=minute(number + 1))
        )
        for number, run in enumerate(windows)
    ]
    await runs.finish(outcomes, await lead(store))
    for number, run in enumerate(windows):
        assert await watermark_of(emptied_database, run.job_id) == written(minute(number + 1))


async def test_a_deposed_leader_cannot_start_or_finish_and_nothing_is_written(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    running, waiting = make_window_run(), make_run(state=RunState.QUEUED)
    await claim(runs, store, running, waiting)
    old = await lead(store)
    await StateStore(database=store).write([make_state("windows")], old)
    await lead(store, "two")
    with pytest.raises(FencedError):
        await runs.start([replace(waiting, instance_id="one")], old, now=NOW)
    outcome = make_outcome(
        running,
        watermark=WatermarkMove(job_id="windows", old=minute(0), new=minute(1)),
        retry=make_run(9, state=RunState.QUEUED),
    )
    with pytest.raises(FencedError):
        await runs.finish([outcome], old)
    assert await state_of(emptied_database, running.run_id) == RunState.RUNNING
    assert [run.run_id for run in await runs.queued()] == [waiting.run_id]
    assert await watermark_of(emptied_database) == written(minute(0))
    assert (await StateStore(database=store).read_all())["windows"].last_state is None


# ---- titles ---------------------------------------------------------------------------------------


async def title(store: Database, fence: Fence, instance_id: str = "one") -> InstanceFence:
    """What a replica that lives may record."""
    await InstanceStore(database=store).beat(make_instance(instance_id))
    return InstanceFence(instance_id=instance_id, epoch=fence.epoch)


async def test_who_released_leadership_records_how_its_own_runs_ended(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    old = await lead(store)
    run = make_window_run()
    await runs.claim(make_batch(run, states=[make_state("windows")]), old, now=NOW)
    ours = await title(store, old)
    await LeaseStore(database=store).release(old.name, holder="one")
    await lead(store, "two")
    move = WatermarkMove(job_id="windows", old=minute(0), new=minute(1))
    assert await runs.finish([make_outcome(run, watermark=move)], ours) == {run.run_id}
    assert await watermark_of(emptied_database) == written(minute(1))
    assert (await StateStore(database=store).read_all())["windows"].last_state == "SUCCESS"


async def test_who_had_leadership_taken_away_records_nothing_of_it(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    old = await lead(store)
    run, later = make_run(), make_run(1)
    await runs.claim(make_batch(run), old, now=NOW)
    ours = await title(store, old)
    await lead(store, "two")
    with pytest.raises(FencedError, match=r"lost its leadership of epoch 1 .* nothing was written"):
        await runs.finish([make_outcome(run)], ours)
    assert await state_of(emptied_database, run.run_id) == RunState.RUNNING
    again = await lead(store)
    await runs.claim(make_batch(later), again, now=NOW)
    assert await runs.finish([make_outcome(later)], await title(store, again)) == {later.run_id}
    with pytest.raises(FencedError):
        await runs.finish([make_outcome(run)], ours)


async def test_an_instance_that_nobody_knows_records_nothing(store: Database, runs: RunStore) -> None:
    run = make_run()
    await claim(runs, store, run)
    with pytest.raises(FencedError, match="has no row in runtime_instance"):
        await runs.finish([make_outcome(run)], InstanceFence(instance_id="one", epoch=9))


async def test_nobody_records_the_end_of_anothers_run(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    run = make_run()
    await runs.claim(make_batch(run), fence, now=NOW)
    assert await runs.finish([make_outcome(run)], await title(store, fence, "two")) == set()
    assert await state_of(emptied_database, run.run_id) == RunState.RUNNING


def test_a_record_of_an_end_leaves_alone_what_the_claim_wrote() -> None:
    assert not set(OUTCOME_COLUMNS) & {
        "run_id",
        "job_id",
        "scheduled_time",
        "attempt",
        "epoch",
        "instance_id",
    }


# ---- states ---------------------------------------------------------------------------------------


def test_claims_and_outcomes_write_columns_of_their_own() -> None:
    assert set(PLAN) & set(LAST) == {"epoch"}
    assert set(PLAN) | set(LAST) == {*FIELDS, "epoch"} - {"job_id", "data_through"}


async def test_neither_claims_nor_outcomes_touch_what_the_other_wrote(
    store: Database, runs: RunStore
) -> None:
    fence = await lead(store)
    states = StateStore(database=store)
    planned = make_state(
        message="due", schedule_hash="h", observed_version=2, cursor_at=minute(1), next_run_at=minute(2)
    )
    run = make_run()
    await runs.claim(make_batch(run, states=[planned]), fence, now=NOW)
    outcome = make_outcome(run, RunState.FAILED, error="no")
    await runs.finish([outcome], fence)
    both = with_outcome(planned, outcome)
    assert await states.read_all() == {"job": both}
    again = replace(planned, cursor_at=minute(2), message=None)
    await states.write([again], fence)
    assert await states.read_all() == {"job": replace(both, cursor_at=minute(2), message=None)}


@pytest.mark.parametrize("seed", range(4))
async def test_summaries_add_up_whoever_writes_them_and_however_they_are_batched(
    seed: int, store: Database, runs: RunStore
) -> None:
    chance = random.Random(seed)
    fence = await lead(store)
    jobs = ["job", "other", "quiet"]
    told = {job_id: make_state(job_id, consecutive_failures=0) for job_id in jobs}
    begun = [make_run(number, job_id=chance.choice(jobs[:2])) for number in range(40)]
    await runs.claim(make_batch(*begun, states=list(told.values())), fence, now=NOW)
    ends = [RunState.SUCCESS, RunState.FAILED, RunState.TIMEOUT, RunState.LOST, RunState.CANCELLED]
    fences: list[OutcomeFence] = [fence, await title(store, fence)]
    while begun:
        now = [begun.pop(0) for _ in range(min(chance.randrange(1, 9), len(begun)))]
        outcomes = [
            make_outcome(
                run,
                state,
                error=None if state is RunState.SUCCESS else "why",
                started_at=None if state is RunState.LOST else NOW,  # who gives it up does not know
            )
            for run, state in zip(now, chance.choices(ends, [3, 2, 1, 1, 1], k=len(now)), strict=True)
        ]
        await runs.finish(outcomes, chance.choice(fences))
        for outcome in outcomes:
            begun_at_its_claim = replace(outcome, started_at=NOW)
            told[outcome.run.job_id] = with_outcome(told[outcome.run.job_id], begun_at_its_claim)
        assert await StateStore(database=store).read_all() == told


async def test_a_late_end_does_not_bring_back_the_state_of_a_job_that_was_forgotten(
    store: Database, runs: RunStore
) -> None:
    fence = await lead(store)
    states = StateStore(database=store)
    run, other = make_run(), make_run(job_id="other")
    await runs.claim(make_batch(run, other, states=[make_state(), make_state("other")]), fence, now=NOW)
    assert await ProgressStore(database=store).forget("job", actor=ACTOR)
    ended = [make_outcome(each) for each in (run, other)]
    assert await runs.finish(ended, fence) == {run.run_id, other.run_id}
    assert (await states.read_all()).keys() == {"other"}


async def test_a_deposed_leader_cannot_write_states(store: Database) -> None:
    old = await lead(store)
    states = StateStore(database=store)
    await states.write([make_state(message="before")], old)
    await lead(store, "two")
    with pytest.raises(FencedError):
        await states.write([make_state(message="after"), make_state("another")], old)
    assert await states.read_all() == {"job": make_state(message="before")}


async def test_runs_of_jobs_that_were_forgotten_stay_as_history(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    await runs.claim(make_batch(make_run(run_id=fresh_id()), states=[make_state()]), fence, now=NOW)
    assert await ProgressStore(database=store).forget("job", actor=ACTOR)
    assert await count(emptied_database, "job_run") == 1
