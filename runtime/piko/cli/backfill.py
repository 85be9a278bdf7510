"""`piko backfill`: run the windows of a range, again or for the first time, in addition to the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import (
    DryRun,
    Dsn,
    Form,
    Job,
    Output,
    Reason,
    instant,
    person,
    say,
    show_document,
    show_table,
    stamp,
    with_database,
    zone_in_force,
)
from piko.cli.groups import DefaultGroup
from piko.cli.reads import Reads, with_reads
from piko.core.types import BackfillState
from piko.tables import Row
from piko.text import counted

if TYPE_CHECKING:
    from piko.decisions.backfill_range import PlannedRange
    from piko.model.backfills import Backfill
    from piko.store.engine import Database

_SHOWN = 20


class _StartsByDefault(DefaultGroup):
    """`piko backfill JOB …` is `piko backfill start JOB …`."""

    default = "start"


commands = typer.Typer(
    cls=_StartsByDefault,
    no_args_is_help=True,
    help="Run the windows of a range: `piko backfill JOB --from A --to B`; pause, resume, cancel, status.",
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The backfill's id, or a unique prefix of it.")]


@commands.command()
def start(
    job: Job,
    frm: Annotated[str, typer.Option("--from", metavar="INSTANT", help="Start of the range.")],
    to: Annotated[str, typer.Option("--to", metavar="INSTANT", help="End of the range, exclusive.")],
    parallel: Annotated[int, typer.Option(min=1, max=10_000, help="Windows to run in parallel.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the windows without running them.")
    ] = False,
    reason: Reason = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Run every whole window of the range, in order. Scheduled runs take precedence.

    Instants without an offset are in the schedule's zone. The windows are those of the current schedule. The
    watermark does not move.
    """
    zone = zone_in_force(dsn)

    async def ask(database: Database) -> tuple[PlannedRange, Backfill | None]:
        from piko.clock import SystemClock
        from piko.steering import backfills
        from piko.steering.schedules import stateful_job

        name = (await stateful_job(database, job)).timezone or zone
        return await backfills.start(
            database,
            job,
            begin=instant(frm, option="--from", zone=name),
            end=instant(to, option="--to", zone=name),
            parallel=parallel,
            zone=zone,
            clock=SystemClock(),
            actor=person(reason),
            dry_run=dry_run,
        )

    planned, request = with_database(dsn, ask)
    if output.is_document:
        answer = {"start": planned.start, "end": planned.end, "windows_total": planned.count}
        show_document(
            {
                "backfill_id": None if request is None else request.backfill_id,
                "job_id": job,
                **answer,
                "windows": planned.windows,
                "left_out": planned.left_out,
            },
            output,
        )
        return
    if request is None:
        for window in planned.windows[:_SHOWN]:
            typer.echo(f"{stamp(window.start)} - {stamp(window.end)}")
        if planned.count > _SHOWN:
            typer.echo(f"… and {planned.count - _SHOWN} more, the last ends at {stamp(planned.end)}")
    for window in planned.left_out:
        typer.echo(f"skipped, not a whole window: {stamp(window.start)} - {stamp(window.end)}")
    extent = f"{counted(planned.count, 'window')} from {stamp(planned.start)} to {stamp(planned.end)}"
    if request is None:
        typer.echo(f"{job}: {extent}; nothing was started (--dry-run)")
    else:
        typer.echo(f"{job}: backfill {request.backfill_id}: {extent}, {parallel} at once")
        say(f"see `piko backfill status {request.backfill_id}`")


@commands.command()
def status(
    backfill: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only this backfill.", show_default=False)
    ] = None,
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Only backfills of this job.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="Maximum number of backfills.")
    ] = 20,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Show the progress of backfills. Exit 1 if the given backfill has failed windows."""

    async def read(reads: Reads) -> list[Backfill]:
        if backfill is None:
            return await reads.backfills(job, most=limit)
        return [await reads.backfill(backfill)]

    found = with_reads(dsn, read)
    if output.is_document:
        show_document(found, output)
    else:
        _show(found, output)
    if backfill is not None and any(item.windows_failed for item in found):
        raise typer.Exit(1)


@commands.command()
def pause(
    backfill: Id,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Pause a backfill: start no further windows. Running windows continue."""
    _change(backfill, reason, dsn, output, to=BackfillState.PAUSED, dry_run=dry_run)


@commands.command()
def resume(
    backfill: Id,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Resume a paused backfill."""
    _change(backfill, reason, dsn, output, to=BackfillState.ACTIVE, dry_run=dry_run)


@commands.command()
def cancel(
    backfill: Id,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Cancel a backfill and its runs. It cannot be resumed."""
    _change(backfill, reason, dsn, output, to=BackfillState.CANCELLED, dry_run=dry_run)


def _change(
    backfill: str, reason: str | None, dsn: str | None, output: Output, *, to: BackfillState, dry_run: bool
) -> None:
    from piko.clock import SystemClock
    from piko.steering import backfills

    changed = with_database(
        dsn,
        lambda database: backfills.change_state(
            database, backfill, to=to, clock=SystemClock(), actor=person(reason), dry_run=dry_run
        ),
    )
    if output.is_document:
        show_document(changed, output)
    else:
        becomes = f"would be {to.value} (--dry-run)" if dry_run else f"is {changed.state.value}"
        typer.echo(f"{changed.job_id}: backfill {changed.backfill_id} {becomes}")


def _show(found: list[Backfill], output: Output) -> None:
    columns = ["BACKFILL", "JOB", "STATE", "DONE"]
    if output is Output.WIDE:
        columns += ["RANGE", "PARALLEL", "BY"]
    rows = [
        Row(
            cells=[
                item.backfill_id,
                item.job_id,
                item.state.value,
                f"{item.windows_succeeded}/{item.windows_total}",
                f"{stamp(item.range_start)} - {stamp(item.range_end)}",
                item.parallelism,
                item.requested_by,
            ][: len(columns)],
            notes=_notes(item),
        )
        for item in found
    ]
    show_table(columns, rows, otherwise="no backfills")


def _notes(item: Backfill) -> list[str]:
    notes = [item.message] if item.message else []
    if item.windows_failed:
        failed = f"{item.windows_failed} failed windows"
        notes.append(f"{failed}: piko runs --backfill {item.backfill_id} --state failed")
    return notes
