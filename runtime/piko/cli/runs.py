"""`piko runs`: the history of runs, one run in full, and what a person does to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import (
    DryRun,
    Dsn,
    Form,
    Output,
    Reason,
    duration,
    first_line,
    instant_or_age,
    person,
    say,
    show_document,
    show_table,
    stamp,
    with_database,
)
from piko.cli.groups import DefaultGroup
from piko.cli.reads import Reads, with_reads
from piko.cli.watching import Watch, show_answer
from piko.core.types import RunState
from piko.errors import NotFoundError, RefusedError, did_you_mean
from piko.tables import Row, ago, shown
from piko.text import counted

if TYPE_CHECKING:
    from piko.model.runs import Run
    from piko.steering.bulk import RunVerb
    from piko.store.engine import Database
    from piko.store.reports.overview import RunReport
    from piko.store.reports.run_logs import RunLogReport


class _ListsByDefault(DefaultGroup):
    """`piko runs …` is `piko runs list …`."""

    default, alone = "list", True


commands = typer.Typer(
    cls=_ListsByDefault, help="List runs (`piko runs --job JOB`); show, cancel or retry one."
)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]


@commands.command("list")
def runs(
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Only this job.", show_default=False)] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only these states, such as failed,lost.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT|AGE",
            help="Due since then; an age such as 2h counts back from now.",
            show_default=False,
        ),
    ] = None,
    backfill: Annotated[
        str | None, typer.Option(metavar="ID", help="Only runs of this backfill.", show_default=False)
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="Maximum number of runs.")
    ] = 20,
    watch: Watch = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """List runs, newest due time first. Each attempt is a run of its own."""
    from piko.clock import SystemClock
    from piko.store.reports.runs import RunFilter

    states = tuple(_states(state or ()))

    def read() -> tuple[list[RunReport], dict[str, str]]:
        begin = None if since is None else instant_or_age(since, option="--since", now=SystemClock().now())
        wanted = RunFilter(job_id=job, states=states, backfill_id=backfill, since=begin)

        async def runs_and_zones(reads: Reads) -> tuple[list[RunReport], dict[str, str]]:
            found = await reads.runs(wanted, most=limit)
            named = {line.job_id for line in found} if output is Output.WIDE else ()
            return found, await reads.zones(named)

        return with_reads(dsn, runs_and_zones)

    show_answer(read, lambda found: _show_list(*found, output), watch=watch, output=output)


def _show_list(found: Sequence[RunReport], zones: Mapping[str, str], output: Output) -> bool:
    from piko.clock import SystemClock

    if output.is_document:
        show_document(found, output)
        return False
    now = SystemClock().now()
    columns = ["JOB", "SCHEDULED", "STATE", "ATTEMPT", "TRIGGER", "DURATION"]
    if output is Output.WIDE:
        columns += ["RUN", "SCHEDULED TIME", "WINDOW", "STARTED"]
    rows = [
        Row(
            cells=[*_cells(line, now), *_more(line, zones.get(line.job_id))][: len(columns)],
            notes=[first_line(line.error, length=1000 if output is Output.WIDE else 200)]
            if line.error
            else [],
        )
        for line in found
    ]
    show_table(columns, rows, otherwise="no runs match")
    return False


@commands.command()
def show(run: RunId, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Show one run: its times, window, attempts, error, records that sinks refused, progress and result."""

    async def read(reads: Reads) -> tuple[RunReport, list[RunReport], RunLogReport | None, str | None]:
        found = await reads.run(run)
        if found is None:
            raise NotFoundError(f"no run {run!r} in job_run; `piko runs -o wide` lists ids")
        zones = await reads.zones([found.job_id])
        return found, await reads.attempts(found), await reads.log(run), zones.get(found.job_id)

    found, attempts, log, zone = with_reads(dsn, read)
    if output.is_document:
        show_document({"run": found, "attempts": attempts, "log": log}, output)
        return
    others = [("also", _attempt(other)) for other in attempts if other.run_id != run]
    for name, text in [*_facts(found, log, zone), *others]:
        if text:
            typer.echo(f"{name:<10} {shown(text)}")
    for line in ["", *found.error.rstrip().split("\n")] if found.error else ():
        say(shown(line, indented=True))
    if log is not None and log.line_count:
        say(f"\n{counted(log.line_count, 'line')} of log: piko logs {run}")


@commands.command()
def cancel(
    run: RunId,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """End a run that waits or runs, as CANCELLED. Its handler is cancelled wherever it runs."""
    _act("cancel", run, reason, dsn, output, dry_run=dry_run)


@commands.command()
def retry(
    run: RunId,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Run again what did not succeed: the same due time and window, as the next attempt."""
    _act("retry", run, reason, dsn, output, dry_run=dry_run)


def window(line: RunReport) -> str:
    """The window of data that a run covers, or the last of the due times that its row stands for."""
    if line.window_start is not None:
        return f"{stamp(line.window_start)} - {stamp(line.window_end)}"
    if line.missed_through is not None and line.missed_through != line.scheduled_time:
        return f"through {stamp(line.missed_through)}"
    return ""


def _act(
    verb: RunVerb, run_id: str, reason: str | None, dsn: str | None, output: Output, *, dry_run: bool
) -> None:
    """Do it to one run, and say so."""

    async def act(database: Database) -> Run:
        from piko.clock import SystemClock
        from piko.steering import runs as acts

        do = acts.cancel if verb == "cancel" else acts.retry
        return await do(database, run_id, clock=SystemClock(), actor=person(reason), dry_run=dry_run)

    run = with_database(dsn, act)
    unmade = verb == "retry" and dry_run
    if output.is_document:
        show_document(
            {
                "run_id": None if unmade else run.run_id,
                "job_id": run.job_id,
                "scheduled_time": run.scheduled_time,
                "attempt": run.attempt,
                "state": run.state,
                "dry_run": dry_run,
            },
            output,
        )
        return
    done = "cancelled" if verb == "cancel" else "queued"
    attempt = f"attempt {run.attempt} of {stamp(run.scheduled_time)}"
    typer.echo(f"{run.job_id}: {attempt} {f'would be {done}' if dry_run else f'{done} as run {run.run_id}'}")


def _facts(run: RunReport, log: RunLogReport | None, zone: str | None) -> list[tuple[str, str]]:
    why = run.trigger_type.replace("_", " ")
    return [
        ("job", run.job_id),
        ("run", run.run_id),
        ("state", run.state + (f" x{run.missed_count}" if run.missed_count else "")),
        ("due", stamp(run.scheduled_time, own=zone)),
        ("window", window(run)),
        ("attempt", f"{run.attempt}, {why}"),
        ("not before", stamp(run.not_before)),
        ("started", stamp(run.started_at)),
        ("finished", stamp(run.finished_at)),
        ("took", duration(run.duration_s) or ""),
        ("replica", run.instance_id or ""),
        ("config", "" if run.config_revision is None else f"revision {run.config_revision}"),
        ("backfill", run.backfill_id or ""),
        ("progress", "" if log is None else log.progress),
        ("result", "" if log is None else log.result or ""),
    ]


def _attempt(run: RunReport) -> str:
    error = f": {first_line(run.error, length=200)}" if run.error else ""
    return f"attempt {run.attempt}, {run.state}, run {run.run_id}{error}"


def _cells(line: RunReport, now: datetime) -> list[object]:
    return [
        line.job_id,
        ago(line.scheduled_time, now),
        line.state + (f" x{line.missed_count}" if line.missed_count else ""),
        line.attempt,
        line.trigger_type,
        duration(line.duration_s),
    ]


def _more(line: RunReport, zone: str | None) -> list[object]:
    return [line.run_id, stamp(line.scheduled_time, own=zone), window(line), stamp(line.started_at)]


def _states(given: Sequence[str]) -> list[RunState]:
    states = []
    for name in ",".join(given).split(",") if given else ():
        try:
            states.append(RunState(name.strip().upper()))
        except ValueError:
            known = [item.lower() for item in RunState]
            meant = did_you_mean(name.strip().lower(), known) or f"; expected {', '.join(known)}"
            raise RefusedError(f"--state = {name.strip()!r}: is not a state{meant}") from None
    return states
