"""What a job has done is kept when its row goes, and given to the next one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from piko.core.types import JobStatus
from piko.errors import FencedError
from piko.model.runs import Outcome, Run
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove
from piko.store.engine import Database, open_database
from piko.store.progress import ProgressStore
from piko.store.runs import RunStore
from piko.store.schema.migrate import upgrade
from piko.store.states import StateStore
from tests.harness.databases import TestDatabase
from tests.store.making import (
    ACTOR,
    NOW,
    lead,
    make_batch,
    make_outcome,
    make_run,
    make_state,
    make_window_run,
    minute,
    schedule_windows,
    set_watermark,
    watermark_of,
    written,
)


@pytest.fixture
def kept(store: Database) -> ProgressStore:
    return ProgressStore(database=store)


def move(old: datetime | None, new: datetime, job_id: str = "windows") -> WatermarkMove:
    return WatermarkMove(job_id=job_id, old=old, new=new)


def done(run: Run) -> Outcome:
    assert run.window is not None
    return make_outcome(run, watermark=move(run.window.start, run.window.end, run.job_id))


async def through(store: Database, job_id: str = "windows") -> datetime | None:
    return (await StateStore(database=store).read([job_id]))[job_id].data_through


async def claimed(store: Database, runs: RunStore, *claimed: Run, **values: object) -> None:
    states = [make_state(job_id) for job_id in {run.job_id for run in claimed}]
    await runs.claim(make_batch(*claimed, states=states, **values), await lead(store), now=NOW)


async def test_each_move_of_a_watermark_is_copied_in_its_transaction(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=None)
    first, second = make_window_run(0), make_window_run(1)
    await claimed(store, runs, first, watermarks=[move(None, minute(0))])
    assert await through(store) == minute(0)
    await runs.finish([done(first)], await lead(store))
    assert await through(store) == minute(1)
    await claimed(store, runs, second)
    await runs.finish([done(second), make_outcome(make_run(job_id="other"))], await lead(store))
    assert await through(store) == minute(2)
    assert await watermark_of(emptied_database) == written(minute(2))


async def test_an_outcome_copies_what_somebody_set_meanwhile(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    run = make_window_run(0)
    await claimed(store, runs, run)
    await set_watermark(emptied_database, minute(40))
    await runs.finish([done(run)], await lead(store))
    assert await through(store) == minute(40)


async def test_a_claim_that_is_refused_copies_nothing(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=minute(9))
    await claimed(store, runs, make_window_run(0), watermarks=[move(None, minute(0))])
    assert await through(store) is None


@pytest.mark.parametrize("came_back", [False, True])
async def test_a_window_that_ends_without_its_row_is_done_all_the_same(
    store: Database, runs: RunStore, emptied_database: TestDatabase, came_back: bool
) -> None:
    await schedule_windows(emptied_database, watermark=minute(0))
    await schedule_windows(emptied_database, "others", watermark=minute(0))
    run, stale = make_window_run(0), make_window_run(7, job_id="others")
    await claimed(store, runs, run)
    await runs.claim(make_batch(states=[make_state("others")]), await lead(store), now=NOW)
    await ProgressStore(database=store).copy(["windows"], await lead(store))
    await emptied_database.execute("DELETE FROM scheduled_job")
    if came_back:
        await schedule_windows(emptied_database, watermark=None)
    await runs.finish([done(run), done(stale)], await lead(store))
    assert (await through(store), await through(store, "others")) == (minute(1), None)


async def test_a_new_row_gets_the_watermark_once_and_twice_over(
    store: Database, kept: ProgressStore, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, "new", watermark=None)
    await schedule_windows(emptied_database, "explicit", watermark=minute(3))
    moves = [move(None, minute(8), job_id) for job_id in ("new", "explicit", "gone")]
    for _ in range(2):  # the second is what follows a COMMIT whose answer was lost
        held = await kept.restore(moves, await lead(store))
        assert held == {"new": minute(8), "explicit": minute(3)}
    assert await watermark_of(emptied_database, "new") == written(minute(8))
    assert await watermark_of(emptied_database, "explicit") == written(minute(3))


async def test_a_row_that_somebody_holds_delays_no_other(mariadb: TestDatabase) -> None:
    await upgrade(mariadb.dsn)
    await schedule_windows(mariadb, "held", "free", watermark=None)
    store, other = open_database(mariadb.dsn), open_database(mariadb.dsn)
    try:
        async with other.transaction() as connection:
            await connection.exec_driver_sql("UPDATE scheduled_job SET priority = 1 WHERE job_id = 'held'")
            moves = [move(None, minute(8), job_id) for job_id in ("held", "free")]
            held = await ProgressStore(database=store).restore(moves, await lead(store))
    finally:
        await store.close()
        await other.close()
    assert held == {"free": minute(8)}


@pytest.mark.parametrize("value", [minute(5), None])
async def test_what_a_person_wrote_is_copied(
    store: Database, kept: ProgressStore, emptied_database: TestDatabase, value: datetime | None
) -> None:
    fence = await lead(store)
    await schedule_windows(emptied_database, watermark=minute(1))
    await StateStore(database=store).write([make_state("windows"), make_state("without a row")], fence)
    await kept.copy(["windows"], fence)
    assert await through(store) == minute(1)
    text = "NULL" if value is None else f"'{written(value)}'"
    await emptied_database.execute(f"UPDATE scheduled_job SET last_data_time = {text}")
    await kept.copy(["windows", "without a row"], fence)
    assert (await through(store), await through(store, "without a row")) == (value, None)


async def test_a_state_whose_row_went_is_kept_and_says_so(
    store: Database, kept: ProgressStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    states = StateStore(database=store)
    state = make_state("windows", cursor_at=minute(9), next_run_at=minute(10), row_created_at=minute(0))
    await schedule_windows(emptied_database, watermark=minute(9))
    await states.write([state], fence)
    await kept.copy(["windows"], fence)
    assert await kept.without_row() == {}
    await emptied_database.execute("DELETE FROM scheduled_job")
    (line,) = (await kept.without_row(["windows", "other"])).values()
    assert (line.data_through, line.cursor_at, line.row_gone_at) == (minute(9), minute(9), None)
    for later in (0, 5):  # the first word counts
        await kept.mark_deleted(["windows"], fence, now=NOW + timedelta(seconds=later))
    found = (await states.read_all())["windows"]
    assert (found.data_through, found.cursor_at, found.next_run_at) == (minute(9), minute(9), None)
    assert (found.row_gone_at, found.row_created_at, found.status) == (NOW, None, JobStatus.DISABLED)
    assert found.message is not None
    assert "piko forget" in found.message
    assert found.is_of_another_row(minute(0))


async def test_only_what_has_no_row_can_be_forgotten(
    store: Database, kept: ProgressStore, emptied_database: TestDatabase
) -> None:
    await StateStore(database=store).write([make_state("windows"), make_state("b")], await lead(store))
    await schedule_windows(emptied_database, watermark=minute(9))
    assert not await kept.forget("windows", actor=ACTOR)
    assert await kept.forget("b", actor=ACTOR)
    assert not await kept.forget("b", actor=ACTOR)
    assert (await StateStore(database=store).read_all()).keys() == {"windows"}


async def test_what_is_kept_is_pruned_by_age_and_never_where_there_is_a_row(
    store: Database, kept: ProgressStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    ages = {"old": 40, "older": 50, "young": 3, "windows": 60}
    gone = {job_id: NOW - timedelta(days=days) for job_id, days in ages.items()}
    states = [make_state(job_id, row_gone_at=moment) for job_id, moment in gone.items()]
    await StateStore(database=store).write([*states, make_state("never went")], fence)
    await schedule_windows(emptied_database, watermark=minute(9))
    before = NOW - timedelta(days=30)
    assert [await kept.prune(before, fence, limit=1) for _ in range(3)] == [1, 1, 0]
    assert (await StateStore(database=store).read_all()).keys() == {"windows", "young", "never went"}


async def test_a_deposed_leader_gives_copies_and_drops_nothing(
    store: Database, kept: ProgressStore, emptied_database: TestDatabase
) -> None:
    old = await lead(store)
    await schedule_windows(emptied_database, watermark=None)
    before: JobState = make_state("gone", row_gone_at=minute(0))
    await StateStore(database=store).write([before, make_state("windows")], old)
    await lead(store, "two")
    calls = [
        kept.restore([move(None, minute(1))], old),
        kept.copy(["windows"], old),
        kept.mark_deleted(["windows"], old, now=NOW),
        kept.prune(NOW, old, limit=9),
    ]
    for call in calls:
        with pytest.raises(FencedError):
            await call
    found = await StateStore(database=store).read_all()
    assert found == {"gone": replace(before), "windows": make_state("windows")}
    assert await watermark_of(emptied_database) == "None"


def test_a_state_knows_the_row_that_it_speaks_of() -> None:
    assert not make_state().is_of_another_row(minute(1)), "the first row of the job"
    assert not make_state(row_created_at=minute(1)).is_of_another_row(minute(1))
    assert make_state(row_created_at=minute(1)).is_of_another_row(minute(2))
    assert make_state(row_gone_at=minute(1)).is_of_another_row(minute(0))
