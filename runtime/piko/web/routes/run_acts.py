"""What people do to runs: cancel one, and run one again."""

from __future__ import annotations

from fastapi import APIRouter

from piko.model.runs import Run
from piko.steering import runs
from piko.web.asked import Act, by_api
from piko.web.request import AtClock, ByCaller, OnDatabase, RunId

router = APIRouter(tags=["runs"])


@router.post("/runs/{run_id}:cancel")
async def cancel_run(run_id: RunId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller) -> Run:
    """End a run that waits or runs; its handler is cancelled within a poll."""
    return await runs.cancel(database, run_id, clock=clock, actor=by_api(caller, act), dry_run=act.dry_run)


@router.post("/runs/{run_id}:retry")
async def retry_run(run_id: RunId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller) -> Run:
    """Queue a run again that did not succeed: the same due time and window, as the next attempt."""
    return await runs.retry(database, run_id, clock=clock, actor=by_api(caller, act), dry_run=act.dry_run)
