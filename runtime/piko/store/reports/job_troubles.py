"""What the facts of one job mean: one sentence for each trouble of it, and what cures it. Pure."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from piko.core.types import JobStatus
from piko.errors import PikoError
from piko.model.objectives import LATE_S, JobObjective, a_window_behind, broken, deadlines
from piko.schedule import Schedule, parse_schedule
from piko.schedule.parsing import HoldsSchedule
from piko.store.reports import remedies
from piko.store.reports.jobs_in_need import JobInNeed
from piko.store.reports.need_statement import UNABLE
from piko.store.reports.overview import JobReport
from piko.store.reports.trouble import Trouble
from piko.store.run_notes import REFUSED
from piko.text import first_line, span

_KINDS = {
    JobStatus.INVALID: "invalid",
    JobStatus.UNREGISTERED: "unregistered",
    JobStatus.WAITING_FOR_CONFIG: "waits_for_config",
}


def of_job(need: JobInNeed, now: datetime, timezone: str) -> list[Trouble]:
    """Every trouble of a job in need. `timezone`: of schedules that name none."""
    found = _of_state(need, now)
    if need.promise is None:
        found += _of_data(need.job, now, timezone)
    # What it has promised says better than "late" what that means.
    elif (broken_one := _of_objective(need.promise, now, timezone)) is not None:
        found = [item for item in found if item.kind != "late"] + [broken_one]
    return found + _of_refusal(need)


def _of_state(need: JobInNeed, now: datetime) -> list[Trouble]:
    job, found = need.job, []
    if job.enabled and job.status in UNABLE:
        kind, text = _KINDS[JobStatus(job.status)], first_line(job.message) or "it cannot run"
        remedy = f"{remedies.of_status(job)}; piko why {job.job_id}"
        found.append(_job_trouble(job, kind, text, remedy, job.updated_at))
    elif job.is_failing:
        text, error = _failures(job, now), first_line(job.last_error) or "no error was recorded"
        found.append(
            _job_trouble(job, "failing", text, f"piko logs {job.job_id}", job.last_success_at, error=error)
        )
    elif job.is_late(now) and job.next_run_at is not None:
        ago = span((now - job.next_run_at).total_seconds())
        text = f"it was due {ago} ago and has not started"
        found.append(_job_trouble(job, "late", text, f"piko why {job.job_id}", job.next_run_at))
    if need.given_up_to is not None:
        text = "a bound of its backlog has dropped data"
        found.append(
            _job_trouble(job, "data_dropped", text, f"piko jobs {job.job_id}", since=need.given_up_to)
        )
    if need.missing is not None:
        text = f"its row belongs to the resource {need.missing}, which no longer exists"
        remedy = "apply the resource again, or the operator removes the row after a day"
        found.append(_job_trouble(job, "resource_missing", text, remedy, need.missing_since))
    return found


def _job_trouble(
    job: JobReport, kind: str, text: str, remedy: str, since: datetime | None, *, error: str | None = None
) -> Trouble:
    """The trouble of one `job`; the other parameters are those of `Trouble`."""
    return Trouble(
        kind=kind,
        subject=job.job_id,
        text=text,
        remedy=remedy,
        since=since,
        job_id=job.job_id,
        managed_by=job.managed_by,
        error=error,
    )


def _failures(job: JobReport, now: datetime) -> str:
    failures = job.consecutive_failures or 0
    text = "the last run failed" if failures == 1 else f"{failures} runs in a row failed"
    if job.last_success_at is None:
        text += "; it has never succeeded"
    return f"{text}, and the next one is late" if job.is_late(now) else text


def _of_data(job: JobReport, now: datetime, timezone: str) -> list[Trouble]:
    since = _late_since(job, now, timezone)
    if since is None:
        return []
    text, remedy = "its data is more than one window behind", f"piko why {job.job_id}"
    return [_job_trouble(job, "late_data", text, remedy, since)]


def _of_objective(job: JobObjective, now: datetime, timezone: str) -> Trouble | None:
    """Which objective of the job is broken; None: none is."""
    late = next((due for due in deadlines(job, timezone=timezone, parsed=_parsed) if due.at <= now), None)
    if late is None:
        return None
    text, remedy = broken(job, late), f"piko why {job.job_id}"
    return Trouble(
        kind="late", subject=job.job_id, text=text, remedy=remedy, since=late.at, job_id=job.job_id
    )


def _late_since(job: JobReport, now: datetime, timezone: str) -> datetime | None:
    """Since when the data of a stateful job is late by more than a window; None: it is not."""
    scheduled = job.enabled and job.stateful and job.status == JobStatus.SCHEDULED
    if job.last_data_time is None or not scheduled:
        return None
    try:
        schedule = _parsed(job, timezone=timezone)
    except PikoError:
        return None  # the status of the job says so
    since = a_window_behind(schedule, job.last_data_time)
    return since if since is not None and (now - since).total_seconds() > LATE_S else None


def _parsed(row: HoldsSchedule, *, timezone: str) -> Schedule:
    """The schedule of `row`; a job that is in trouble stays so for some looks. Raises `ScheduleError`."""
    return _remembered(
        row.job_id, row.schedule_type, row.schedule_expr, row.timezone or timezone, row.start_at, row.end_at
    )


@lru_cache(maxsize=1000)
def _remembered(
    job_id: str, kind: str, expression: str, timezone: str, start_at: datetime | None, end_at: datetime | None
) -> Schedule:
    return parse_schedule(
        job_id=job_id,
        schedule_type=kind,
        schedule_expr=expression,
        timezone=timezone,
        start_at=start_at,
        end_at=end_at,
    )


def _of_refusal(need: JobInNeed) -> list[Trouble]:
    job = need.job
    if not (job.last_error or "").startswith(REFUSED):
        return []
    text = first_line(job.last_error).partition("; piko spool")[0]
    remedy = f"piko spool list --run {need.last_run_id}, then replay or drop; a run without any ends this"
    return [_job_trouble(job, "records_refused", text, remedy, job.last_success_at)]
