"""`piko why`: why a job does not run, or did not run at an instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import (
    Dsn,
    Form,
    Job,
    Output,
    instant,
    show_json,
    unknown_job,
    with_database,
    zone_in_force,
)

if TYPE_CHECKING:
    from piko.store.engine import Database
    from piko.store.reports.explanations import JobExplanation


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

    async def read(database: Database) -> JobExplanation:
        from piko.store.reports.explanations import explain_job
        from piko.store.reports.overview import Overview

        moment = None
        if at is not None:
            line = await Overview(database=database).job(job)
            if line is None:
                raise await unknown_job(database, job)
            moment = instant(at, option="INSTANT", zone=line.timezone or zone)
        return await explain_job(database, job, at=moment, timezone=zone)

    explained = with_database(dsn, read)
    if output is Output.JSON:
        show_json(explained)
        return
    for reason in explained.reasons:
        typer.echo(f"{reason.text}; {reason.remedy}" if reason.remedy else reason.text)
