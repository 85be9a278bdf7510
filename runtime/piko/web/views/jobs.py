"""The list of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from piko.core.types import JobStatus
from piko.schedule.one_line import schedule_line
from piko.store.reports.overview import JobReport
from piko.web.views import links
from piko.web.views.words import Mark, Moment, Tone, first_line, job_mark, length, moment, owner, run_mark


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedJob:
    """A job in a list."""

    job_id: str
    link: str
    mark: Mark
    schedule: str
    zone: str
    last: Mark | None
    last_at: Moment | None
    took: str
    due: Moment | None
    late: bool
    owner: str
    problem: str


def job_line(job: JobReport, now: datetime) -> ListedJob:
    """`job` as a line of the list."""
    failures = job.consecutive_failures or 0
    problem = ""
    if failures:
        problem = first_line(job.last_error, most=160)
    elif job.message and job.status not in (JobStatus.DISABLED, JobStatus.COMPLETED):
        problem = first_line(job.message, most=160)
    return ListedJob(
        job_id=job.job_id,
        link=links.job(job.job_id),
        mark=mark_of(job, now),
        schedule=schedule_line(job.schedule_type, job.schedule_expr),
        zone=job.timezone or "",
        last=None if job.last_state is None else run_mark(job.last_state),
        last_at=moment(job.last_scheduled_time, now),
        took=length(job.last_duration_s),
        due=moment(job.next_run_at, now) if job.enabled else None,
        late=job.is_late(now),
        owner=owner(job.managed_by),
        problem=problem,
    )


def mark_of(job: JobReport, now: datetime) -> Mark:
    """How `job` is: late and failing go before what the leader says of it."""
    if job.is_late(now):
        return Mark(text="Late", tone=Tone.BAD)
    if job.is_failing and job.status == JobStatus.SCHEDULED:
        return Mark(text="Failing", tone=Tone.BAD)
    return job_mark(job.status if job.enabled or job.status is None else JobStatus.DISABLED)
