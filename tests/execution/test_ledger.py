"""Outcomes on their way: in batches, kept while the database is away, dropped where the fence refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from piko.background.backoff import Backoff
from piko.clock import SystemClock
from piko.core.types import RunState
from piko.execution import pending_outcomes
from piko.execution.held_jobs import HeldJobs
from piko.execution.ledger import Ledger
from piko.execution.outcome_replay import OutcomeReplay
from piko.model.fences import Fence, InstanceFence, OutcomeFence
from piko.model.runs import Outcome
from piko.model.watermarks import WatermarkMove
from piko.observability.metrics import Metrics
from piko.spool.outcomes import OutcomeSpool
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.runs import RunStore
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.store.cutting import cuttable
from tests.store.making import (
    NOW,
    count,
    lead,
    make_batch,
    make_instance,
    make_outcome,
    make_run,
    make_window_run,
    minute,
    opened,
    schedule_windows,
)
from tests.store.poison import WORDS, refusing


class Bench:
    """A ledger, and what it recorded of its batches."""

    def __init__(self, database: Database, folder: Path, **values: Any) -> None:
        self.recorded: list[list[Outcome]] = []
        self.refused: list[tuple[list[Outcome], OutcomeFence]] = []
        self.settled: list[tuple[set[str], dict[str, str]]] = []
        self.metrics = Metrics()
        self.runs = RunStore(database=database)
        self.ledger = Ledger(
            runs=self.runs,
            spool=OutcomeSpool.of_instance(folder, "one", fsync=False),
            metrics=self.metrics,
            recorded=self.recorded.append,
            refused=lambda outcomes, fence: self.refused.append((outcomes, fence)),
            settled=lambda taken, refused: self.settled.append((taken, refused)),
            held=HeldJobs(writer="outcomes", clock=SystemClock(), metrics=self.metrics),
            **values,
        )

    async def claim(self, fence: Fence, number: int) -> list[Outcome]:
        """That many runs, and how they ended."""
        claimed = [make_run(minute) for minute in range(number)]
        await self.runs.claim(make_batch(*claimed), fence, now=NOW)
        return [make_outcome(run) for run in claimed]

    def put(self, outcomes: list[Outcome], fence: Fence) -> None:
        for outcome in outcomes:
            self.ledger.put(outcome, fence)

    async def flushed(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.ledger.flushed()

    async def flush(self) -> None:
        await self.flushed()
        assert len(self.ledger) == 0

    def ended(self, state: RunState) -> float:
        value = self.metrics.registry.get_sample_value(
            "piko_job_run_total", {"job_id": "job", "status": state.value}
        )
        return value or 0.0


@asynccontextmanager
async def working(database: Database, folder: Path, **values: Any) -> AsyncIterator[Bench]:
    bench = Bench(database, folder, **values)
    task = asyncio.create_task(bench.ledger.run())
    try:
        yield bench
        assert not task.done(), "the ledger ended by itself"
    finally:
        task.cancel()
        await asyncio.wait({task})
        await bench.ledger.close()


@pytest.fixture
async def bench(emptied_database: TestDatabase, tmp_path: Path) -> AsyncIterator[tuple[Bench, Database]]:
    async with opened(emptied_database) as database, working(database, tmp_path) as made:
        yield made, database


async def test_what_arrives_while_a_batch_is_written_is_the_next_batch(
    bench: tuple[Bench, Database], emptied_database: TestDatabase
) -> None:
    made, database = bench
    fence = await lead(database)
    outcomes = await made.claim(fence, 1201)
    made.put(outcomes[:1], fence)
    await asyncio.sleep(0)  # the ledger has taken it up
    made.put(outcomes[1:], fence)
    await made.flush()
    assert [len(batch) for batch in made.recorded] == [1, 900, 300]
    assert [outcome for batch in made.recorded for outcome in batch] == outcomes
    assert await count(emptied_database, "job_run", "state = 'SUCCESS'") == 1201
    assert made.ended(RunState.SUCCESS) == 1201


async def test_an_empty_ledger_is_flushed(bench: tuple[Bench, Database]) -> None:
    await bench[0].flush()


async def test_outcomes_that_the_fence_refuses_are_dropped_and_reported(
    bench: tuple[Bench, Database], emptied_database: TestDatabase
) -> None:
    made, database = bench
    old = await lead(database)
    outcomes = await made.claim(old, 3)
    new = await lead(database, "two")
    (later,) = [make_outcome(run) for run in (make_run(50),)]
    await made.runs.claim(make_batch(later.run), new, now=NOW)
    made.put(outcomes, old)
    made.put([later], new)
    await made.flush()
    assert made.refused == [(outcomes, old)]
    assert made.recorded == [[later]]
    assert await count(emptied_database, "job_run", "state = 'RUNNING'") == 3
    assert made.ended(RunState.SUCCESS) == 1, "what was refused is not counted"


async def test_an_outcome_of_a_run_that_ended_in_another_way_frees_its_place_and_does_nothing_else(
    bench: tuple[Bench, Database], emptied_database: TestDatabase
) -> None:
    made, database = bench
    await schedule_windows(emptied_database, "job", watermark=minute(0))
    fence = await lead(database)
    run = make_window_run(job_id="job")
    await made.runs.claim(make_batch(run), fence, now=NOW)
    lost = make_outcome(run, RunState.LOST)
    late = make_outcome(run, watermark=WatermarkMove(job_id="job", old=minute(0), new=minute(1)))
    made.put([lost, late], fence)
    await made.flush()
    recorded = [outcome for batch in made.recorded for outcome in batch]
    assert [(outcome.state, outcome.watermark) for outcome in recorded] == [
        (RunState.LOST, None),
        (RunState.SUCCESS, None),
    ]
    assert await count(emptied_database, "job_run", "state = 'LOST'") == 1
    assert (made.ended(RunState.LOST), made.ended(RunState.SUCCESS)) == (1, 0)


async def test_outcomes_are_kept_while_the_database_is_away_and_written_when_it_returns(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("there is no way that could be cut")
    async with (
        cuttable(emptied_database) as (way, beyond),
        opened(beyond) as database,
        working(database, tmp_path) as bench,
    ):
        fence = await lead(database)
        outcomes = await bench.claim(fence, 3)
        way.close()
        bench.put(outcomes[:2], fence)

        def failed() -> bool:
            return bool(bench.metrics.registry.get_sample_value("piko_db_errors_total", {"part": "ledger"}))

        await wait_until_async(failed, what="the ledger to meet a database that is away")
        bench.put(outcomes[2:], fence)
        assert len(bench.ledger) == 3
        assert bench.recorded == []
        way.open()
        await bench.flush()
        assert [outcome for batch in bench.recorded for outcome in batch] == outcomes
        assert await count(emptied_database, "job_run", "state = 'SUCCESS'") == 3


async def test_outcomes_whose_commit_is_cut_off_are_written_once(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("there is no connection to cut")
    async with (
        cuttable(emptied_database) as (way, beyond),
        opened(beyond) as database,
        working(database, tmp_path) as bench,
    ):
        fence = await lead(database)
        outcomes = await bench.claim(fence, 3)
        way.cut_next_commit()
        bench.put(outcomes, fence)
        await bench.flush()
        assert way.cuts == 1
        assert bench.recorded == [outcomes]
        assert bench.ended(RunState.SUCCESS) == 3


async def test_what_the_database_refuses_of_one_job_is_set_aside_and_the_others_are_written(
    bench: tuple[Bench, Database], emptied_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_outcomes, "_ASIDE", Backoff.steady(0.3))
    made, database = bench
    fence = await lead(database)
    runs = [make_run(number, job_id=f"job-{number}") for number in range(30)]
    bad = make_run(99, job_id="bad")
    await made.runs.claim(make_batch(*runs[:10], bad, *runs[10:]), fence, now=NOW)
    async with refusing(emptied_database, "UPDATE", "job_run"):
        made.put([make_outcome(run) for run in (*runs[:10], bad, *runs[10:])], fence)
        await made.flushed()
        assert await count(emptied_database, "job_run", "state = 'SUCCESS'") == 30
        assert {outcome.run.job_id for batch in made.recorded for outcome in batch} == {
            run.job_id for run in runs
        }
        assert len(made.ledger) == 1
        assert made.ledger.run_ids == {bad.run_id}
        taken, refused = made.settled[0]
        assert (taken, set(refused)) == (set(), {"bad"})
        assert WORDS in refused["bad"]
        later = make_run(100, job_id="job-0")
        await made.runs.claim(make_batch(later), fence, now=NOW)
        made.put([make_outcome(later)], fence)
        await wait_until_async(lambda: _ended(emptied_database, later.run_id), what="another job")

    await wait_until_async(lambda: _ended(emptied_database, bad.run_id), what="what was refused")
    await wait_until_async(lambda: _settled(made), what="the word that it is taken again")
    assert len(made.ledger) == 0


async def test_a_stop_leaves_on_disk_what_the_database_refuses_and_the_next_start_records_it(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    async with opened(emptied_database) as database:
        async with refusing(emptied_database, "UPDATE", "job_run"):
            async with working(database, tmp_path) as made:
                fence = await lead(database)
                await InstanceStore(database=database).beat(make_instance())
                good, bad = make_run(1, job_id="good"), make_run(2, job_id="bad")
                await made.runs.claim(make_batch(good, bad), fence, now=NOW)
                title = InstanceFence(instance_id="one", epoch=fence.epoch)
                made.ledger.put(make_outcome(good), title)
                made.ledger.put(make_outcome(bad), title)
                await made.flushed()
            await OutcomeReplay(runs=made.runs, metrics=made.metrics, folder=tmp_path).replay()
            assert await count(emptied_database, "job_run", "state = 'SUCCESS'") == 1
        await OutcomeReplay(runs=made.runs, metrics=made.metrics, folder=tmp_path).replay()
    assert await count(emptied_database, "job_run", "state = 'SUCCESS'") == 2


async def _ended(database: TestDatabase, run_id: str) -> bool:
    return await count(database, "job_run", f"run_id = '{run_id}' AND state = 'SUCCESS'") == 1


async def _settled(made: Bench) -> bool:
    return ({"bad"}, {}) in made.settled
