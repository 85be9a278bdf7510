"""What people do to jobs: pause, resume, run, move the watermark, roll the config back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from piko.steering import bulk, configs, runs, schedules, shell
from piko.steering.schedules import WatermarkChange
from piko.web.asked import Act, BulkResult, Done, RunDone, by_api
from piko.web.request import AtClock, ByCaller, DefaultZone, Instant, JobId, OnDatabase, Seen
from piko.web.routes.jobs import JobQuery

router = APIRouter(tags=["jobs"])

Overrides = Annotated[
    dict[str, Any],
    Field(
        default_factory=dict,
        description="Values that the run has instead of those of its config; recorded with the run.",
    ),
]


class Pause(Act):
    """Pause a schedule."""

    until: Instant | None = Field(None, description="When the leader resumes it by itself.")


class EnabledAnswer(Done):
    """Whether a schedule is enabled now, and whether that changed."""

    job_id: str
    enabled: bool
    paused_until: datetime | None
    changed: bool


class TriggerRun(Act):
    """Run a job once."""

    config: Overrides


class RunWindow(Act):
    """Run one window."""

    start: Instant = Field(description="Where the window begins.")
    config: Overrides


class SetWatermark(Act):
    """Move the watermark; windows after it run again."""

    watermark: Instant | None = Field(description="null: begin again with the last full window.")


class WatermarkDone(Done):
    """A watermark that was moved, and which windows run since."""

    change: WatermarkChange


class RollbackConfig(Act):
    """Write a revision's content to the config again."""

    revision: int = Field(ge=1, le=2**63 - 1)
    keep_secret: bool = Field(False, description="Keep the secret part that the row has now.")


class RolledBack(Done):
    """The revision whose content is in the config again."""

    job_id: str
    revision: int
    changed: bool


@router.post("/jobs:pause")
async def pause_jobs(
    act: Pause, query: Annotated[JobQuery, Query()], database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BulkResult:
    """Pause every job that the filters leave, at most 1,000; one that a resource owns is refused."""
    wanted = query.filter()
    results = await bulk.set_enabled(
        database,
        wanted,
        enabled=False,
        until=act.until,
        now=clock.now(),
        actor=by_api(caller, act),
        dry_run=act.dry_run,
    )
    line = shell.of_jobs("pause", wanted, reason=act.reason, until=act.until)
    return BulkResult.of(results, dry_run=act.dry_run, shell=line)


@router.post("/jobs:resume")
async def resume_jobs(
    act: Act, query: Annotated[JobQuery, Query()], database: OnDatabase, clock: AtClock, caller: ByCaller
) -> BulkResult:
    """Resume every job that the filters leave, at most 1,000; one that a resource owns is refused."""
    wanted = query.filter()
    results = await bulk.set_enabled(
        database,
        wanted,
        enabled=True,
        now=clock.now(),
        actor=by_api(caller, act),
        dry_run=act.dry_run,
    )
    line = shell.of_jobs("resume", wanted, reason=act.reason)
    return BulkResult.of(results, dry_run=act.dry_run, shell=line)


@router.post("/jobs/{job_id}:pause")
async def pause_job(
    job_id: JobId, act: Pause, database: OnDatabase, clock: AtClock, caller: ByCaller, seen: Seen
) -> EnabledAnswer:
    """Pause a schedule. Runs in progress continue; due times that pass meanwhile are not made up."""
    changed = await schedules.set_enabled(
        database,
        job_id,
        enabled=False,
        until=act.until,
        now=clock.now(),
        actor=by_api(caller, act),
        seen=seen,
        dry_run=act.dry_run,
    )
    return EnabledAnswer(
        job_id=job_id,
        enabled=False,
        paused_until=act.until,
        changed=changed,
        dry_run=act.dry_run,
        shell=shell.command("pause", job_id, until=act.until, reason=act.reason),
    )


@router.post("/jobs/{job_id}:resume")
async def resume_job(
    job_id: JobId, act: Act, database: OnDatabase, clock: AtClock, caller: ByCaller, seen: Seen
) -> EnabledAnswer:
    """Resume a paused schedule."""
    changed = await schedules.set_enabled(
        database,
        job_id,
        enabled=True,
        now=clock.now(),
        actor=by_api(caller, act),
        seen=seen,
        dry_run=act.dry_run,
    )
    return EnabledAnswer(
        job_id=job_id,
        enabled=True,
        paused_until=None,
        changed=changed,
        dry_run=act.dry_run,
        shell=shell.command("resume", job_id, reason=act.reason),
    )


@router.post("/jobs/{job_id}:trigger")
async def trigger_job(
    job_id: JobId, act: TriggerRun, database: OnDatabase, clock: AtClock, caller: ByCaller
) -> RunDone:
    """Run a stateless job once, now, in addition to its schedule."""
    run = await runs.trigger(
        database,
        job_id,
        overrides=act.config,
        clock=clock,
        actor=by_api(caller, act),
        dry_run=act.dry_run,
    )
    line = shell.command("trigger", job_id, config=act.config, reason=act.reason)
    return RunDone(run=run, dry_run=act.dry_run, shell=line)


@router.post("/jobs/{job_id}:run-window")
async def run_window(
    job_id: JobId,
    act: RunWindow,
    database: OnDatabase,
    clock: AtClock,
    zone: DefaultZone,
    caller: ByCaller,
) -> RunDone:
    """Run one window of a stateful job, again or for the first time. The watermark does not move."""
    run = await runs.run_window(
        database,
        job_id,
        act.start,
        overrides=act.config,
        zone=zone,
        clock=clock,
        actor=by_api(caller, act),
        dry_run=act.dry_run,
    )
    line = shell.command("trigger", job_id, window=act.start, config=act.config, reason=act.reason)
    return RunDone(run=run, dry_run=act.dry_run, shell=line)


@router.post("/jobs/{job_id}:set-watermark")
async def set_watermark(
    job_id: JobId,
    act: SetWatermark,
    database: OnDatabase,
    clock: AtClock,
    zone: DefaultZone,
    caller: ByCaller,
    seen: Seen,
) -> WatermarkDone:
    """Move the watermark of a stateful job; the answer says which windows run then."""
    change = await schedules.set_watermark(
        database,
        job_id,
        act.watermark,
        zone=zone,
        now=clock.now(),
        actor=by_api(caller, act),
        seen=seen,
        dry_run=act.dry_run,
    )
    line = schedules.watermark_shell(job_id, act.watermark, reason=act.reason)
    return WatermarkDone(change=change, dry_run=act.dry_run, shell=line)


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
    line = shell.command(
        "config", "rollback", job_id, to=act.revision, keep_secret=act.keep_secret, reason=act.reason
    )
    return RolledBack(
        job_id=job_id,
        revision=act.revision,
        changed=not act.dry_run,
        dry_run=act.dry_run,
        shell=line,
    )
