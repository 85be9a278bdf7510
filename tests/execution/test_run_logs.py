"""What runs log and how far they are, on its way to a real database."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import structlog

from piko.catalog.configs import ConfigBook
from piko.clock import SystemClock
from piko.core.context import JobContext
from piko.core.registry import JobDefinition, JobRegistry
from piko.core.types import RunState
from piko.errors import SchemaVersionError
from piko.execution.executor import Executor
from piko.execution.outcome import Ending
from piko.execution.run_logs import RunLogs
from piko.model.fences import InstanceFence
from piko.model.retention import EndedRow, JobFacts
from piko.observability.logs import configure_logging
from piko.observability.metrics import Metrics
from piko.store.engine import Database
from piko.store.reports.run_logs import RunLogReader, RunLogReport
from piko.store.retention import RetentionStore
from piko.store.run_logs import RunLogStore
from piko.store.runs import RunStore
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S
from tests.scheduler.making import planned
from tests.store.making import count, lead, make_batch, make_outcome, make_run, opened


class Bench:
    """An executor whose runs are rows of a database."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.database = database
        self.logs = RunLogs(
            clock=SystemClock(),
            metrics=Metrics(),
            **{"capture": "all", "store": RunLogStore(database=database), **options},
        )
        self.endings: asyncio.Queue[Ending] = asyncio.Queue()
        self.executor = Executor(
            app_name="bench",
            configs=ConfigBook(registry=JobRegistry()),
            clock=SystemClock(),
            metrics=Metrics(),
            ended=self.endings.put_nowait,
            logs=self.logs,
        )
        self._number = 0

    async def begin(self, handler: Any, *, claimed: bool = True) -> str:
        self._number += 1
        run = make_run(self._number, job_id="sync")
        if claimed:
            fence = await lead(self.database)
            await RunStore(database=self.database).claim(make_batch(run), fence, now=SystemClock().now())
        definition = JobDefinition(job_id="sync", handler=handler, resources={}, schema=None, stateful=False)
        job = replace(planned(job_id="sync", timeout_s=None), definition=definition)
        self.executor.start(run, job, InstanceFence(instance_id="one", epoch=1))
        return run.run_id

    async def end(self) -> Ending:
        async with asyncio.timeout(PATIENCE_S):
            return await self.endings.get()

    async def told(self, run_id: str) -> RunLogReport | None:
        return await RunLogReader(database=self.database).of_run(run_id)


@pytest.fixture
async def store(migrated_database: TestDatabase) -> AsyncIterator[Database]:
    configure_logging(log_format="json", stream=io.StringIO())
    async with opened(migrated_database) as database:
        yield database


def texts(report: RunLogReport | None) -> list[str]:
    assert report is not None
    return [line[25:] for line in report.lines()]


async def test_a_running_run_is_seen_at_work_and_its_last_line_is_kept(store: Database) -> None:
    bench, go_on = Bench(store), asyncio.Event()

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        ctx.log.info("begun", rows=3)
        ctx.progress(1, 4, "reading")
        await go_on.wait()
        logging.getLogger("orders").warning("nearly done")
        structlog.get_logger("orders").info("done")
        ctx.progress(4, 4)

    run_id = await bench.begin(handler)
    await asyncio.sleep(0)
    while await bench.told(run_id) is None:
        await bench.logs.write()
    report = await bench.told(run_id)
    assert report is not None
    assert texts(report) == ["info     begun rows=3"]
    assert (report.progress_done, report.progress_total, report.progress_text) == (1, 4, "reading")
    go_on.set()
    await bench.end()
    await bench.logs.write()
    report = await bench.told(run_id)
    assert report is not None
    assert texts(report) == ["info     begun rows=3", "warning  nearly done", "info     done"]
    assert (report.progress_done, report.progress_total, report.progress_text) == (4, 4, None)
    assert report.job_id == "sync"


async def test_a_run_that_logs_without_a_pause_is_written_once_a_round(store: Database) -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    class Counted(RunLogStore):
        writes = 0

        async def write(self, *args: Any, **values: Any) -> None:
            self.writes += 1
            await super().write(*args, **values)
            if self.writes == 5:
                over.set()  # it would be written for ever

    counted = Counted(database=store)
    bench = Bench(store, store=counted)

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        while not over.is_set():
            ctx.log.info("again")
            begun.set()
            await asyncio.sleep(0)

    run_id = await bench.begin(handler)
    await begun.wait()
    await bench.logs.write()
    assert counted.writes == 1
    first = await bench.told(run_id)
    await bench.logs.write()
    second = await bench.told(run_id)
    assert counted.writes == 2
    assert first is not None
    assert second is not None
    assert 0 < first.line_count < second.line_count, "what it said meanwhile is written by the next round"
    over.set()
    await bench.end()


async def test_a_run_that_says_nothing_costs_no_row(store: Database, migrated_database: TestDatabase) -> None:
    bench = Bench(store)

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        pass

    await bench.begin(handler)
    await bench.end()
    await bench.logs.write()
    assert await count(migrated_database, "run_log") == 0


@pytest.mark.parametrize(("capture", "kept"), [("all", [1, 1]), ("errors", [0, 1]), ("off", [0, 0])])
async def test_whose_lines_are_kept_is_a_setting_and_progress_always_is(
    store: Database, capture: str, kept: list[int]
) -> None:
    bench = Bench(store, capture=capture)

    async def succeeds(ctx: JobContext, scheduled_time: object) -> None:
        ctx.log.info("a line")
        ctx.progress(1)

    async def fails(ctx: JobContext, scheduled_time: object) -> None:
        ctx.log.info("a line")
        ctx.progress(1)
        await bench.logs.write()
        raise KeyError("customer_id")

    runs = []
    for handler, state in ((succeeds, RunState.SUCCESS), (fails, RunState.FAILED)):
        runs.append(await bench.begin(handler))
        assert (await bench.end()).state is state
    await bench.logs.write()
    reports = [await bench.told(run_id) for run_id in runs]
    assert [report and report.line_count for report in reports] == kept
    assert [report and report.progress_done for report in reports] == [1, 1]


async def test_where_only_failures_are_kept_a_run_that_succeeds_costs_no_row(
    store: Database, migrated_database: TestDatabase
) -> None:
    bench = Bench(store, capture="errors")

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        ctx.log.info("a line")
        await bench.logs.write()
        assert await count(migrated_database, "run_log") == 0, "while it runs, nothing of it is to be seen"

    await bench.begin(handler)
    assert (await bench.end()).state is RunState.SUCCESS
    await bench.logs.write()
    assert await count(migrated_database, "run_log") == 0


async def test_a_run_whose_row_was_pruned_leaves_no_log_behind(
    store: Database, migrated_database: TestDatabase
) -> None:
    bench = Bench(store)

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        ctx.log.info("a line")

    await bench.begin(handler, claimed=False)
    await bench.end()
    await bench.logs.write()
    assert await count(migrated_database, "run_log") == 0


async def test_nothing_is_lost_while_the_database_is_away(
    store: Database, migrated_database: TestDatabase
) -> None:
    bench = Bench(store)

    async def handler(ctx: JobContext, scheduled_time: object) -> None:
        ctx.log.info("a line")

    run_id = await bench.begin(handler)
    await bench.end()
    await migrated_database.execute("ALTER TABLE run_log RENAME TO run_log_away")
    with pytest.raises(SchemaVersionError, match="run_log"):
        await bench.logs.write()
    await migrated_database.execute("ALTER TABLE run_log_away RENAME TO run_log")
    await bench.logs.write()
    assert texts(await bench.told(run_id)) == ["info     a line"]


async def test_of_too_many_ended_runs_the_latest_are_kept_and_the_loss_is_logged(store: Database) -> None:
    stream = io.StringIO()
    configure_logging(log_format="json", stream=stream)
    logs = Bench(store).logs
    for number in range(1_003):
        run = logs.open(job_id="sync", run_id=f"run-{number}")
        run.advance(number)
        logs.end(run, RunState.SUCCESS)
    lost = [line for line in stream.getvalue().splitlines() if "run_logs_dropped" in line]
    assert len(lost) == 3
    assert '"run-0"' in lost[0]


def test_lines_behind_those_that_were_shown_say_what_is_missing() -> None:
    report = RunLogReport(
        run_id="r",
        job_id="sync",
        head="one\n  goes on\ntwo",
        tail="nine\nten",
        line_count=10,
        left_out=6,
        progress_done=None,
        progress_total=None,
        progress_text=None,
        result=None,
        written_at=None,
    )
    gap = "… 6 lines were left out …"
    assert report.lines() == ["one\n  goes on", "two", gap, "nine", "ten"]
    assert report.lines(after=1) == ["two", gap, "nine", "ten"]
    assert report.lines(after=5) == ["… 3 lines were left out …", "nine", "ten"]
    assert report.lines(after=8) == ["nine", "ten"]
    assert report.lines(after=9) == ["ten"]
    assert report.lines(after=10) == []


async def test_the_log_of_a_run_is_pruned_with_its_row(
    store: Database, migrated_database: TestDatabase
) -> None:
    moment = SystemClock().now()
    for run_id in ("old", "new"):
        await migrated_database.execute(
            "INSERT INTO job_run (run_id, job_id, scheduled_time, state) "
            f"VALUES ('{run_id}', 'sync', '2026-01-01', 'SUCCESS')"
        )
        await migrated_database.execute(f"INSERT INTO run_log (run_id, job_id) VALUES ('{run_id}', 'sync')")
    ended = EndedRow(run_id="old", scheduled_time=moment, succeeded=True, ended_at=moment)
    fence = await lead(store)
    assert (
        await RetentionStore(database=store).prune_runs(
            JobFacts(job_id="sync", schedule=None), [ended], fence
        )
        == 1
    )
    assert [tuple(row) for row in await migrated_database.execute("SELECT run_id FROM run_log")] == [("new",)]


async def test_a_result_is_written_with_its_outcome(store: Database) -> None:
    run, fence = make_run(1, job_id="sync"), await lead(store)
    runs = RunStore(database=store)
    await runs.claim(make_batch(run), fence, now=SystemClock().now())
    await runs.finish([make_outcome(run, result='{"rows": 3}')], fence)
    report = await RunLogReader(database=store).of_run(run.run_id)
    assert report is not None
    assert (report.result, report.line_count, report.lines()) == ('{"rows": 3}', 0, [])
