"""`piko report`: what ran in a period, what failed, and how long it took."""

from __future__ import annotations

from typing import Annotated

import typer

from piko.cli.answers import (
    Dsn,
    Form,
    Output,
    duration,
    instant_or_age,
    show_document,
    show_table,
    stamp,
)
from piko.cli.reads import with_reads
from piko.errors import RefusedError
from piko.tables import Row


def report(
    since: Annotated[
        str, typer.Option(metavar="INSTANT|AGE", help="Due since then; an age counts back from now.")
    ] = "24h",
    until: Annotated[
        str | None,
        typer.Option(metavar="INSTANT|AGE", help="Due before then; default: now.", show_default=False),
    ] = None,
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Only this job.", show_default=False)] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Count the runs of a period by job and outcome, those that failed first, with how long they took."""
    from piko.clock import SystemClock

    now = SystemClock().now()
    begin = instant_or_age(since, option="--since", now=now)
    end = now if until is None else instant_or_age(until, option="--until", now=now)
    if end <= begin:
        raise RefusedError(f"--until = {until!r}: is not after --since = {since!r}")
    found = with_reads(dsn, lambda reads: reads.period(begin, end, job))
    if output.is_document:
        show_document(found, output)
        return
    typer.echo(f"due from {stamp(begin)} to {stamp(end)}")
    columns = ["JOB", "RUNS", "SUCCEEDED", "FAILED", "CANCELLED", "LEFT OUT", "UNDER WAY", "MEAN", "LONGEST"]
    rows = [
        Row(
            cells=[
                line.job_id,
                line.runs,
                line.succeeded,
                line.failed,
                line.cancelled,
                line.left_out,
                line.under_way,
                duration(line.mean_s),
                duration(line.longest_s),
            ]
        )
        for line in (*found.jobs, *([found.total] if len(found.jobs) > 1 else []))
    ]
    show_table(columns, rows, otherwise="nothing was due")
    if found.more:
        typer.echo(f"and {found.more} more jobs; give --job, or a shorter period")
