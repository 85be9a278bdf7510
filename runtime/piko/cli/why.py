"""`piko why`: why a job does not run, or did not run at an instant."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import (
    Dsn,
    Form,
    Job,
    Output,
    first_line,
    instant,
    show_json,
    stamp,
    unknown_job,
    with_database,
    zone_in_force,
)
from piko.core.types import RunState
from piko.errors import PikoError

if TYPE_CHECKING:
    from piko.schedule import Schedule
    from piko.store.engine import Database
    from piko.store.reports.attention import Facts
    from piko.store.reports.overview import JobReport, RunReport


def why(
    job: Job,
    at: Annotated[
        str | None,
        typer.Argument(
            metavar="[INSTANT]",
            help="A due time in the schedule's zone; default: now.",
            show_default=False,
        ),
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Say why a job does not run now, or did not run at an instant, each reason a line."""
    zone = zone_in_force(dsn)

    async def read(database: Database) -> list[str]:
        from piko.store.reports.attention import read_facts
        from piko.store.reports.overview import Overview

        line = await Overview(database=database).job(job)
        if line is None:
            raise await unknown_job(database, job)
        facts = await read_facts(database)
        reasons = _standing(line, facts)
        if at is None:
            newest = await Overview(database=database).runs(job_id=job, limit=5)
            return [*reasons, *map(_of_run, newest)] or ["it has no runs yet"]
        moment = instant(at, option="INSTANT", zone=line.timezone or zone)
        covering = await Overview(database=database).runs_at(job, moment)
        return [*_at(line, moment, covering, facts.now, zone), *reasons]

    reasons = with_database(dsn, read)
    if output is Output.JSON:
        show_json({"job_id": job, "at": at, "reasons": reasons})
    else:
        for reason in reasons:
            typer.echo(reason)


def _standing(line: JobReport, facts: Facts) -> list[str]:
    """What holds back every due time of the job at present."""
    from piko.store.reports.findings import findings

    reasons = [
        f"{item.subject}: {item.text}; {item.remedy}"
        for item in findings(facts, timezone="UTC")
        if item.kind == "no_leader"
    ]
    if not line.enabled:
        reasons.append(f"it is paused (enabled = 0); `piko resume {line.job_id}`")
    elif line.status is None:
        reasons.append("no leader has seen the row yet")
    elif line.status != "Scheduled":
        reasons.append(f"it is {line.status}: {line.message or 'no further due time'}")
    elif line.message:
        reasons.append(line.message)
    return reasons


def _at(line: JobReport, moment: datetime, covering: list[RunReport], now: datetime, zone: str) -> list[str]:
    """What is known of one instant."""
    schedule = _schedule(line, zone)
    is_due = schedule is not None and schedule.latest_at(moment) == moment
    # A range of due times that were left out says nothing of an instant between two of them.
    covering = [run for run in covering if is_due or run.scheduled_time == moment]
    if covering:
        return [_of_run(run) for run in covering]
    if schedule is None:
        return ["its schedule cannot be used, so nothing is due"]
    if not is_due:
        before, after = schedule.latest_at(moment), schedule.next_after(moment)
        near = " and ".join(stamp(each) for each in (before, after) if each is not None) or "none"
        return [f"{stamp(moment)} is no due time within the bounds of its schedule; the nearest: {near}"]
    if moment > now:
        return [f"{stamp(moment)} is a due time that is still to come"]
    return [
        f"{stamp(moment)} is a due time without a run: it lies before the last change of the schedule or its "
        "resumption, or its run was deleted as history"
    ]


def _schedule(line: JobReport, zone: str) -> Schedule | None:
    from piko.schedule import parse_schedule

    try:
        return parse_schedule(
            job_id=line.job_id,
            schedule_type=line.schedule_type,
            schedule_expr=line.schedule_expr,
            timezone=line.timezone or zone,
            start_at=line.start_at,
            end_at=line.end_at,
        )
    except PikoError:
        return None


def _of_run(run: RunReport) -> str:
    times = stamp(run.scheduled_time)
    if run.missed_through is not None and run.missed_through != run.scheduled_time:
        times = f"{times} to {stamp(run.missed_through)}"
    why = first_line(run.error, length=400)
    if run.state == RunState.QUEUED:
        why = why or (f"waits until {stamp(run.not_before)}" if run.not_before else "waits for its turn")
    logs = f"; `piko logs {run.run_id}`" if run.started_at is not None else ""
    return f"{times}: {run.state}, attempt {run.attempt}{f': {why}' if why else ''}{logs}"
