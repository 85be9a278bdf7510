"""When a job is due, which windows of data it has, and what a schedule would do that no row has yet."""

from __future__ import annotations

import json
from datetime import MAXYEAR, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from piko.schedule import Schedule, count_instants, explain, parse_schedule, schedule_of_row, window_ending_at
from piko.steering.schedules import WatermarkChange, stateful_job, watermark_of
from piko.store.engine import Database
from piko.store.reports.overview import JobReport, Overview, RunReport, unknown_job
from piko.store.reports.runs import RunFilter, RunList
from piko.web import paging
from piko.web.paging import Cursor, Limit, Page
from piko.web.request import AtClock, DefaultZone, Instant, JobId, OnDatabase
from piko.web.routes.job_details import DueTime

router = APIRouter(tags=["jobs"])

_WEEK = timedelta(days=7)
_TICK = timedelta(microseconds=1)


class WindowShown(BaseModel):
    """A window of data; `run` is its newest attempt, if there is one that has not been pruned."""

    start: datetime
    end: datetime
    done: bool = Field(description="Whether it lies before the watermark.")
    run: RunReport | None


class SchedulePlan(BaseModel):
    """A schedule that no row has to have."""

    model_config = ConfigDict(extra="forbid")

    job_id: str = Field("job", max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$", description="`H` hashes it.")
    schedule_type: str = Field(max_length=16, description="cron, interval or date.")
    schedule_expr: Any = Field(description="The expression, as JSON.")
    timezone: str | None = Field(None, max_length=64, description="IANA zone; null: the setting.")
    start_at: Instant | None = None
    end_at: Instant | None = None
    after: Instant | None = Field(None, description="Due times after this instant; null: now.")
    count: int = Field(5, ge=1, le=100, description="How many due times.")


class PlannedSchedule(BaseModel):
    """What a schedule would do."""

    sentence: str
    timezone: str
    instants: list[DueTime]
    remarks: list[str] = Field(description="What may surprise about it.")
    runs_per_week: int = Field(description="Due times within seven days.")


@router.get("/jobs/{job_id}/schedule")
async def due_times(
    job_id: JobId,
    database: OnDatabase,
    clock: AtClock,
    zone: DefaultZone,
    since: Annotated[Instant | None, Query(description="Due at this instant or later; none: now.")] = None,
    until: Annotated[Instant | None, Query(description="Due before it; none: within a week.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DueTime]:
    """Due times between two instants by the row's schedule, the earliest first; also of a paused one."""
    filters = (job_id, since, until)
    after = paging.key_of(cursor, filters=filters, read=lambda key: paging.moment(key[0]))
    schedule = schedule_of_row(await _job(database, job_id), timezone=zone)
    begin = since or clock.now()
    end = until or _week_after(begin)
    found = []
    for instant in schedule.between(after or begin - _TICK, end - _TICK):
        found.append(DueTime(instant=instant, local=instant.astimezone(schedule.zone).isoformat()))
        if len(found) > limit:
            break
    return paging.page_of(found, limit, key=lambda due: paging.plain([due.instant]), filters=filters)


@router.get("/jobs/{job_id}/windows", responses={409: {"description": "The job has no windows."}})
async def windows(
    job_id: JobId,
    database: OnDatabase,
    clock: AtClock,
    zone: DefaultZone,
    until: Annotated[Instant | None, Query(description="Windows that end by then; none: now.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[WindowShown]:
    """Windows of a stateful job by its schedule, the newest first, each with its newest run."""
    filters = (job_id, until)
    before = paging.key_of(cursor, filters=filters, read=lambda key: paging.moment(key[0]))
    job = await stateful_job(database, job_id)
    found = _windows(schedule_of_row(job, timezone=zone), by=before or until or clock.now(), most=limit + 1)
    runs: dict[tuple[datetime | None, datetime | None], RunReport] = {}
    if found:
        wanted = RunFilter(job_id=job_id, since=found[-1][1], until=found[0][1] + _TICK)
        for run in await RunList(database=database).first(wanted, most=2 * limit):
            runs.setdefault((run.window_start, run.window_end), run)
    reached = job.last_data_time
    shown = [
        WindowShown(
            start=start,
            end=end,
            done=reached is not None and end <= reached,
            run=runs.get((start, end)),
        )
        for start, end in found
    ]
    return paging.page_of(shown, limit, key=lambda window: paging.plain([window.start]), filters=filters)


@router.get("/jobs/{job_id}/watermark", responses={409: {"description": "The job has no windows."}})
async def watermark(
    job_id: JobId, database: OnDatabase, clock: AtClock, zone: DefaultZone
) -> WatermarkChange:
    """Up to where the data of a stateful job is complete, and which windows run next."""
    return await watermark_of(database, job_id, zone=zone, now=clock.now())


@router.post("/schedules:plan")
async def plan_schedule(asked: SchedulePlan, clock: AtClock, zone: DefaultZone) -> PlannedSchedule:
    """What a schedule would do, without a database; 422 says what is wrong with it."""
    schedule = parse_schedule(
        job_id=asked.job_id,
        schedule_type=asked.schedule_type,
        schedule_expr=json.dumps(asked.schedule_expr),
        timezone=asked.timezone or zone,
        start_at=asked.start_at,
        end_at=asked.end_at,
    )
    now = asked.after or clock.now()
    explained = explain(schedule, now=now, count=asked.count)
    return PlannedSchedule(
        sentence=explained.sentence,
        timezone=schedule.zone.key,
        instants=[DueTime(instant=item.instant, local=item.local.isoformat()) for item in explained.instants],
        remarks=list(explained.remarks),
        runs_per_week=count_instants(schedule, after=now, through=_week_after(now)),
    )


def _week_after(moment: datetime) -> datetime:
    return moment if moment.year == MAXYEAR else moment + _WEEK


async def _job(database: Database, job_id: str) -> JobReport:
    job = await Overview(database=database).job(job_id)
    if job is None:
        raise await unknown_job(database, job_id)
    return job


def _windows(schedule: Schedule, *, by: datetime, most: int) -> list[tuple[datetime, datetime]]:
    """The last `most` windows that end by `by`, the newest first."""
    found: list[tuple[datetime, datetime]] = []
    end = schedule.latest_at(by)
    while end is not None and len(found) < most:
        window = window_ending_at(schedule, end)
        if window is None:
            break
        found.append((window.start, window.end))
        end = schedule.latest_at(window.start)
    return found
