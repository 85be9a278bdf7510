"""`piko trigger`, `piko pause`, `piko resume`: one job, by hand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Form, Job, Output, show_json, stamp, unknown_job, with_database
from piko.core.types import FINAL_STATES, RunState, TriggerType
from piko.errors import RefusedError

if TYPE_CHECKING:
    from piko.store.engine import Database
    from piko.store.overview import RunLine
    from piko.store.run_rows import Run

_LOOK_EVERY_S = 0.25


def trigger(
    job: Job,
    wait: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Wait so long for its end; exit 1 unless it is SUCCESS.",
            show_default=False,
        ),
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Run a job now, once, beside its schedule; a paused job runs too."""

    async def ask(database: Database) -> tuple[Run, RunLine | None]:
        run = await _queue(database, job)
        return run, None if wait is None else await _ended(database, run.run_id, wait)

    run, end = with_database(dsn, ask)
    state = RunState.QUEUED if end is None else RunState(end.state)
    if output is Output.JSON:
        answer = {"run_id": run.run_id, "job_id": job, "scheduled_time": run.scheduled_time, "state": state}
        show_json({**answer, "error": None if end is None else end.error})
    elif end is None:
        typer.echo(f"{job}: queued as run {run.run_id}, for {stamp(run.scheduled_time)}")
    else:
        typer.echo(f"{job}: run {run.run_id} is {state.value}" + (f": {end.error}" if end.error else ""))
    if wait is not None and state is not RunState.SUCCESS:
        raise typer.Exit(1)


def pause(job: Job, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Stop a schedule: `enabled = 0`. What runs goes on; resuming makes up for nothing."""
    _set_enabled(job, dsn, output, enabled=False)


def resume(job: Job, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Start a schedule again: `enabled = 1`. Nothing is fired for the time in between."""
    _set_enabled(job, dsn, output, enabled=True)


def owned_by_resource(job_id: str, owner: str, *, kind: str, patch: dict[str, object]) -> RefusedError:
    """The row belongs to a resource: what to do instead."""
    cluster, namespace, name, _ = owner.split("/", 3)
    if cluster == "dev":
        return RefusedError(
            f"{job_id}: its row is managed by the {kind} {name} of `piko dev`; edit its resource file instead"
        )
    command = f"kubectl patch {kind.lower()} {name} -n {namespace} --type merge -p '{json.dumps(patch)}'"
    return RefusedError(
        f"{job_id}: its row is managed by the {kind} {namespace}/{name} of cluster {cluster}, whose operator "
        f"would put it back; instead:\n  {command}"
    )


async def _queue(database: Database, job_id: str) -> Run:
    from piko.clock import SystemClock
    from piko.core.identity import Ids
    from piko.store.overview import Overview
    from piko.store.run_rows import Run
    from piko.store.runs import insert_queued

    overview = Overview(database=database)
    line = await overview.job(job_id)
    if line is None:
        raise unknown_job(job_id, [item.job_id for item in await overview.jobs()])
    if line.stateful is None:
        raise RefusedError(
            f"{job_id}: no replica has registered it, so nothing would run it; start one that has the job"
        )
    if line.stateful:
        raise RefusedError(
            f"{job_id}: a stateful job runs windows of data, and none is named here; "
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


async def _ended(database: Database, run_id: str, patience_s: float) -> RunLine | None:
    from piko.clock import SystemClock
    from piko.store.overview import Overview

    clock, overview = SystemClock(), Overview(database=database)
    give_up = clock.monotonic() + patience_s
    line = await overview.run(run_id)
    while (line is None or RunState(line.state) not in FINAL_STATES) and clock.monotonic() < give_up:
        await asyncio.sleep(_LOOK_EVERY_S)
        line = await overview.run(run_id)
    return line


def _set_enabled(job: str, dsn: str | None, output: Output, *, enabled: bool) -> None:
    from piko.store.edits import Edits
    from piko.store.overview import Overview

    async def write(database: Database) -> bool:
        edit = await Edits(database=database).set_enabled(job, enabled=enabled)
        if not edit.found:
            raise unknown_job(job, [item.job_id for item in await Overview(database=database).jobs()])
        if edit.owner is not None:
            patch: dict[str, object] = {"spec": {"suspend": not enabled}}
            raise owned_by_resource(job, edit.owner, kind="PikoSchedule", patch=patch)
        return edit.changed

    changed = with_database(dsn, write)
    if output is Output.JSON:
        show_json({"job_id": job, "enabled": enabled, "changed": changed})
    else:
        typer.echo(f"{job}: {'' if changed else 'is already '}{'resumed' if enabled else 'paused'}")
