"""`piko logs`: what a run logged, while it runs and afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Form, Output, first_line, show_document, stamp
from piko.cli.reads import Reads, with_reads
from piko.core.types import FINAL_STATES, RunState
from piko.errors import RefusedError
from piko.tables import shown

if TYPE_CHECKING:
    from piko.store.reports.overview import RunReport

_LOOK_EVERY_S = 0.5
_LAST_LOOKS = 5
"""Looks after the end of a run: its replica writes the last lines about a second later."""


def logs(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|JOB", help="A run's id, or a job's: then its newest run.", show_default=False
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show further lines until the run has ended.")
    ] = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Show the log of a run: its first and last lines, its progress and its result."""
    if follow and output.is_document:
        raise RefusedError("-o json shows one document, and -f a stream; leave one of them out")

    async def read(reads: Reads) -> None:
        run = await _run(reads, what)
        if output.is_document:
            show_document({"run": run, "log": await reads.log(run.run_id)}, output)
            return
        typer.echo(f"# {run.job_id}, run {run.run_id}, due {stamp(run.scheduled_time)}: {run.state}")
        await _show(reads, run, follow=follow)

    with_reads(dsn, read)


async def _run(reads: Reads, what: str) -> RunReport:
    """The run that `what` names, or the newest run that has started of the job. Raises `RefusedError`."""
    from piko.store.reports.runs import RunFilter

    run = await reads.run(what)
    if run is not None:
        return run
    newest = await reads.runs(RunFilter(job_id=what), most=20)
    in_progress = [item for item in newest if item.state == RunState.RUNNING]
    started = in_progress or [item for item in newest if item.started_at is not None]
    if not started:
        raise RefusedError(f"{what}: none of its newest runs has started; see `piko runs --job {what}`")
    return started[0]


async def _show(reads: Reads, run: RunReport, *, follow: bool) -> None:
    printed, progress, looks = 0, "", _LAST_LOOKS if follow else 1
    while looks:
        now = await reads.run(run.run_id) if follow else run
        ended = now is None or RunState(now.state) in FINAL_STATES
        looks -= 1 if ended or not follow else 0
        log = await reads.log(run.run_id)
        if log is not None:
            for line in log.lines(after=printed):
                for part in line.split("\n"):
                    typer.echo(shown(part, indented=True))
            printed = log.line_count
            if log.progress and log.progress != progress:
                progress = log.progress
                typer.echo(f"# progress: {shown(progress)}")
        if looks:
            await asyncio.sleep(_LOOK_EVERY_S)
        run = now or run
    if log is None or not (log.line_count or log.progress or log.result):
        typer.echo("# it has said nothing (or the setting log_capture leaves its lines out)")
    elif log.result:
        typer.echo(f"# result: {shown(log.result)}")
    if RunState(run.state) in FINAL_STATES:
        typer.echo(f"# {run.state}{f': {first_line(run.error, length=400)}' if run.error else ''}")
