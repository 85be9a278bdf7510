"""One job: what its schedule means, and how far its data has come."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from piko.errors import ScheduleError
from piko.model.schedules import ScheduleOptions, ScheduleRow
from piko.schedule.explain import explain
from piko.schedule.parsing import schedule_of_row
from piko.store.reports.overview import JobReport
from piko.text import instant_text, span
from piko.web.views.runs import Fact
from piko.web.views.words import Moment, length, moment, stamp

_COMING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """A schedule in words, with its next instants in its own zone, and remarks; or its error."""

    sentence: str
    instants: tuple[Moment, ...]
    remarks: tuple[str, ...]
    error: str


def schedule_view(row: ScheduleRow, *, timezone: str, now: datetime) -> ScheduleView:
    """What the row's schedule means; `timezone` is that of rows that name none."""
    try:
        schedule = schedule_of_row(row, timezone=timezone)
    except ScheduleError as error:
        return ScheduleView(sentence="", instants=(), remarks=(), error=str(error))
    found = explain(schedule, now=now, count=_COMING)
    return ScheduleView(
        sentence=found.sentence,
        instants=tuple(
            Moment(
                text=f"{item.local:%a %Y-%m-%d %H:%M:%S}",
                exact=f"{stamp(item.instant)}, in {span((item.instant - now).total_seconds())}",
                machine=instant_text(item.instant),
            )
            for item in found.instants
        ),
        remarks=found.remarks,
        error="",
    )


def progress(job: JobReport, now: datetime) -> list[Fact]:
    """How far the job has come."""
    lag = ""
    if job.last_data_time is not None:
        lag = f"{stamp(job.last_data_time)}, {span((now - job.last_data_time).total_seconds())} behind"
    success = moment(job.last_success_at, now)
    last = moment(job.last_scheduled_time, now)
    due = moment(job.next_run_at, now)
    found = [
        Fact(name="Data is done up to", text=lag or ("no window has ended yet" if job.stateful else "")),
        Fact(name="Due next", text="" if due is None else f"{due.text} ({due.exact})"),
        Fact(name="Last due time", text="" if last is None else f"{last.text} ({last.exact})"),
        Fact(name="Last success", text="never" if success is None else f"{success.text} ({success.exact})"),
        Fact(name="Last duration", text=length(job.last_duration_s)),
        Fact(name="Failures in a row", text=str(job.consecutive_failures or 0)),
    ]
    return [fact for fact in found if fact.text]


def options(row: ScheduleRow) -> list[Fact]:
    """What the row says beyond its schedule, where it differs from the default."""
    found = []
    for item in fields(ScheduleOptions):
        value = getattr(row, item.name)
        if item.name in ("job_id", "schedule_type", "schedule_expr", "enabled") or value == item.default:
            continue
        text = stamp(value) if isinstance(value, datetime) else str(value)
        found.append(Fact(name=item.name, text=text))
    return found
