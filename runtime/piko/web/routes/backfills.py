"""`/backfills`: requests to run the windows of a range."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, Field

from piko.core.types import BackfillState, DataInterval
from piko.model.backfills import Backfill
from piko.steering import backfills
from piko.store.backfills import BackfillStore
from piko.web.asked import Act, by_api
from piko.web.paging import MOST
from piko.web.request import AtClock, ByCaller, DefaultZone, OnDatabase

router = APIRouter(tags=["backfills"])

BackfillId = Annotated[
    str,
    Path(
        max_length=64,
        pattern=r"^[\x21-\x7e]+$",
        description="Its id, or a unique beginning of it.",
    ),
]


class StartBackfill(Act):
    """Run every whole window of a range."""

    job_id: str = Field(max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")
    start: AwareDatetime
    end: AwareDatetime = Field(description="Exclusive.")
    parallelism: int = Field(1, ge=1, le=10_000, description="Windows to run in parallel.")


class StartedBackfill(BaseModel):
    """A range that is run, or would be; the names of `piko backfill -o json`."""

    backfill_id: str | None
    job_id: str
    start: AwareDatetime
    end: AwareDatetime
    windows_total: int
    windows: list[DataInterval] = Field(description="The first ones, at most 1,000.")
    left_out: list[DataInterval] = Field(description="Parts of the range that are no whole window.")


@router.get("/backfills")
async def list_backfills(
    database: OnDatabase,
    job: Annotated[str | None, Query(max_length=128, description="Backfills of this job.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> list[Backfill]:
    """The newest backfills."""
    return await BackfillStore(database=database).newest(job_id=job, limit=limit)


@router.get("/backfills/{backfill_id}")
async def one_backfill(backfill_id: BackfillId, database: OnDatabase) -> Backfill:
    """One backfill."""
    return await backfills.find(database, backfill_id)


@router.post("/backfills")
async def start_backfill(
    act: StartBackfill, database: OnDatabase, clock: AtClock, zone: DefaultZone, caller: ByCaller
) -> StartedBackfill:
    """Run the windows of a range, in order, beside the schedule. The watermark does not move."""
    planned, request = await backfills.start(
        database,
        act.job_id,
        begin=act.start,
        end=act.end,
        parallel=act.parallelism,
        zone=zone,
        clock=clock,
        actor=by_api(caller, act),
        dry_run=act.dry_run,
    )
    return StartedBackfill(
        backfill_id=None if request is None else request.backfill_id,
        job_id=act.job_id,
        start=planned.start,
        end=planned.end,
        windows_total=planned.count,
        windows=list(planned.windows),
        left_out=list(planned.left_out),
    )


@router.post("/backfills/{backfill_id}:pause")
async def pause_backfill(
    backfill_id: BackfillId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> Backfill:
    """Start no further windows."""
    return await _change(BackfillState.PAUSED, backfill_id, act, database, clock, caller)


@router.post("/backfills/{backfill_id}:resume")
async def resume_backfill(
    backfill_id: BackfillId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> Backfill:
    """Resume a paused backfill."""
    return await _change(BackfillState.ACTIVE, backfill_id, act, database, clock, caller)


@router.post("/backfills/{backfill_id}:cancel")
async def cancel_backfill(
    backfill_id: BackfillId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> Backfill:
    """Cancel a backfill and its runs. It cannot be resumed."""
    return await _change(BackfillState.CANCELLED, backfill_id, act, database, clock, caller)


async def _change(
    to: BackfillState, backfill_id: str, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> Backfill:
    return await backfills.change_state(
        database, backfill_id, to=to, clock=clock, actor=by_api(caller, act), dry_run=act.dry_run
    )
