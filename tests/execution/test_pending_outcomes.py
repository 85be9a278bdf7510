"""Outcomes on disk: what comes back, in which order, and what happens when the disk refuses too."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from piko.core.types import RunState, TriggerType
from piko.errors import SpoolError
from piko.execution.outcome_replay import OutcomeReplay
from piko.execution.pending_outcomes import PendingOutcomes
from piko.model.fences import Fence, InstanceFence
from piko.model.instances import Instance
from piko.model.runs import Outcome
from piko.model.watermarks import WatermarkMove
from piko.observability.metrics import Metrics
from piko.spool.outcomes import Account, OutcomeSpool, left_behind
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.runs import RunStore
from tests.harness.databases import TestDatabase
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.store.making import (
    NOW,
    lead,
    make_batch,
    make_outcome,
    make_run,
    make_window_run,
    minute,
    opened,
    window,
)

FENCE = InstanceFence(instance_id="one", epoch=1)


def spool_in(folder: Path, name: str = "one") -> OutcomeSpool:
    return OutcomeSpool.of_instance(folder, name, fsync=False)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@asynccontextmanager
async def pending_in(folder: Path, *, bound: int = 5) -> AsyncIterator[PendingOutcomes]:
    unwritten = PendingOutcomes(spool=spool_in(folder), metrics=Metrics(), bound=bound)
    yield unwritten
    await unwritten.close()


async def drained(unwritten: PendingOutcomes, most: int = 3) -> list[Outcome]:
    """Everything, as it is written batch by batch."""
    found: list[Outcome] = []
    while await unwritten.refill():
        ready = unwritten.next_batch(most)
        assert ready is not None
        _, batch = ready
        found.extend(item.outcome for item in batch)
        unwritten.written(batch)
    return found


def outcomes(number: int) -> list[Outcome]:
    return [make_outcome(make_run(at)) for at in range(number)]


EVERYTHING = make_outcome(
    make_run(3, window=window(2), priority=4, epoch=7, config_revision=2),
    RunState.FAILED,
    error_type="ValueError",
    error="zażółć \U0001f980 \\0",
    watermark=WatermarkMove(job_id="job", old=None, new=minute(1)),
    retry=make_run(
        3,
        state=RunState.QUEUED,
        attempt=2,
        trigger_type=TriggerType.RETRY,
        not_before=minute(9) + timedelta(microseconds=1),
        backfill_id="backfill",
    ),
)


@pytest.mark.parametrize("fence", [FENCE, Fence(name="default", epoch=3)], ids=["instance", "leader"])
async def test_an_outcome_comes_back_as_it_was(fence: InstanceFence | Fence, tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    recorded = [Account(outcome=EVERYTHING, fence=fence), Account(outcome=outcomes(1)[0], fence=fence)]
    await spool.put(recorded)
    assert [kept.account for kept in await spool.fetch(after=0, limit=10)] == recorded
    await spool.close()


async def test_order_stays_through_memory_and_disk_and_the_disk_is_clean_afterwards(tmp_path: Path) -> None:
    async with pending_in(tmp_path) as unwritten:
        first, second, third = (outcomes(number) for number in (12, 700, 3))
        for outcome in first:
            unwritten.put(outcome, FENCE)
        unwritten.database_is_away()
        for outcome in second:
            unwritten.put(outcome, FENCE)
        await wait_until_async(lambda: unwritten._in_memory <= 5, what="the rest to be on disk")
        assert len(unwritten) == 712
        assert len(unwritten.run_ids) == 712
        for outcome in third:
            unwritten.put(outcome, FENCE)
        assert await drained(unwritten) == [*first, *second, *third]
        assert len(unwritten) == 0
    assert files_in(tmp_path) == []


async def test_in_good_times_nothing_touches_the_disk(tmp_path: Path) -> None:
    async with pending_in(tmp_path, bound=100) as unwritten:
        for outcome in outcomes(100):
            unwritten.put(outcome, FENCE)
        assert len(await drained(unwritten)) == 100
    assert files_in(tmp_path) == []


async def test_what_is_pending_at_the_end_is_left_on_disk_once(tmp_path: Path) -> None:
    pending = outcomes(8)
    async with pending_in(tmp_path) as unwritten:
        for outcome in pending[:4]:
            unwritten.put(outcome, FENCE)
        unwritten.database_is_away()
        for outcome in pending[4:]:
            unwritten.put(outcome, FENCE)
    (spool,) = await left_behind(tmp_path)
    kept = await spool.fetch(after=0, limit=100)
    assert [item.account.outcome for item in kept if item.account] == pending
    await spool.close()


async def test_a_file_with_a_living_owner_is_left_alone(tmp_path: Path) -> None:
    living = spool_in(tmp_path, "living")
    await living.put([Account(outcome=EVERYTHING, fence=FENCE)])
    assert await left_behind(tmp_path) == []
    await living.close()
    (spool,) = await left_behind(tmp_path)
    assert await left_behind(tmp_path) == [], "the process that replays it owns it"
    await spool.close()


async def test_where_the_disk_refuses_memory_holds_up_to_the_bound_and_nothing_new_may_start(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "spool"
    folder.write_text("a file in the way")
    async with pending_in(folder) as unwritten:
        pending = outcomes(9)
        unwritten.put(pending[0], FENCE)
        unwritten.database_is_away()
        await wait_until_async(lambda: unwritten.failing, what="the disk to refuse")
        assert not unwritten.full
        for outcome in pending[1:]:
            unwritten.put(outcome, FENCE)
        assert unwritten.full
        folder.unlink()  # the disk works again
        await wait_until_async(lambda: not unwritten.failing, what="the disk to be used")
        assert not unwritten.full
        assert await drained(unwritten) == pending


# ---- replay -----------------------------------------------------------------------------------------


@asynccontextmanager
async def replaying(
    test_database: TestDatabase, folder: Path
) -> AsyncIterator[tuple[Database, OutcomeReplay, Metrics]]:
    """A database in which the instance `one` leads, and what another start of it would do."""
    async with opened(test_database) as database:
        one = Instance(instance_id="one", app="demo", host="host", pid=1, version="1.0")
        await InstanceStore(database=database).beat(one)
        metrics = Metrics()
        yield (
            database,
            OutcomeReplay(runs=RunStore(database=database), metrics=metrics, folder=folder),
            metrics,
        )


async def leave(folder: Path, recorded: list[tuple[Outcome, InstanceFence | Fence]]) -> None:
    spool = spool_in(folder, "gone")
    await spool.put([Account(outcome=outcome, fence=fence) for outcome, fence in recorded])
    await spool.close()


def recovered(metrics: Metrics) -> dict[str, float]:
    found = {}
    for how in ("recorded", "superseded", "unreadable"):
        value = metrics.registry.get_sample_value("piko_outcomes_recovered_total", {"how": how})
        if value:
            found[how] = value
    return found


async def states(database: TestDatabase) -> dict[str, str]:
    return {row[0]: row[1] for row in await database.execute("SELECT run_id, state FROM job_run")}


async def test_what_is_left_behind_is_recorded_where_the_run_is_still_open(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    async with replaying(emptied_database, tmp_path) as (database, replay, metrics):
        fence = await lead(database)
        title = InstanceFence(instance_id="one", epoch=fence.epoch)
        open_run, lost, of_another = (make_run(at) for at in range(3))
        of_another = replace(of_another, instance_id="two")
        runs = RunStore(database=database)
        await runs.claim(make_batch(open_run, lost, of_another), fence, now=NOW)
        await runs.finish([make_outcome(lost, RunState.LOST)], fence)
        unheard_of = make_run(9)
        recorded = [make_outcome(run) for run in (open_run, lost, of_another, unheard_of)]
        await leave(
            tmp_path,
            [*((outcome, title) for outcome in recorded), (recorded[0], fence), (recorded[0], title)],
        )
        await replay.replay()
        assert await states(emptied_database) == {
            open_run.run_id: "SUCCESS",
            lost.run_id: "LOST",
            of_another.run_id: "RUNNING",
        }
        assert recovered(metrics) == {"recorded": 1, "superseded": 5}
        assert files_in(tmp_path) == []
        await replay.replay()


async def test_what_follows_from_an_outcome_follows_when_it_is_recovered(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    async with replaying(emptied_database, tmp_path) as (database, replay, _):
        fence = await lead(database)
        run = make_window_run(job_id="job")
        await emptied_database.execute(
            "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, last_data_time) "
            f"VALUES ('job', 'interval', '{{}}', '{minute(0):%Y-%m-%d %H:%M:%S}')"
        )
        await RunStore(database=database).claim(make_batch(run), fence, now=NOW)
        move = WatermarkMove(job_id="job", old=minute(0), new=minute(1))
        title = InstanceFence(instance_id="one", epoch=fence.epoch)
        await leave(tmp_path, [(make_outcome(run, watermark=move), title)])
        await replay.replay()
        assert await states(emptied_database) == {run.run_id: "SUCCESS"}
        rows = await emptied_database.execute("SELECT last_data_time FROM scheduled_job")
        assert str(rows[0][0])[:19] == f"{minute(1):%Y-%m-%d %H:%M:%S}"


async def test_files_that_cannot_be_read_are_logged_and_keep_nobody_from_starting(
    sqlite: TestDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "broken.outcomes").write_bytes(b"no database" * 500)
    spool = spool_in(folder, "newer")
    await spool.put([Account(outcome=EVERYTHING, fence=FENCE)])
    assert spool._file is not None
    spool._file._connection.execute("UPDATE outcome SET body = '{}'")
    await spool.close()
    async with opened(sqlite) as database:
        metrics = Metrics()
        await OutcomeReplay(runs=RunStore(database=database), metrics=metrics, folder=folder).replay()
    assert recovered(metrics) == {"unreadable": 1}
    said = capsys.readouterr().out
    assert "outcomes_not_replayed" in said
    assert "outcome_unreadable" in said
    assert files_in(folder) == ["broken.outcomes"]


# ---- a full disk ------------------------------------------------------------------------------------

FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.execution.test_pending_outcomes import FENCE, drained, outcomes, pending_in

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    ended = outcomes(4000)
    async with pending_in(Path(sys.argv[1]), bound=50) as unwritten:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        unwritten.database_is_away()
        recorded = 0
        while not unwritten.full and recorded < len(ended):
            unwritten.put(ended[recorded], FENCE)
            recorded += 1
            await asyncio.sleep(0.0005)
            while len(unwritten) - len(unwritten._on_disk) > 500 and not unwritten.full:
                await asyncio.sleep(0.01)  # the disk is slower than this program on a busy machine
        print("full after", recorded, "on disk", len(unwritten._on_disk), unwritten.failing, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        while unwritten.full:
            await asyncio.sleep(0.05)
        back = await drained(unwritten, 500)
        print("back", len(back), back == ended[:recorded], flush=True)

asyncio.run(main())
"""


async def test_a_full_disk_stops_new_runs_and_loses_none_that_ended(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    script = tmp_path / "full.py"
    script.write_text(FULL)
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    process = piko_process(str(script), str(tmp_path / "spool"), env={"PYTHONPATH": paths}, name="full")
    assert process.wait() == 0
    line = process.wait_for_line("full after")
    assert "is its disk full, or read-only?" in line
    recorded = int(line.split()[2])
    assert 50 < recorded < 4000
    assert process.wait_for_line("back").split()[1:] == [str(recorded), "True"]


async def test_closing_with_nowhere_to_leave_outcomes_says_which_are_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "spool"
    folder.write_text("a file in the way")
    (outcome,) = outcomes(1)
    async with pending_in(folder) as unwritten:
        unwritten.put(outcome, FENCE)
    said = capsys.readouterr().out
    assert "outcomes_lost" in said
    assert outcome.run.run_id in said
    with pytest.raises(SpoolError):
        await spool_in(folder).put([Account(outcome=outcome, fence=FENCE)])
