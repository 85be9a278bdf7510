"""What one job means: its schedule in words, its next due times, and the history of its config."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from piko.model.columns import MAX_INTEGER
from piko.schedule import explain, schedule_of_row
from piko.steering import configs
from piko.steering.configs import ConfigRevisionShown
from piko.store.reports.overview import Overview, unknown_job
from piko.web.request import AtClock, DefaultZone, JobId, OnDatabase

router = APIRouter(tags=["jobs"])

_MOST_REVISIONS = 100


class DueTime(BaseModel):
    """A due time, in UTC and as the clock in the schedule's zone shows it."""

    instant: datetime
    local: str


class ScheduleInWords(BaseModel):
    """A schedule explained; the names of `piko next -o json`."""

    job_id: str
    schedule_type: str
    schedule_expr: Any = Field(description="The expression, parsed.")
    timezone: str
    sentence: str
    instants: list[DueTime]
    remarks: list[str] = Field(description="What may surprise about it.")


@router.get("/jobs/{job_id}/next")
async def next_due_times(
    job_id: JobId,
    database: OnDatabase,
    clock: AtClock,
    zone: DefaultZone,
    count: Annotated[int, Query(ge=1, le=100, description="How many due times.")] = 5,
) -> ScheduleInWords:
    """The schedule in words, and its next due times. 422 if the row's schedule cannot be used."""
    job = await Overview(database=database).job(job_id)
    if job is None:
        raise await unknown_job(database, job_id)
    schedule = schedule_of_row(job, timezone=zone)
    explained = explain(schedule, now=clock.now(), count=count)
    return ScheduleInWords(
        job_id=job_id,
        schedule_type=schedule.kind,
        schedule_expr=schedule.expression,
        timezone=schedule.zone.key,
        sentence=explained.sentence,
        instants=[DueTime(instant=item.instant, local=item.local.isoformat()) for item in explained.instants],
        remarks=list(explained.remarks),
    )


@router.get("/jobs/{job_id}/config")
async def config_history(
    job_id: JobId,
    database: OnDatabase,
    before: Annotated[
        int | None, Query(ge=1, le=MAX_INTEGER, description="Only revisions before that one.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_REVISIONS, description="How many revisions.")] = 50,
) -> list[ConfigRevisionShown]:
    """Revisions of the job's config, the newest first. Secrets are not shown.

    Others, if there are any, come `before` the last one of the answer.
    """
    return await configs.revisions(database, job_id, before=before, most=limit)
