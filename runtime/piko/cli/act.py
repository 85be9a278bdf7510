"""`piko trigger`, `piko pause`, `piko resume`, `piko forget`: manual actions on one job."""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import (
    DryRun,
    Dsn,
    Form,
    Job,
    Output,
    Reason,
    first_line,
    instant,
    instant_or_length,
    person,
    say,
    show_document,
    stamp,
    with_database,
    zone_in_force,
)
from piko.cli.switch import (
    Enabled,
    Failing,
    Late,
    Namespace,
    Owner,
    SomeJob,
    State,
    Switch,
    Text,
    filter_of,
    switch,
)
from piko.core.types import FINAL_STATES, RunState
from piko.errors import RefusedError
from piko.tables import ago

if TYPE_CHECKING:
    from piko.model.runs import Run
    from piko.store.engine import Database
    from piko.store.reports.overview import RunReport

_LOOK_EVERY_S = 0.25


def trigger(
    job: Job,
    wait: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Wait up to this long for the last attempt to end; exit 1 unless its state is SUCCESS.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="Of a stateful job: run the window that begins then. The watermark does not move.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help="Values that this run has instead of those of its config; recorded with the run.",
            show_default=False,
        ),
    ] = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Run a job once, now, in addition to its schedule. A paused job runs too."""
    overrides = {} if config is None else _object(config)
    zone = "UTC" if window is None else zone_in_force(dsn)

    async def queue(database: Database) -> Run:
        from piko.clock import SystemClock
        from piko.steering import runs
        from piko.steering.schedules import stateful_job

        clock, actor = SystemClock(), person(reason)
        if window is None:
            return await runs.trigger(
                database, job, overrides=overrides, clock=clock, actor=actor, dry_run=dry_run
            )
        name = (await stateful_job(database, job)).timezone or zone
        return await runs.run_window(
            database,
            job,
            instant(window, option="--window", zone=name),
            overrides=overrides,
            zone=zone,
            clock=clock,
            actor=actor,
            dry_run=dry_run,
        )

    async def ask(database: Database) -> tuple[Run, RunReport | None]:
        run = await queue(database)
        if wait is None or dry_run:
            return run, None
        return run, await _last_attempt(database, run, wait, print_retries=not output.is_document)

    run, end = with_database(dsn, ask)
    if dry_run:
        covers = "" if run.window is None else f", window {stamp(run.window.start)} - {stamp(run.window.end)}"
        typer.echo(f"{job}: a run would be queued for {stamp(run.scheduled_time)}{covers} (--dry-run)")
        return
    state = RunState.QUEUED if end is None else RunState(end.state)
    if output.is_document:
        answer = {
            "run_id": run.run_id if end is None else end.run_id,
            "job_id": job,
            "scheduled_time": run.scheduled_time,
            "attempt": 1 if end is None else end.attempt,
            "state": state,
        }
        show_document({**answer, "error": None if end is None else end.error}, output)
    elif wait is None:
        typer.echo(f"{job}: queued as run {run.run_id}, for {stamp(run.scheduled_time)}")
    else:
        say(f"{job}: {_ending(run, end, wait)}")
    if wait is not None and state is not RunState.SUCCESS:
        raise typer.Exit(1)


def pause(
    job: SomeJob = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH|INSTANT",
            help="The leader resumes it then: a length such as 30m, 2h or 7d from now, or an instant (UTC).",
            show_default=False,
        ),
    ] = None,
    text: Text = None,
    state: State = None,
    owner: Owner = None,
    namespace: Namespace = None,
    late: Late = None,
    failing: Failing = None,
    enabled: Enabled = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Pause a schedule (`enabled = 0`), or every one that the filters leave.

    Current runs continue; due times that pass meanwhile are not made up.
    """
    from piko.clock import SystemClock

    now = SystemClock().now()
    asked = Switch(
        enabled=False,
        until=None if until is None else instant_or_length(until, option="--until", now=now),
        reason=reason,
        dry_run=dry_run,
    )
    wanted = filter_of(text, state, owner, namespace, late=late, failing=failing, enabled=enabled)
    switch(asked, job, wanted, dsn, output)


def resume(
    job: SomeJob = None,
    text: Text = None,
    state: State = None,
    owner: Owner = None,
    namespace: Namespace = None,
    late: Late = None,
    failing: Failing = None,
    enabled: Enabled = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Resume a paused schedule (`enabled = 1`), or every one that the filters leave.

    Due times that passed meanwhile do not fire.
    """
    wanted = filter_of(text, state, owner, namespace, late=late, failing=failing, enabled=enabled)
    switch(Switch(enabled=True, reason=reason, dry_run=dry_run), job, wanted, dsn, output)


def forget(job: Job, reason: Reason = None, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Delete the progress of a deleted job, so that a new row starts from scratch. Its runs are kept."""
    from piko.model.progress import JobProgress
    from piko.store.progress import ProgressStore
    from piko.store.reports.overview import Overview

    async def drop(database: Database) -> JobProgress:
        progress = ProgressStore(database=database)
        kept = (await progress.without_row([job])).get(job)
        if kept is not None and await progress.forget(job, actor=person(reason)):
            return kept
        if await Overview(database=database).job(job) is not None:
            raise RefusedError(
                f"{job}: it still has a row in scheduled_job. Delete the row (or its resource) first; or, "
                "to start "
                "again from the last full window, keep the row and set last_data_time to NULL"
            )
        others = ", ".join(list(await progress.without_row())[:10]) or "none"
        raise RefusedError(f"{job}: no progress is kept for it; deleted jobs with progress: {others}")

    kept = with_database(dsn, drop)
    if output.is_document:
        show_document({"job_id": job, "data_through": kept.data_through, "cursor_at": kept.cursor_at}, output)
        return
    moments = {"data": kept.data_through, "due times": kept.cursor_at}
    extent = ", ".join(
        f"{what} up to {stamp(moment)}" for what, moment in moments.items() if moment is not None
    )
    typer.echo(f"{job}: progress deleted{f' ({extent})' if extent else ''}; a new row starts from scratch")


async def _last_attempt(
    database: Database, run: Run, patience_s: float, *, print_retries: bool
) -> RunReport | None:
    """The last attempt once it has ended or `patience_s` is over.

    A failed attempt may be followed by a retry.
    """
    from piko.clock import SystemClock
    from piko.store.reports.overview import Overview

    clock, overview = SystemClock(), Overview(database=database)
    give_up, printed = clock.monotonic() + patience_s, 0
    while True:
        attempts = await overview.attempts(run.job_id, run.scheduled_time)
        for earlier, later in pairwise(attempts[printed:] if print_retries else ()):
            typer.echo(f"{run.job_id}: {_retried(earlier, later, clock.now())}")
            printed += 1
        last = attempts[-1] if attempts else None
        ended = last is not None and RunState(last.state) in FINAL_STATES
        if ended or clock.monotonic() >= give_up:
            return last
        await asyncio.sleep(_LOOK_EVERY_S)


def _retried(earlier: RunReport, later: RunReport, now: datetime) -> str:
    error = f": {first_line(earlier.error)}" if earlier.error else ""
    begin = ago(later.not_before, now) if later.not_before and later.not_before > now else "at once"
    return f"attempt {earlier.attempt} is {earlier.state}{error}; attempt {later.attempt} starts {begin}"


def _ending(run: Run, end: RunReport | None, patience_s: float) -> str:
    if end is None:
        return f"run {run.run_id} is no longer in job_run"
    which = f"run {end.run_id}" + (f", attempt {end.attempt}," if end.attempt > 1 else "")
    if RunState(end.state) not in FINAL_STATES:
        see = f"see `piko runs --job {run.job_id}`"
        return f"{which} is still {end.state} after {patience_s:g} s and continues; {see}"
    return f"{which} is {end.state}" + (f": {end.error}" if end.error else "")


def _object(text: str) -> dict[str, object]:
    from piko.json_object import read_object

    try:
        return read_object(text)
    except ValueError as error:
        raise RefusedError(f"--config {error}") from None
