"""`piko watermark`: up to where the data of a stateful job is complete, and moving that."""

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
    show_document,
    stamp,
    with_database,
    zone_in_force,
)
from piko.cli.reads import with_reads
from piko.errors import RefusedError
from piko.text import counted

if TYPE_CHECKING:
    from piko.steering.schedules import WatermarkChange
    from piko.store.engine import Database


def watermark(
    job: Job,
    to: Annotated[
        str | None,
        typer.Argument(
            metavar="[INSTANT]",
            help="Where to move it, in the schedule's zone; default: only show it.",
            show_default=False,
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Begin again with the last full window.")] = False,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Show or move the watermark of a stateful job: the windows after it are run, in order."""
    if to is not None and clear:
        raise RefusedError(f"{to!r} and --clear: give one of them")
    shows = to is None and not clear
    if shows:
        change = with_reads(dsn, lambda reads: reads.watermark(job))
    else:
        change = _move(job, to, reason, dsn, dry_run=dry_run)
    if output.is_document:
        show_document(change, output)
    elif shows:
        typer.echo(f"{job}: {stamp(change.before) or 'none yet'}; {_windows(change)}")
    elif change.before == change.watermark:
        there = stamp(change.before) or "without an instant"
        typer.echo(
            f"{job}: its watermark is {there} already: nothing moves, and the next due time begins as before"
        )
    else:
        verb = "would move" if dry_run else "moved"
        before, after = stamp(change.before) or "none", stamp(change.watermark) or "the last full window"
        typer.echo(f"{job}: {verb} from {before} to {after}; {_windows(change)}")


def _move(job: str, to: str | None, reason: str | None, dsn: str | None, *, dry_run: bool) -> WatermarkChange:
    zone = zone_in_force(dsn)

    async def act(database: Database) -> WatermarkChange:
        from piko.clock import SystemClock
        from piko.steering.schedules import set_watermark, stateful_job

        line = await stateful_job(database, job)
        moment = None if to is None else instant(to, option="INSTANT", zone=line.timezone or zone)
        now, actor = SystemClock().now(), person(reason)
        return await set_watermark(database, job, moment, zone=zone, now=now, actor=actor, dry_run=dry_run)

    return with_database(dsn, act)


def _windows(change: WatermarkChange) -> str:
    """How many windows run next, and which."""
    if change.watermark is None:
        return "the last full window runs next"
    if not change.windows:
        return "no window is missing"
    first, last = stamp(change.first_window_start), stamp(change.last_window_end)
    return f"{counted(change.windows, 'window')} to run, from {first} to {last}"
