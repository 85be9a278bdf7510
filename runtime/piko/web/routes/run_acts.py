"""What people do to runs: cancel, and run again; one of them, or all that a filter leaves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from piko.steering import bulk, runs, shell
from piko.web.asked import Act, BulkResult, RunDone, by_api
from piko.web.request import AtClock, ByCaller, OnDatabase, RunId
from piko.web.routes.runs import RunQuery

router = APIRouter(tags=["runs"])


@router.post("/runs:cancel")
async def cancel_runs(
    act: Act, query: Annotated[RunQuery, Query()], database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BulkResult:
    """End every run that the filters leave, at most 1,000; one that has ended is refused."""
    return await _each("cancel", act, query, database, clock, caller)


@router.post("/runs:retry")
async def retry_runs(
    act: Act, query: Annotated[RunQuery, Query()], database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BulkResult:
    """Queue every run again that the filters leave, at most 1,000; one that succeeded is refused."""
    return await _each("retry", act, query, database, clock, caller)


@router.post("/runs/{run_id}:cancel")
async def cancel_run(
    run_id: RunId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> RunDone:
    """End a run that waits or runs; its handler is cancelled within a poll."""
    run = await runs.cancel(database, run_id, clock=clock, actor=by_api(caller, act), dry_run=act.dry_run)
    line = shell.command("runs", "cancel", run_id, reason=act.reason)
    return RunDone(run=run, dry_run=act.dry_run, shell=line)


@router.post("/runs/{run_id}:retry")
async def retry_run(
    run_id: RunId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> RunDone:
    """Queue a run again that did not succeed: the same due time and window, as the next attempt."""
    run = await runs.retry(database, run_id, clock=clock, actor=by_api(caller, act), dry_run=act.dry_run)
    line = shell.command("runs", "retry", run_id, reason=act.reason)
    return RunDone(run=run, dry_run=act.dry_run, shell=line)


async def _each(
    verb: bulk.RunVerb,
    act: Act,
    query: RunQuery,
    database: OnDatabase,
    clock: AtClock,
    caller: ByCaller,
) -> BulkResult:
    wanted = query.filter()
    results = await bulk.on_runs(
        database, wanted, verb, clock=clock, actor=by_api(caller, act), dry_run=act.dry_run
    )
    line = shell.of_runs(verb, wanted, reason=act.reason)
    return BulkResult.of(results, dry_run=act.dry_run, shell=line)
