"""Running a job once, running one window, cancelling a run, and running one again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from piko.clock import Clock
from piko.core.types import FAILED_STATES, FINAL_STATES, DataInterval, RunState, TriggerType
from piko.errors import RefusedError
from piko.identity import Ids
from piko.model.changes import Actor
from piko.model.runs import Run
from piko.schedule import schedule_of_row, without_bounds
from piko.steering.overrides import checked_overrides
from piko.steering.schedules import stateful_job
from piko.store.engine import Database
from piko.store.reports.overview import JobReport, Overview, unknown_job, unknown_run
from piko.store.run_acts import RunActs
from piko.text import instant_text

_AGAIN = FAILED_STATES | {RunState.CANCELLED}
_TRIGGER = "trigger"


async def trigger(
    database: Database,
    job_id: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    clock: Clock,
    actor: Actor,
    dry_run: bool = False,
) -> Run:
    """Queue a run of a stateless job, now, in addition to its schedule. A paused job runs, too.

    - `overrides`: values that the run has instead of those of its config; they are recorded with it.

    Raises `NotFoundError`, and `RefusedError` if nothing would run it, the job runs windows, or its config
    would not fit with `overrides`.
    """
    run = await _manual_run(
        database, job_id, run_id=Ids(clock).new(), overrides=overrides or {}, clock=clock, actor=actor
    )
    if not dry_run:
        await RunActs(database=database).queue(run, actor=actor, what=_TRIGGER)
    return run


async def trigger_once(
    database: Database, job_id: str, *, run_id: str, clock: Clock, actor: Actor
) -> datetime:
    """As `trigger`, unless the run of that id was queued before: by another process, or by one that failed.

    - `run_id`: made from what asks for the run, so that it is the same each time.

    Returns the due time of the run. Raises what `trigger` raises.
    """
    acts = RunActs(database=database)
    known = await acts.queued_at(run_id, job_id=job_id, what=_TRIGGER)
    if known is not None:
        return known
    run = await _manual_run(database, job_id, run_id=run_id, overrides={}, clock=clock, actor=actor)
    return await acts.queue_once(run, actor=actor, what=_TRIGGER)


async def _manual_run(
    database: Database,
    job_id: str,
    *,
    run_id: str,
    overrides: Mapping[str, Any],
    clock: Clock,
    actor: Actor,
) -> Run:
    job = await Overview(database=database).job(job_id)
    if job is None:
        raise await unknown_job(database, job_id)
    _registered(job)
    if job.stateful:
        raise RefusedError(
            f"{job_id}: a stateful job runs windows of data, and this command names none; "
            f"run one with `piko trigger {job_id} --window …`, several with "
            f"`piko backfill {job_id} --from … --to …`, or set scheduled_job.last_data_time back to replay "
            "the windows after it"
        )
    return Run(
        run_id=run_id,
        job_id=job_id,
        scheduled_time=clock.now(),
        state=RunState.QUEUED,
        trigger_type=TriggerType.MANUAL,
        config_overrides=await checked_overrides(database, job_id, overrides, clock=clock),
        traceparent=actor.traceparent,
    )


async def run_window(
    database: Database,
    job_id: str,
    start: datetime,
    *,
    overrides: Mapping[str, Any] | None = None,
    zone: str,
    clock: Clock,
    actor: Actor,
    dry_run: bool = False,
) -> Run:
    """Queue a run of the window of a stateful job that begins at `start`. The watermark does not move.

    - `overrides`: values that the run has instead of those of its config; they are recorded with it.
    - `zone`: the zone of schedules that name none.

    Raises `NotFoundError`, and `RefusedError` if no whole window that has passed begins then.
    """
    job = await stateful_job(database, job_id)
    schedule, now = without_bounds(schedule_of_row(job, timezone=zone)), clock.now()
    start = start.astimezone(UTC)
    end = schedule.next_after(start)
    if end is None or schedule.latest_at(start) != start:
        before = schedule.latest_at(start)
        known = "" if before is None else f"; the one that holds it begins at {instant_text(before)}"
        raise RefusedError(f"{job_id}: no window begins at {instant_text(start)}{known}")
    if end > now:
        raise RefusedError(
            f"{job_id}: the window from {instant_text(start)} ends at {instant_text(end)}, "
            "so its data is incomplete"
        )
    run = Run(
        run_id=Ids(clock).new(),
        job_id=job_id,
        scheduled_time=end,
        state=RunState.QUEUED,
        trigger_type=TriggerType.MANUAL,
        window=DataInterval(start=start, end=end),
        config_overrides=await checked_overrides(database, job_id, overrides or {}, clock=clock),
        traceparent=actor.traceparent,
    )
    if not dry_run:
        attempt = await RunActs(database=database).last_attempt(run) + 1
        run = replace(run, attempt=attempt)
        await RunActs(database=database).queue(run, actor=actor, what="run_window")
    return run


async def cancel(
    database: Database, run_id: str, *, clock: Clock, actor: Actor, dry_run: bool = False
) -> Run:
    """End a run that waits or runs, as CANCELLED; its handler is cancelled within a poll.

    Raises `NotFoundError`, and `RefusedError` if it has ended.
    """
    acts = RunActs(database=database)
    run = await _run(acts, run_id)
    state: RunState | None = run.state
    if not dry_run and run.state not in FINAL_STATES:
        why = f": {actor.reason}" if actor.reason else ""
        error = f"cancelled by {actor.who}{why}"
        state = await acts.cancel(run, error=error, actor=actor, now=clock.now())
    if state is None:
        raise unknown_run(run_id)
    if state in FINAL_STATES:
        raise RefusedError(f"run {run_id} of {run.job_id} has ended as {state}; there is nothing to cancel")
    return run if dry_run else replace(run, state=RunState.CANCELLED)


async def retry(database: Database, run_id: str, *, clock: Clock, actor: Actor, dry_run: bool = False) -> Run:
    """Queue a run again that did not succeed: the same due time and window, as the next attempt.

    Raises `NotFoundError`, and `RefusedError` if it succeeded, has not ended, or stands for due times that
    did not run.
    """
    acts = RunActs(database=database)
    run = await _run(acts, run_id)
    if run.state not in _AGAIN:
        expected = ", ".join(sorted(_AGAIN))
        raise RefusedError(f"run {run_id} of {run.job_id} is {run.state}; expected one that is {expected}")
    job = await Overview(database=database).job(run.job_id)
    if job is None:
        raise await unknown_job(database, run.job_id)
    _registered(job)
    again = Run(
        run_id=Ids(clock).new(),
        job_id=run.job_id,
        scheduled_time=run.scheduled_time,
        state=RunState.QUEUED,
        attempt=await acts.last_attempt(run) + 1,
        trigger_type=TriggerType.MANUAL,
        priority=run.priority,
        window=run.window,
        config_overrides=run.config_overrides,
        traceparent=actor.traceparent or run.traceparent,
    )
    if not dry_run:
        await acts.queue(again, actor=actor, what="retry")
    return again


def _registered(job: JobReport) -> None:
    if job.stateful is None:
        raise RefusedError(
            f"{job.job_id}: no replica has registered it, so nothing would run it; start a replica that has "
            "the job"
        )


async def _run(acts: RunActs, run_id: str) -> Run:
    run = await acts.read(run_id)
    if run is None:
        raise unknown_run(run_id)
    return run
