"""`piko jobs`, `piko runs`: what is scheduled, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import (
    Dsn,
    Form,
    Output,
    first_line,
    instant,
    show_json,
    show_table,
    stamp,
    unknown_job,
    with_database,
)
from piko.core.types import RunState

if TYPE_CHECKING:
    from piko.store.engine import Database
    from piko.store.overview import JobLine, RunLine


def jobs(
    job: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Only these.", show_default=False)
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """List jobs: their schedule, whether they will fire, and how they did last."""
    from piko.store.overview import Overview

    async def read(database: Database) -> list[JobLine]:
        overview = Overview(database=database)
        found = await overview.jobs(job or ())
        missing = set(job or ()) - {line.job_id for line in found}
        if missing:
            raise unknown_job(min(missing), [line.job_id for line in await overview.jobs()])
        return found

    found = with_database(dsn, read)
    if output is Output.JSON:
        show_json([_without_schema(line) for line in found])
        return
    columns = ("JOB", "SCHEDULE", "ZONE", "STATUS", "NEXT", "LAST", "FOR", "WATERMARK", "OWNER")
    rows = [
        (
            line.job_id,
            f"{line.schedule_type} {first_line(line.schedule_expr, length=40)}",
            line.timezone,
            line.status or "not seen by a leader yet",
            stamp(line.next_run_at),
            line.last_state,
            stamp(line.last_scheduled_time),
            stamp(line.last_data_time),
            line.managed_by or "SQL",
        )
        for line in found
    ]
    show_table(columns, rows, otherwise="no jobs: scheduled_job has no rows")
    for line in found:
        if line.message and line.status != "Disabled":
            typer.echo(f"{line.job_id}: {line.message}")


def runs(
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Only of this job.")] = None,
    state: Annotated[list[RunState] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    backfill: Annotated[str | None, typer.Option(metavar="ID", help="Only of this backfill.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Only what was due from this instant on (UTC).")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 20,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """List runs, the newest due time first; each attempt is a run of its own."""
    from piko.store.overview import Overview

    async def read(database: Database) -> list[RunLine]:
        return await Overview(database=database).runs(
            job_id=job,
            states=state or (),
            backfill_id=backfill,
            since=None if since is None else instant(since, option="--since"),
            limit=limit,
        )

    found = with_database(dsn, read)
    if output is Output.JSON:
        show_json(found)
        return
    columns = ("JOB", "FOR", "STATE", "TRY", "WHY", "WINDOW", "STARTED", "TOOK", "RUN", "ERROR")
    rows = [
        (
            line.job_id,
            stamp(line.scheduled_time),
            line.state + (f" x{line.missed_count}" if line.missed_count else ""),
            line.attempt,
            line.trigger_type,
            window(line),
            stamp(line.started_at),
            "" if line.duration_s is None else f"{line.duration_s:.3g} s",
            line.run_id,
            first_line(line.error, length=60),
        )
        for line in found
    ]
    show_table(columns, rows, otherwise="no such runs")


def window(line: RunLine) -> str:
    """The window of data that a run covers, or the instants that its row stands for."""
    if line.window_start is not None:
        return f"{stamp(line.window_start)} - {stamp(line.window_end)}"
    if line.missed_through is not None and line.missed_through != line.scheduled_time:
        return f"through {stamp(line.missed_through)}"
    return ""


def _without_schema(line: JobLine) -> dict[str, object]:
    return {name: getattr(line, name) for name in line.__dataclass_fields__ if name != "config_schema"}
