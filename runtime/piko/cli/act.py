"""`piko trigger`, `piko pause`, `piko resume`, `piko forget`: manual actions on one job."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Form, Job, Output, first_line, show_json, stamp, unknown_job, with_database
from piko.core.types import FINAL_STATES, RunState, TriggerType
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
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Run a job once, now, in addition to its schedule. A paused job runs too."""

    async def ask(database: Database) -> tuple[Run, RunReport | None]:
        run = await _queue(database, job)
        if wait is None:
            return run, None
        return run, await _last_attempt(database, run, wait, print_retries=output is not Output.JSON)

    run, end = with_database(dsn, ask)
    state = RunState.QUEUED if end is None else RunState(end.state)
    if output is Output.JSON:
        answer = {
            "run_id": run.run_id if end is None else end.run_id,
            "job_id": job,
            "scheduled_time": run.scheduled_time,
            "attempt": 1 if end is None else end.attempt,
            "state": state,
        }
        show_json({**answer, "error": None if end is None else end.error})
    elif wait is None:
        typer.echo(f"{job}: queued as run {run.run_id}, for {stamp(run.scheduled_time)}")
    else:
        typer.echo(f"{job}: {_ending(run, end, wait)}")
    if wait is not None and state is not RunState.SUCCESS:
        raise typer.Exit(1)


def pause(job: Job, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Pause a schedule (`enabled = 0`).

    Current runs continue; due times that pass meanwhile are not made up.
    """
    _set_enabled(job, dsn, output, enabled=False)


def resume(job: Job, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Resume a paused schedule (`enabled = 1`). Due times that passed meanwhile do not fire."""
    _set_enabled(job, dsn, output, enabled=True)


def forget(job: Job, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Delete the progress of a deleted job, so that a new row starts from scratch. Its runs are kept."""
    from piko.model.progress import JobProgress
    from piko.store.progress import ProgressStore
    from piko.store.reports.overview import Overview

    async def drop(database: Database) -> JobProgress:
        progress = ProgressStore(database=database)
        kept = (await progress.without_row([job])).get(job)
        if kept is not None and await progress.forget(job):
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
    if output is Output.JSON:
        show_json({"job_id": job, "data_through": kept.data_through, "cursor_at": kept.cursor_at})
        return
    moments = {"data": kept.data_through, "due times": kept.cursor_at}
    extent = ", ".join(
        f"{what} up to {stamp(moment)}" for what, moment in moments.items() if moment is not None
    )
    typer.echo(f"{job}: progress deleted{f' ({extent})' if extent else ''}; a new row starts from scratch")


def owned_by_resource(job_id: str, owner: str, *, kind: str, patch: dict[str, object]) -> RefusedError:
    """The error for a row that a resource manages, with the command to use instead."""
    cluster, namespace, name, _ = owner.split("/", 3)
    if cluster == "dev":
        return RefusedError(
            f"{job_id}: its row is managed by the {kind} {name} of `piko dev`; edit its resource file instead"
        )
    command = f"kubectl patch {kind.lower()} {name} -n {namespace} --type merge -p '{json.dumps(patch)}'"
    return RefusedError(
        f"{job_id}: its row is managed by the {kind} {namespace}/{name} of cluster {cluster}, whose operator "
        f"would undo the change; run instead:\n  {command}"
    )


async def _queue(database: Database, job_id: str) -> Run:
    from piko.clock import SystemClock
    from piko.core.identity import Ids
    from piko.model.runs import Run
    from piko.store.reports.overview import Overview
    from piko.store.runs import insert_queued

    overview = Overview(database=database)
    line = await overview.job(job_id)
    if line is None:
        raise await unknown_job(database, job_id)
    if line.stateful is None:
        raise RefusedError(
            f"{job_id}: no replica has registered it, so nothing would run it; start a replica that has the "
            "job"
        )
    if line.stateful:
        raise RefusedError(
            f"{job_id}: a stateful job runs windows of data, and this command names none; "
            f"run `piko backfill {job_id} --from … --to …`, or set scheduled_job.last_data_time back to "
            "replay the windows after it"
        )
    clock = SystemClock()
    run = Run(
        run_id=Ids(clock).new(),
        job_id=job_id,
        scheduled_time=clock.now(),
        state=RunState.QUEUED,
        trigger_type=TriggerType.MANUAL,
    )
    await insert_queued(database, run)
    return run


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


def _set_enabled(job: str, dsn: str | None, output: Output, *, enabled: bool) -> None:
    from piko.store.edits import Edits

    async def write(database: Database) -> bool:
        edit = await Edits(database=database).set_enabled(job, enabled=enabled)
        if not edit.found:
            raise await unknown_job(database, job)
        if edit.owner is not None:
            patch: dict[str, object] = {"spec": {"suspend": not enabled}}
            raise owned_by_resource(job, edit.owner, kind="PikoSchedule", patch=patch)
        return edit.changed

    changed = with_database(dsn, write)
    if output is Output.JSON:
        show_json({"job_id": job, "enabled": enabled, "changed": changed})
    else:
        typer.echo(f"{job}: {'' if changed else 'is already '}{'resumed' if enabled else 'paused'}")
