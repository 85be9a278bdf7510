"""`piko jobs`, `piko runs`: the state of jobs and the history of runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import (
    Dsn,
    Form,
    Output,
    first_line,
    instant_or_age,
    show_json,
    show_table,
    stamp,
    unknown_job,
    with_database,
)
from piko.core.types import RunState
from piko.errors import RefusedError, did_you_mean
from piko.tables import Row, ago
from piko.text import span

if TYPE_CHECKING:
    from piko.store.engine import Database
    from piko.store.reports.overview import JobReport, RunReport


def jobs(
    job: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Only these jobs.", show_default=False)
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """List jobs: their status, last outcome, next due time and problems."""
    from piko.clock import SystemClock
    from piko.store.reports.overview import Overview

    async def read(database: Database) -> list[JobReport]:
        found = await Overview(database=database).jobs(job or ())
        missing = set(job or ()) - {line.job_id for line in found}
        if missing:
            raise await unknown_job(database, min(missing))
        return found

    found = with_database(dsn, read)
    if output is Output.JSON:
        show_json(found)
        return
    now = SystemClock().now()
    columns, shorten = ["JOB", "STATUS", "LAST", "NEXT", "SCHEDULE"], ["SCHEDULE"]
    if output is Output.WIDE:
        columns += ["ZONE", "SCHEDULED", "DURATION", "LAST SUCCESS", "NEXT RUN", "WATERMARK", "OWNER"]
        shorten = []
    rows = [
        Row(cells=[*_job_cells(line, now), *_job_more(line)][: len(columns)], notes=_job_notes(line))
        for line in found
    ]
    show_table(columns, rows, otherwise="no jobs: scheduled_job is empty", shorten=shorten)


def runs(
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Only runs of this job.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help=f"Only runs in this state: {', '.join(item.lower() for item in RunState)}. Separate several "
            "with commas, or repeat the option.",
        ),
    ] = None,
    backfill: Annotated[str | None, typer.Option(metavar="ID", help="Only runs of this backfill.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="AGE|INSTANT",
            help="Only runs due since then: an age such as 30m, 2h or 7d, or an instant (UTC).",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="Maximum number of runs.")
    ] = 20,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """List runs, newest due time first. Each attempt is a run of its own."""
    from piko.clock import SystemClock
    from piko.store.reports.overview import Overview

    now = SystemClock().now()
    states = _states(state or ())
    begin = None if since is None else instant_or_age(since, option="--since", now=now)

    async def read(database: Database) -> list[RunReport]:
        overview = Overview(database=database)
        found = await overview.runs(job_id=job, states=states, backfill_id=backfill, since=begin, limit=limit)
        if not found and job is not None and await overview.job(job) is None:
            raise await unknown_job(database, job)
        return found

    found = with_database(dsn, read)
    if output is Output.JSON:
        show_json(found)
        return
    columns = ["JOB", "SCHEDULED", "STATE", "ATTEMPT", "TRIGGER", "DURATION"]
    if output is Output.WIDE:
        columns += ["RUN", "SCHEDULED TIME", "WINDOW", "STARTED"]
    rows = [
        Row(
            cells=[*_run_cells(line, now), *_run_more(line)][: len(columns)],
            notes=[first_line(line.error, length=1000 if output is Output.WIDE else 200)]
            if line.error
            else [],
        )
        for line in found
    ]
    show_table(columns, rows, otherwise="no runs match")


def window(line: RunReport) -> str:
    """The window of data that a run covers, or the last of the due times that its row stands for."""
    if line.window_start is not None:
        return f"{stamp(line.window_start)} - {stamp(line.window_end)}"
    if line.missed_through is not None and line.missed_through != line.scheduled_time:
        return f"through {stamp(line.missed_through)}"
    return ""


def schedule_text(line: JobReport) -> str:
    """A row's schedule on one line: `*/5 * * * *`, `every 10s`, `hour 3`."""
    try:
        expression = json.loads(line.schedule_expr)
    except ValueError:
        return f"{line.schedule_type} {line.schedule_expr}"
    if isinstance(expression, str):
        return expression
    if not isinstance(expression, dict):
        return f"{line.schedule_type} {line.schedule_expr}"
    if list(expression) == ["cron"]:
        return str(expression["cron"])
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in expression.items())


def _job_cells(line: JobReport, now: datetime) -> list[object]:
    last = f"{line.last_state} {ago(line.last_scheduled_time, now)}" if line.last_state else None
    coming = None
    if line.next_run_at is not None:
        late = line.next_run_at <= now
        coming = f"due {ago(line.next_run_at, now)}" if late else ago(line.next_run_at, now)
    return [line.job_id, line.status or "Unseen", last, coming, schedule_text(line)]


def _job_more(line: JobReport) -> list[object]:
    return [
        line.timezone,
        stamp(line.last_scheduled_time),
        _duration(line.last_duration_s),
        stamp(line.last_success_at),
        stamp(line.next_run_at),
        stamp(line.last_data_time),
        line.managed_by or "SQL",
    ]


def _job_notes(line: JobReport) -> list[str]:
    notes = []
    if line.status is None:
        notes.append("no leader has seen the row yet")
    if line.message and line.status != "Disabled":
        notes.append(line.message)
    failures = line.consecutive_failures or 0
    if failures:
        times = "failed" if failures == 1 else f"{failures} failures in a row"
        notes.append(f"{times}: {first_line(line.last_error, length=200) or 'no error was recorded'}")
    return notes


def _run_cells(line: RunReport, now: datetime) -> list[object]:
    return [
        line.job_id,
        ago(line.scheduled_time, now),
        line.state + (f" x{line.missed_count}" if line.missed_count else ""),
        line.attempt,
        line.trigger_type,
        _duration(line.duration_s),
    ]


def _run_more(line: RunReport) -> list[object]:
    return [line.run_id, stamp(line.scheduled_time), window(line), stamp(line.started_at)]


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s" if seconds < 60 else span(seconds)


def _states(given: Sequence[str]) -> list[RunState]:
    states = []
    for name in ",".join(given).split(",") if given else ():
        try:
            states.append(RunState(name.strip().upper()))
        except ValueError:
            known = [item.lower() for item in RunState]
            meant = did_you_mean(name.strip().lower(), known) or f"; expected {', '.join(known)}"
            raise RefusedError(f"--state = {name.strip()!r}: is not a state{meant}") from None
    return states
