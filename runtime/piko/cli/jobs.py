"""`piko jobs`: the state of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import (
    Dsn,
    Form,
    Output,
    duration,
    first_line,
    show_document,
    show_table,
    stamp,
)
from piko.cli.reads import with_reads
from piko.cli.watching import Watch, show_answer
from piko.tables import Row, ago

if TYPE_CHECKING:
    from piko.store.reports.overview import JobReport


def jobs(
    job: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Only these jobs.", show_default=False)
    ] = None,
    watch: Watch = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """List jobs: their status, last outcome, next due time and problems."""
    show_answer(
        lambda: with_reads(dsn, lambda reads: reads.jobs(job or ())),
        lambda found: _show(found, output),
        watch=watch,
        output=output,
    )


def _show(found: Sequence[JobReport], output: Output) -> bool:
    from piko.clock import SystemClock

    if output.is_document:
        show_document(found, output)
        return False
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
    return False


def _job_cells(line: JobReport, now: datetime) -> list[object]:
    from piko.schedule.one_line import schedule_line

    last = f"{line.last_state} {ago(line.last_scheduled_time, now)}" if line.last_state else None
    coming = None
    if line.next_run_at is not None:
        late = line.next_run_at <= now
        coming = f"due {ago(line.next_run_at, now)}" if late else ago(line.next_run_at, now)
    schedule = schedule_line(line.schedule_type, line.schedule_expr)
    return [line.job_id, line.status or "Unseen", last, coming, schedule]


def _job_more(line: JobReport) -> list[object]:
    return [
        line.timezone,
        stamp(line.last_scheduled_time, own=line.timezone),
        duration(line.last_duration_s),
        stamp(line.last_success_at),
        stamp(line.next_run_at, own=line.timezone),
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
