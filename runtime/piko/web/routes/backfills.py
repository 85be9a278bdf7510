"""`/backfills`: requests to run the windows of a range."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from piko.core.types import DataInterval
from piko.model.backfills import Backfill
from piko.steering import backfills, shell
from piko.store.backfills import BackfillStore
from piko.web.asked import Act, Done, by_api
from piko.web.paging import MOST
from piko.web.request import IDS, JOBS, AtClock, ByCaller, DefaultZone, Instant, OnDatabase

router = APIRouter(tags=["backfills"])

BackfillId = Annotated[
    str,
    Path(
        max_length=64,
        pattern=r"^[\x21-\x7e]+$",
        description="Its id, or a unique beginning of it.",
    ),
]


class BackfillRange(Act):
    """Run every whole window of a range."""

    start: Instant
    end: Instant = Field(description="Exclusive.")
    parallelism: int = Field(1, ge=1, le=10_000, description="Windows to run in parallel.")

    def shell(self, job_id: str) -> str:
        """The same at a shell."""
        parallel = self.parallelism if self.parallelism > 1 else None
        return shell.command(
            "backfill", job_id, frm=self.start, to=self.end, parallel=parallel, reason=self.reason
        )


class StartBackfill(BackfillRange):
    """Run every whole window of a range of a job."""

    job_id: str = Field(max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")


class BackfillDone(Done):
    """A backfill that an act has changed, or would."""

    backfill: Backfill


class StartedBackfill(Done):
    """A range that is run, or would be; the names of `piko backfill -o json`."""

    backfill_id: str | None
    job_id: str
    start: Instant
    end: Instant
    windows_total: int
    windows: list[DataInterval] = Field(description="The first ones, at most 1,000.")
    left_out: list[DataInterval] = Field(description="Parts of the range that are no whole window.")


@router.get("/backfills")
async def list_backfills(
    database: OnDatabase,
    job: Annotated[
        str | None, Query(max_length=128, pattern=JOBS, description="Backfills of this job.")
    ] = None,
    before: Annotated[
        str | None, Query(max_length=64, pattern=IDS, description="Only those behind the one of that id.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> list[Backfill]:
    """The newest backfills. Others, if there are any, come `before` the last one of the answer."""
    return await BackfillStore(database=database).newest(job_id=job, before=before, limit=limit)


@router.get(
    "/backfills/{backfill_id}", responses={409: {"description": "Several ids begin with what was given."}}
)
async def one_backfill(backfill_id: BackfillId, database: OnDatabase) -> Backfill:
    """One backfill."""
    return await backfills.find(database, backfill_id)


@router.post("/backfills", responses={404: {"description": "There is no such job."}})
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
        dry_run=act.dry_run,
        shell=act.shell(act.job_id),
    )


@router.post("/backfills/{backfill_id}:pause")
async def pause_backfill(
    backfill_id: BackfillId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BackfillDone:
    """Start no further windows."""
    return await _change("pause", backfill_id, act, database, clock, caller)


@router.post("/backfills/{backfill_id}:resume")
async def resume_backfill(
    backfill_id: BackfillId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BackfillDone:
    """Resume a paused backfill."""
    return await _change("resume", backfill_id, act, database, clock, caller)


@router.post("/backfills/{backfill_id}:cancel")
async def cancel_backfill(
    backfill_id: BackfillId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BackfillDone:
    """Cancel a backfill and its runs. It cannot be resumed."""
    return await _change("cancel", backfill_id, act, database, clock, caller)


async def _change(
    verb: backfills.BackfillVerb,
    backfill_id: str,
    act: Act,
    database: OnDatabase,
    clock: AtClock,
    caller: ByCaller,
) -> BackfillDone:
    changed = await backfills.change_state(
        database,
        backfill_id,
        to=backfills.STATES[verb],
        clock=clock,
        actor=by_api(caller, act),
        dry_run=act.dry_run,
    )
    line = shell.command("backfill", verb, changed.backfill_id, reason=act.reason)
    return BackfillDone(backfill=changed, dry_run=act.dry_run, shell=line)
