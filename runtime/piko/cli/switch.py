"""Switching schedules off and on, one or all that filters leave: what pause and resume share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Output, first_line, person, say, show_document, stamp, with_database
from piko.core.types import JobStatus
from piko.errors import RefusedError, did_you_mean

if TYPE_CHECKING:
    from piko.steering.bulk import ItemResult
    from piko.store.engine import Database
    from piko.store.reports.jobs import JobFilter, RowOwner

SomeJob = Annotated[str | None, typer.Argument(metavar="[JOB]", help="The job's id.", show_default=False)]
Text = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Jobs whose id contains it.", show_default=False)
]
State = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STATUS",
        help=f"Jobs in this status: {', '.join(JobStatus)}. Repeat the option for several.",
        show_default=False,
    ),
]
Owner = Annotated[
    str | None, typer.Option(metavar="sql|resource", help="Jobs whose row it owns.", show_default=False)
]
Namespace = Annotated[
    str | None, typer.Option(metavar="NAMESPACE", help="Jobs of its resources.", show_default=False)
]
Late = Annotated[bool | None, typer.Option("--late/--not-late", help="Late jobs.", show_default=False)]
Enabled = Annotated[
    bool | None, typer.Option("--enabled/--not-enabled", help="Jobs that are not paused.", show_default=False)
]
Failing = Annotated[
    bool | None, typer.Option("--failing/--not-failing", help="Failing jobs.", show_default=False)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """What is asked for. `until` is when a pause ends by itself."""

    enabled: bool
    until: datetime | None = None
    reason: str | None
    dry_run: bool

    @property
    def word(self) -> str:
        """What a job is that was switched."""
        until = "" if self.until is None else f" until {stamp(self.until)}"
        return "resumed" if self.enabled else f"paused{until}"


def filter_of(
    text: str | None,
    state: Sequence[str] | None,
    owner: str | None,
    namespace: str | None,
    *,
    late: bool | None,
    failing: bool | None,
    enabled: bool | None,
) -> JobFilter | None:
    """The filter that the options of `piko pause` say, each by its name; None if none is given.

    - `text`: part of the id.
    - `state`: statuses of the job.
    - `owner`: `sql` or `resource`.
    - `namespace`: that of the resource which owns the row.
    - `late`, `failing`, `enabled`: whether the job is so.

    Raises `RefusedError`.
    """
    from piko.store.reports.jobs import JobFilter

    for given in state or ():
        if given not in list(JobStatus):
            raise RefusedError(
                f"--state = {given!r}: no status{did_you_mean(given, list(JobStatus))}; "
                f"expected one of {', '.join(JobStatus)}"
            )
    wanted = JobFilter(
        text=text,
        states=tuple(state or ()),
        owner=owner_of(owner),
        namespace=namespace,
        late=late,
        failing=failing,
        enabled=enabled,
    )
    return None if wanted == JobFilter() else wanted


def owner_of(owner: str | None) -> RowOwner | None:
    """Who `--owner` says owns a row; None: anybody. Raises `RefusedError`."""
    from piko.store.reports.jobs import RowOwner

    if owner is not None and owner not in list(RowOwner):
        raise RefusedError(f"--owner = {owner!r}: expected {' or '.join(RowOwner)}")
    return None if owner is None else RowOwner(owner)


def switch(asked: Switch, job: str | None, wanted: JobFilter | None, dsn: str | None, output: Output) -> None:
    """Switch `job`, or all that `wanted` leaves, and say so; exit 1 if one of several was refused.

    - `asked`: off or on, until when, and why.
    - `job`, `wanted`: one of them is None.
    - `dsn`: the database's URL; None: the setting.
    - `output`: the form of the answer.
    """
    if (job is None) == (wanted is None):
        raise typer.BadParameter("give either a job or filters, such as --text, --state or --failing")
    if job is not None:
        _switch_one(asked, job, dsn, output)
    elif wanted is not None:
        _switch_many(asked, wanted, dsn, output)


def _switch_one(asked: Switch, job: str, dsn: str | None, output: Output) -> None:
    async def ask(database: Database) -> bool:
        from piko.clock import SystemClock
        from piko.steering import schedules

        return await schedules.set_enabled(
            database,
            job,
            enabled=asked.enabled,
            until=asked.until,
            now=SystemClock().now(),
            actor=person(asked.reason),
            dry_run=asked.dry_run,
        )

    changed = with_database(dsn, ask)
    if output.is_document:
        answer = {"job_id": job, "enabled": asked.enabled, "paused_until": asked.until, "changed": changed}
        show_document({**answer, "dry_run": asked.dry_run}, output)
    elif asked.dry_run:
        typer.echo(f"{job}: {'would be' if changed else 'is already'} {asked.word} (--dry-run)")
    else:
        typer.echo(f"{job}: {'' if changed else 'is already '}{asked.word}")


def _switch_many(asked: Switch, wanted: JobFilter, dsn: str | None, output: Output) -> None:
    async def ask(database: Database) -> list[ItemResult]:
        from piko.clock import SystemClock
        from piko.steering import bulk

        return await bulk.set_enabled(
            database,
            wanted,
            enabled=asked.enabled,
            until=asked.until,
            now=SystemClock().now(),
            actor=person(asked.reason),
            dry_run=asked.dry_run,
        )

    results = with_database(dsn, ask)
    refused = [item for item in results if item.result == "refused"]
    changed = sum(item.result == "changed" for item in results)
    if output.is_document:
        show_document({"dry_run": asked.dry_run, "changed": changed, "results": results}, output)
    else:
        for item in refused:
            say(f"{item.job_id}: refused: {first_line(item.detail, length=200)}")
        jobs = f"{changed} {'job' if changed == 1 else 'jobs'}"
        did = f"{jobs} would be {asked.word} (--dry-run)" if asked.dry_run else f"{jobs} {asked.word}"
        typer.echo(f"{did}, {len(results) - changed - len(refused)} already so, {len(refused)} refused")
    if refused:
        raise typer.Exit(1)
