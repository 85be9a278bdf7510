"""`piko backfill`: run the windows of a range, again or for the first time, in addition to the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from piko.cli.answers import (
    Dsn,
    Form,
    Job,
    Output,
    author,
    instant,
    show_json,
    show_table,
    stamp,
    unknown_job,
    with_database,
    zone_in_force,
)
from piko.core.types import BackfillState
from piko.errors import RefusedError
from piko.tables import Row

if TYPE_CHECKING:
    from piko.decisions.backfill_range import PlannedRange
    from piko.model.backfills import Backfill
    from piko.store.engine import Database
    from piko.store.reports.overview import JobReport

_SHOWN = 20


class _StartsByDefault(TyperGroup):
    """`piko backfill JOB …` is `piko backfill start JOB …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["start", *args]
        return super().parse_args(ctx, args)


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
        from piko.decisions.backfill_range import plan_range
        from piko.decisions.backfill_windows import schedule_of
        from piko.store.backfills import BackfillStore

        line = await _stateful_job(database, job)
        clock = SystemClock()
        name = line.timezone or zone
        request = _request(line, name, parallel, clock)
        planned = plan_range(
            schedule_of(request),
            start=instant(frm, option="--from", zone=name),
            end=instant(to, option="--to", zone=name),
            now=clock.now(),
        )
        if dry_run:
            return planned, None
        request = _bounded(request, planned)
        await BackfillStore(database=database).create(request)
        return planned, request

    planned, request = with_database(dsn, ask)
    if output is Output.JSON:
        answer = {"start": planned.start, "end": planned.end, "windows_total": planned.count}
        show_json(
            {
                "backfill_id": None if request is None else request.backfill_id,
                "job_id": job,
                **answer,
                "windows": planned.windows,
                "left_out": planned.left_out,
            }
        )
        return
    if request is None:
        for window in planned.windows[:_SHOWN]:
            typer.echo(f"{stamp(window.start)} - {stamp(window.end)}")
        if planned.count > _SHOWN:
            typer.echo(f"… and {planned.count - _SHOWN} more, the last ends at {stamp(planned.end)}")
    for window in planned.left_out:
        typer.echo(f"skipped, not a whole window: {stamp(window.start)} - {stamp(window.end)}")
    extent = f"{planned.count} windows from {stamp(planned.start)} to {stamp(planned.end)}"
    if request is None:
        typer.echo(f"{job}: {extent}; nothing was started (--dry-run)")
    else:
        typer.echo(f"{job}: backfill {request.backfill_id}: {extent}, {parallel} at once")
        typer.echo(f"see `piko backfill status {request.backfill_id}`")


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

    async def read(database: Database) -> list[Backfill]:
        from piko.store.backfills import BackfillStore
        from piko.store.reports.overview import Overview

        store = BackfillStore(database=database)
        if backfill is None:
            found = await store.newest(job_id=job, limit=limit)
            if not found and job is not None and await Overview(database=database).job(job) is None:
                raise await unknown_job(database, job)
            return found
        return [await _one(store, backfill)]

    found = with_database(dsn, read)
    if output is Output.JSON:
        show_json(found)
    else:
        _show(found, output)
    if backfill is not None and any(item.windows_failed for item in found):
        raise typer.Exit(1)


@commands.command()
def pause(backfill: Id, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Pause a backfill: start no further windows. Running windows continue."""
    _change(backfill, dsn, output, to=BackfillState.PAUSED, of=[BackfillState.ACTIVE])


@commands.command()
def resume(backfill: Id, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Resume a paused backfill."""
    _change(backfill, dsn, output, to=BackfillState.ACTIVE, of=[BackfillState.PAUSED])


@commands.command()
def cancel(backfill: Id, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Cancel a backfill and its runs. It cannot be resumed."""
    _change(
        backfill, dsn, output, to=BackfillState.CANCELLED, of=[BackfillState.ACTIVE, BackfillState.PAUSED]
    )


async def _stateful_job(database: Database, job_id: str) -> JobReport:
    from piko.store.reports.overview import Overview

    line = await Overview(database=database).job(job_id)
    if line is None:
        raise await unknown_job(database, job_id)
    if line.stateful is None:
        raise RefusedError(
            f"{job_id}: no replica has registered it, so it is not known whether it has windows; "
            "start a replica that has the job"
        )
    if not line.stateful:
        raise RefusedError(
            f"{job_id}: it is stateless, so it has no windows to run; declare it with stateful=True, "
            f"or run it once with `piko trigger {job_id}`"
        )
    return line


def _request(line: JobReport, zone: str, parallel: int, clock: Any) -> Backfill:
    from piko.core.identity import Ids
    from piko.model.backfills import Backfill

    now = clock.now()
    return Backfill(
        backfill_id=Ids(clock).new(),
        job_id=line.job_id,
        range_start=now,
        range_end=now,
        schedule_type=line.schedule_type,
        schedule_expr=line.schedule_expr,
        timezone=zone,
        parallelism=parallel,
        next_start=now,
        windows_total=0,
        requested_by=author(),
    )


def _bounded(request: Backfill, planned: PlannedRange) -> Backfill:
    from dataclasses import replace

    return replace(
        request,
        range_start=planned.start,
        range_end=planned.end,
        next_start=planned.start,
        windows_total=planned.count,
    )


async def _one(store: Any, backfill_id: str) -> Backfill:
    found: list[Backfill] = await store.matching(backfill_id)
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(item.backfill_id for item in found)
        raise RefusedError(f"backfill {backfill_id!r} is ambiguous: {ids}; give more of the id")
    raise RefusedError(f"no backfill {backfill_id!r}; `piko backfill status` lists them")


def _change(
    backfill: str, dsn: str | None, output: Output, *, to: BackfillState, of: list[BackfillState]
) -> None:
    async def write(database: Database) -> Backfill:
        from piko.clock import SystemClock
        from piko.store.backfills import BackfillStore

        store = BackfillStore(database=database)
        found = await _one(store, backfill)
        if not await store.change_state(found.backfill_id, to=to, of=of, now=SystemClock().now()):
            states = " or ".join(state.value for state in of)
            raise RefusedError(
                f"backfill {found.backfill_id} is {found.state.value}; only a backfill that is {states} can "
                f"become {to.value}"
            )
        return await _one(store, found.backfill_id)

    changed = with_database(dsn, write)
    if output is Output.JSON:
        show_json(changed)
    else:
        typer.echo(f"{changed.job_id}: backfill {changed.backfill_id} is {changed.state.value}")


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
