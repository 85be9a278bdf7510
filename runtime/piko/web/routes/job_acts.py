"""What people do to jobs: pause, resume, run, move the watermark, roll the config back."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from piko.errors import RefusedError
from piko.model.runs import Run
from piko.steering import configs, runs, schedules
from piko.steering.schedules import WatermarkChange
from piko.store.reports.jobs import JobList, JobOrder
from piko.web.asked import Act, BulkResult, JobResult, by_api
from piko.web.problems import ProblemError
from piko.web.request import AtClock, ByCaller, DefaultZone, JobId, OnDatabase, Seen
from piko.web.routes.jobs import JobQuery

router = APIRouter(tags=["jobs"])

MOST_JOBS = 1000


class EnabledAnswer(BaseModel):
    """Whether a schedule is enabled now, and whether that changed."""

    job_id: str
    enabled: bool
    changed: bool


class RunWindow(Act):
    """Run one window."""

    start: AwareDatetime = Field(description="Where the window begins.")


class SetWatermark(Act):
    """Move the watermark; windows after it run again."""

    watermark: AwareDatetime | None = Field(description="null: begin again with the last full window.")


class RollbackConfig(Act):
    """Write a revision's content to the config again."""

    revision: int = Field(ge=1, le=2**63 - 1)
    keep_secret: bool = Field(False, description="Keep the secret part that the row has now.")


class RolledBack(BaseModel):
    """The revision whose content is in the config again."""

    job_id: str
    revision: int
    changed: bool


@router.post("/jobs:pause")
async def pause_jobs(
    act: Act, query: Annotated[JobQuery, Query()], database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BulkResult:
    """Pause every job that the filters leave, at most 1,000; one that a resource owns is refused."""
    return await _each(False, act, query, database, clock, caller)


@router.post("/jobs:resume")
async def resume_jobs(
    act: Act, query: Annotated[JobQuery, Query()], database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BulkResult:
    """Resume every job that the filters leave, at most 1,000; one that a resource owns is refused."""
    return await _each(True, act, query, database, clock, caller)


@router.post("/jobs/{job_id}:pause")
async def pause_job(
    job_id: JobId, act: Act, database: OnDatabase, caller: ByCaller, seen: Seen
) -> EnabledAnswer:
    """Pause a schedule. Runs in progress continue; due times that pass meanwhile are not made up."""
    changed = await schedules.set_enabled(
        database, job_id, enabled=False, actor=by_api(caller, act), seen=seen, dry_run=act.dry_run
    )
    return EnabledAnswer(job_id=job_id, enabled=False, changed=changed)


@router.post("/jobs/{job_id}:resume")
async def resume_job(
    job_id: JobId, act: Act, database: OnDatabase, caller: ByCaller, seen: Seen
) -> EnabledAnswer:
    """Resume a paused schedule."""
    changed = await schedules.set_enabled(
        database, job_id, enabled=True, actor=by_api(caller, act), seen=seen, dry_run=act.dry_run
    )
    return EnabledAnswer(job_id=job_id, enabled=True, changed=changed)


@router.post("/jobs/{job_id}:trigger")
async def trigger_job(job_id: JobId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller) -> Run:
    """Run a stateless job once, now, in addition to its schedule."""
    return await runs.trigger(database, job_id, clock=clock, actor=by_api(caller, act), dry_run=act.dry_run)


@router.post("/jobs/{job_id}:run-window")
async def run_window(
    job_id: JobId,
    act: RunWindow,
    database: OnDatabase,
    clock: AtClock,
    zone: DefaultZone,
    caller: ByCaller,
) -> Run:
    """Run one window of a stateful job, again or for the first time. The watermark does not move."""
    return await runs.run_window(
        database,
        job_id,
        act.start,
        zone=zone,
        clock=clock,
        actor=by_api(caller, act),
        dry_run=act.dry_run,
    )


@router.post("/jobs/{job_id}:set-watermark")
async def set_watermark(
    job_id: JobId,
    act: SetWatermark,
    database: OnDatabase,
    clock: AtClock,
    zone: DefaultZone,
    caller: ByCaller,
    seen: Seen,
) -> WatermarkChange:
    """Move the watermark of a stateful job; the answer says which windows run then."""
    return await schedules.set_watermark(
        database,
        job_id,
        act.watermark,
        zone=zone,
        now=clock.now(),
        actor=by_api(caller, act),
        seen=seen,
        dry_run=act.dry_run,
    )


@router.post("/jobs/{job_id}:rollback-config")
async def rollback_config(
    job_id: JobId, act: RollbackConfig, database: OnDatabase, caller: ByCaller
) -> RolledBack:
    """Write the content of a revision to the config again, effective at once."""
    await configs.rollback(
        database,
        job_id,
        act.revision,
        actor=by_api(caller, act),
        keep_secret=act.keep_secret,
        dry_run=act.dry_run,
    )
    return RolledBack(job_id=job_id, revision=act.revision, changed=not act.dry_run)


async def _each(
    enabled: bool, act: Act, query: JobQuery, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BulkResult:
    wanted, now = query.filter(), clock.now()
    found = await JobList(database=database).page(
        wanted, now=now, order=JobOrder.JOB_ID, after=None, limit=MOST_JOBS + 1
    )
    if len(found) > MOST_JOBS:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the filters leave more than {MOST_JOBS:,} jobs; name fewer by `text`, `state` or `owner`",
        )
    results: list[JobResult] = []
    for job in found:
        result: Literal["changed", "unchanged", "refused"] = "refused"
        detail = None
        try:
            changed = await schedules.set_enabled(
                database, job.job_id, enabled=enabled, actor=by_api(caller, act), dry_run=act.dry_run
            )
            result = "changed" if changed else "unchanged"
        except RefusedError as error:
            detail = str(error)
        results.append(JobResult(job_id=job.job_id, result=result, detail=detail))
    return BulkResult(
        dry_run=act.dry_run,
        changed=sum(item.result == "changed" for item in results),
        refused=sum(item.result == "refused" for item in results),
        results=results,
    )
