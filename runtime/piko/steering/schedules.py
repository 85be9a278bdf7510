"""Pausing and resuming a schedule, and moving a watermark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from piko.errors import RefusedError, StaleError
from piko.model.changes import Actor
from piko.model.digests import Digest
from piko.schedule import count_instants, schedule_of_row
from piko.steering.owners import owned_by_resource
from piko.steering.shell import command
from piko.store.edits import Edits
from piko.store.engine import Database
from piko.store.reports.overview import JobReport, Overview, unknown_job
from piko.text import instant_text


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarkChange:
    """A watermark that was moved, or would be: windows from `watermark` on run, `windows` of them by now."""

    job_id: str
    before: datetime | None
    watermark: datetime | None
    windows: int
    first_window_start: datetime | None
    last_window_end: datetime | None
    changed: bool


async def set_enabled(
    database: Database,
    job_id: str,
    *,
    enabled: bool,
    until: datetime | None = None,
    now: datetime,
    actor: Actor,
    seen: Digest | None = None,
    dry_run: bool = False,
) -> bool:
    """Pause or resume a schedule; False if it was so already.

    - `until`: when the leader resumes a paused schedule by itself; None: never.
    - `seen`: the state of the row that the caller decided on; None: whatever it is.

    Raises `NotFoundError`, `StaleError`, and `RefusedError` if a resource owns the row or `until` has passed.
    """
    check_until(until, now)
    edit = await Edits(database=database).set_enabled(
        job_id, enabled=enabled, until=until, actor=actor, seen=seen, dry_run=dry_run
    )
    if not edit.found:
        raise await unknown_job(database, job_id)
    if edit.owner is not None:
        patch = {"spec": {"suspend": not enabled}}
        raise owned_by_resource(job_id, edit.owner, kind="PikoSchedule", patch=patch)
    if edit.stale:
        raise stale_row(job_id)
    return edit.changed


def check_until(until: datetime | None, now: datetime) -> None:
    """Raises `RefusedError` for a pause that would be over already."""
    if until is not None and until <= now:
        raise RefusedError(f"until = {instant_text(until)}: has passed; expected an instant that lies ahead")


async def set_watermark(
    database: Database,
    job_id: str,
    moment: datetime | None,
    *,
    zone: str,
    now: datetime,
    actor: Actor,
    seen: Digest | None = None,
    dry_run: bool = False,
) -> WatermarkChange:
    """Move the watermark of a stateful job; None: begin again with the last full window.

    - `zone`: the zone of schedules that name none.
    - `seen`: the state of the row that the caller decided on; None: whatever it is.

    Raises `NotFoundError`, `StaleError`, and `RefusedError` if the job is not stateful.
    """
    job = await stateful_job(database, job_id)
    if moment is not None and moment > now:
        raise RefusedError(
            f"{job_id}: the watermark cannot lie in the future: no data up to then is complete; "
            "expected an instant that has passed"
        )
    before = job.last_data_time
    if not dry_run:
        edit = await Edits(database=database).set_watermark(job_id, moment, actor=actor, seen=seen)
        if edit is None:
            raise await unknown_job(database, job_id)
        if edit.stale:
            raise stale_row(job_id)
        before = edit.before
    return _change(job, moment, before=before, zone=zone, now=now, changed=not dry_run)


async def watermark_of(database: Database, job_id: str, *, zone: str, now: datetime) -> WatermarkChange:
    """The watermark of a stateful job as it is, and which windows run because of it.

    - `zone`: the zone of schedules that name none.

    Raises `NotFoundError`, and `RefusedError` if the job is not stateful.
    """
    job = await stateful_job(database, job_id)
    return _change(job, job.last_data_time, before=job.last_data_time, zone=zone, now=now, changed=False)


def _change(
    job: JobReport,
    moment: datetime | None,
    *,
    before: datetime | None,
    zone: str,
    now: datetime,
    changed: bool,
) -> WatermarkChange:
    count, last = 0, None
    if moment is not None:
        schedule = schedule_of_row(job, timezone=zone)
        count = count_instants(schedule, after=moment, through=now)
        last = schedule.latest_at(now) if count else None
    return WatermarkChange(
        job_id=job.job_id,
        before=before,
        watermark=moment,
        windows=count,
        first_window_start=moment if count else None,
        last_window_end=last,
        changed=changed,
    )


def watermark_shell(job_id: str, moment: datetime | None, *, reason: str | None) -> str:
    """`set_watermark` at a shell."""
    to = () if moment is None else (instant_text(moment),)
    return command("watermark", job_id, *to, clear=moment is None, reason=reason)


async def stateful_job(database: Database, job_id: str) -> JobReport:
    """The job, which has windows. Raises `NotFoundError`, and `RefusedError` if it has none."""
    job = await Overview(database=database).job(job_id)
    if job is None:
        raise await unknown_job(database, job_id)
    if job.stateful is None:
        raise RefusedError(
            f"{job_id}: no replica has registered it, so it is not known whether it has windows; "
            "start a replica that has the job"
        )
    if not job.stateful:
        raise RefusedError(
            f"{job_id}: it is stateless, so it has no windows to run; declare it with stateful=True, "
            f"or run it once with `piko trigger {job_id}`"
        )
    return job


def stale_row(job_id: str) -> StaleError:
    """The error for a row that was edited since the caller read it."""
    return StaleError(f"{job_id}: its row was edited since it was read; read it again and decide again")
