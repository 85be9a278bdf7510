"""`piko edit`: change fields of a schedule's row, for example one that is invalid."""

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
    person,
    show_document,
    stamp,
    with_database,
    zone_in_force,
)

if TYPE_CHECKING:
    from piko.steering.edit import ScheduleEdit
    from piko.store.engine import Database


def edit(
    job: Job,
    fields: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A column of scheduled_job and what it is to hold; null empties it. May be repeated.",
            show_default=False,
        ),
    ],
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Change the row of a schedule, and show when it is due next. The whole row has to be valid then."""
    zone = zone_in_force(dsn)

    async def act(database: Database) -> ScheduleEdit:
        from piko.clock import SystemClock
        from piko.steering.edit import edit_schedule, fields_of

        return await edit_schedule(
            database,
            job,
            fields_of(fields),
            zone=zone,
            now=SystemClock().now(),
            actor=person(reason),
            dry_run=dry_run,
        )

    done = with_database(dsn, act)
    if output.is_document:
        show_document(done, output)
        return
    if not done.after:
        typer.echo(f"{job}: it is so already")
    for name, value in done.after.items():
        verb = "would change" if dry_run else "changed"
        typer.echo(f"{job}: {verb} {name} from {_shown(done.before[name])} to {_shown(value)}")
    typer.echo(f"{job}: next due {stamp(done.next_run_at) or 'never'}")


def _shown(value: object) -> str:
    return "null" if value is None else str(value)
